//! What is written down, and what never is. A binary of its own: the subscriber is the process's.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "the lints know test functions, not their helpers"
)]

use std::{
    io,
    sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard},
};

use tower::{ServiceBuilder, service_fn};
use tower_layer::Identity;
use tower_websocket::{
    Anonymous, AuthFailure, Authenticate, Authenticated, Close, Connection, DecodeLayer, Failure,
    Inbound, Member, Message, OpenRooms, Quota, RateLimitLayer, Reply, RequireAuthLayer, Rooms,
    RoomsLayer, Session, Tickets, TracingSink, WebSocketEndpoint,
    service::{self, ClientMessage, ServerMessage, credentials},
    upgrade::Subprotocols,
};
use tracing::Metadata;
use tracing_subscriber::{
    EnvFilter, Layer as _,
    fmt::{self, MakeWriter},
    prelude::*,
};

use test_support::{
    http::handshake_with,
    slow::{Server, User, chat, frame, quiet, say},
};

/// What was logged; audit events wait while the gate is shut.
#[derive(Clone, Default)]
struct Log(Arc<Shared>);

#[derive(Default)]
struct Shared {
    bytes: Mutex<Vec<u8>>,
    shut: Mutex<bool>,
    opened: Condvar,
}

/// All levels and crates, `log` included, through the filter that the manual of `AuditSink` asks for.
static FILTERED: LazyLock<Log> = LazyLock::new(Log::default);
/// What tungstenite says, which the filter keeps out.
static ENGINE: LazyLock<Log> = LazyLock::new(Log::default);
/// The gate stands in everybody's way, so tests that use the log take turns.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn turn() -> tokio::sync::MutexGuard<'static, ()> {
    static SUBSCRIBED: LazyLock<()> = LazyLock::new(|| {
        let filter = EnvFilter::new("trace,tungstenite=info,tokio_tungstenite=info");
        let engine = EnvFilter::new("off,tungstenite=trace");
        tracing_subscriber::registry()
            .with(fmt::layer().with_ansi(false).with_writer(FILTERED.clone()).with_filter(filter))
            .with(fmt::layer().with_ansi(false).with_writer(ENGINE.clone()).with_filter(engine))
            // Installs the bridge from `log` as well.
            .init();
    });
    LazyLock::force(&SUBSCRIBED);
    TURN.lock().await
}

impl Log {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.bytes.lock().unwrap()
    }

    fn contains(&self, text: &str) -> bool {
        self.bytes().windows(text.len()).any(|it| it == text.as_bytes())
    }

    fn shut(&self, shut: bool) {
        *self.0.shut.lock().unwrap() = shut;
        self.0.opened.notify_all();
    }

    /// Waits for the sink's worker, which is a thread.
    async fn wait_for(&self, text: &str) {
        for _ in 0..20_000 {
            if self.contains(text) {
                return;
            }
            tokio::task::spawn_blocking(std::thread::yield_now).await.unwrap();
        }
        panic!("{text} was never logged");
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Self {
        if meta.target() == "tower_websocket::audit" {
            let shut = self.0.shut.lock().unwrap();
            drop(self.0.opened.wait_while(shut, |shut| *shut).unwrap());
        }
        self.clone()
    }
}

/// The user is `ada`, whatever the token, or one with an odd name.
struct Ada;

impl Authenticate for Ada {
    type User = User;

    async fn authenticate(
        &self,
        message: &Message,
        connection: &Connection,
    ) -> Result<Session<User>, AuthFailure> {
        let token = credentials(message).ok_or(AuthFailure::Required)?;
        let name = if token.as_str() == "odd" { ODD } else { "ada" };
        let session = Session::new(name.to_owned()).reply(Message::text("welcome"));
        tracing::info!(?token, ?message, ?session, ?connection, "asked");
        Ok(session)
    }
}

/// Two lines, a terminal's escape sequence and a change of the writing direction.
const ODD: &str = "ada\r\nINFO forged\u{1b}[31m\u{202e}";

async fn handle(
    inbound: Inbound<ClientMessage, Member<User, ServerMessage>>,
) -> Result<Reply<ServerMessage>, Failure<ServerMessage>> {
    tracing::info!(?inbound, "handling");
    service::handle(inbound).await
}

fn endpoint(audit: &Arc<test_support::recorder::Recorder>) -> WebSocketEndpoint {
    let messages = ServiceBuilder::new()
        .layer(RateLimitLayer::per_connection(Quota::per_second(1_000)))
        .layer(RequireAuthLayer::new(Ada))
        .layer(DecodeLayer::<ClientMessage>::json())
        .layer(RoomsLayer::new(Rooms::new(), OpenRooms));
    tracing::info!(?messages, "stack");
    let layer = WebSocketEndpoint::new(messages, service_fn(handle)).connection(quiet()).unwrap();
    layer.audit((TracingSink::new(), Arc::clone(audit)))
}

// covers: LG-01
// holds: I6
#[tokio::test]
async fn no_secret_is_ever_logged() {
    let _turn = turn().await;
    let audit = Arc::default();
    let server = Server::start_unrecorded(endpoint(&audit));

    let mut refused = server.connect_raw().await;
    refused.send(handshake_with("X", &[]).replace("/ws", "/ws?token=SECRET-query")).await;
    assert_eq!(refused.head().await.status, 400);

    let request = handshake_with("Sec-WebSocket-Protocol", &["bearer.SECRET-protocol"]).replace(
        "\r\n\r\n",
        "\r\nCookie: session=SECRET-cookie\r\nAuthorization: Bearer SECRET-header\r\n\r\n",
    );
    let mut peer = server.connect_with(&request).await;
    peer.text(r#"{"type":"auth","token":"SECRET-token"}"#).await;
    assert_eq!(peer.message().await, "welcome");
    peer.text(r#"{"type":"join","roomId":"r"}"#).await;
    peer.message().await;
    peer.text(&say("r", "SECRET-text")).await;
    assert!(peer.message().await.contains("SECRET-text"));
    peer.send(frame(0x88, b"\x03\xe8SECRET-reason")).await;
    peer.until_close().await;

    for first in [
        r#"{"type":"auth","token":"SECRET-invalid","x":1}"#,
        r#"{"type":"auth","tokn":"SECRET-typo"}"#,
        "SECRET-raw",
    ] {
        let mut peer = server.connect().await;
        peer.text(first).await;
        peer.assert_closed(4403).await;
    }
    for message in [r#"{"type":"SECRET-type"}"#, r#"{"type":"ping","SECRET-key":"SECRET-value"}"#] {
        let mut peer = server.connect().await;
        peer.text(r#"{"type":"auth","token":"SECRET-token"}"#).await;
        peer.message().await;
        peer.text(message).await;
        peer.assert_closed(1008).await;
    }
    audit.closed(6).await;
    let last = audit.last_closed();
    FILTERED.wait_for(&format!("event=\"closed\" connection={last}")).await;
    for event in ["handshake.rejected", "authenticated", "auth.failed", "asked", "handling"] {
        assert!(FILTERED.contains(event), "{event} is missing: nothing was captured");
    }
    assert!(!FILTERED.contains("SECRET"));
    // The filter is what keeps the engine's own words out.
    assert!(ENGINE.contains("SECRET-token"), "without the filter there would be nothing to hide");
}

// covers: LG-10
#[tokio::test]
async fn nothing_a_peer_sends_forges_a_line() {
    let _turn = turn().await;
    let audit = Arc::default();
    let server = Server::start_unrecorded(endpoint(&audit));
    let long = "x".repeat(60 * 1024);
    for (name, value) in [("Origin", "https://\u{202e}evil"), ("User-Agent", long.as_str())] {
        let mut peer = server.connect_raw().await;
        peer.send(handshake_with(name, &[value])).await;
        peer.head().await;
    }
    let begin = FILTERED.bytes().len();
    let rooms = [r"r\r\nINFO forged", r"\u001b[31m", r"\u202e", &long];
    for room in rooms {
        let mut peer = server.connect().await;
        peer.text(r#"{"type":"auth","token":"odd"}"#).await;
        assert_eq!(peer.message().await, "welcome");
        peer.text(&format!(r#"{{"type":"join","roomId":"{room}"}}"#)).await;
        peer.assert_closed(1008).await;
    }
    let mut peer = server.connect().await;
    peer.text(r#"{"type":"auth","token":"odd"}"#).await;
    peer.message().await;
    peer.text(r#"{"type":"join","roomId":"r"}"#).await;
    peer.message().await;
    peer.send(frame(0x88, [&[3, 232], "\r\nINFO forged\u{1b}\u{202e}".as_bytes()].concat())).await;
    peer.until_close().await;
    audit.closed(5).await;
    let last = audit.last_closed();
    FILTERED.wait_for(&format!("event=\"closed\" connection={last}")).await;
    let text = String::from_utf8(FILTERED.bytes()[begin..].to_vec()).unwrap();
    assert!(text.contains("INFO forged"), "the user's name is in the log");
    for line in text.lines().filter(|it| it.contains("tower_websocket::audit")) {
        assert!(line.len() < 1_024, "{line}");
    }
    for line in text.lines() {
        // Every line is an event of its own: it begins with the year.
        assert!(line.starts_with("20"), "{line:?}");
        assert!(!line.contains(['\u{1b}', '\u{202e}', '\r']), "{line:?}");
    }
}

// covers: LG-02
#[tokio::test]
async fn a_log_that_stalls_stalls_nothing_else_and_losses_are_counted() {
    let _turn = turn().await;
    let audit: Arc<test_support::recorder::Recorder> = Arc::default();
    let sink = TracingSink::new();
    let server =
        Server::start_unrecorded(chat(&Rooms::new()).audit((sink.clone(), Arc::clone(&audit))));
    FILTERED.shut(true);
    let mut peer = server.member("ada", "r").await;
    for n in 0..10_000 {
        peer.text(&say("r", &format!("text-{n}"))).await;
        assert!(peer.message().await.contains(&format!("text-{n}")));
    }
    peer.send(frame(0x88, [3, 232])).await;
    peer.assert_closed(1000).await;
    audit.closed(1).await;
    FILTERED.shut(false);
    FILTERED.wait_for("event=\"audit.dropped\" count=").await;
}

// covers: LG-01
#[tokio::test]
async fn a_raw_message_shows_its_length_only() {
    let _turn = turn().await;
    let handler = service_fn(async |inbound: Inbound<Message, Anonymous>| {
        tracing::info!(message = ?inbound.message, text = ?inbound, "raw");
        let reply = Reply::one(inbound.message);
        let failure = Failure::Reply(Message::text("SECRET-reply"));
        tracing::info!(?reply, ?failure, "answer");
        Ok::<_, Close>(reply)
    });
    let layer = WebSocketEndpoint::new(Identity::new(), handler).allow_anonymous();
    tracing::info!(?layer, "layer");
    let server = Server::start(layer);
    let mut peer = server.connect().await;
    peer.text("SECRET-raw-message").await;
    peer.message().await;
    assert!(FILTERED.contains("Text(18 bytes)"));
    assert!(!FILTERED.contains("SECRET"));
}

/// Says what it was asked, into the log as well.
async fn echo(
    inbound: Inbound<Message, Authenticated<User>>,
) -> Result<Reply<Message>, Failure<Message>> {
    tracing::info!(?inbound, "handling");
    Ok(Reply::one(inbound.message))
}

// covers: LG-01, HS-18
#[tokio::test]
async fn no_ticket_is_ever_logged_nor_what_is_carried_as_a_subprotocol() {
    let _turn = turn().await;
    let tickets = Tickets::<User>::new();
    let ours = Subprotocols::new(["chat"]).unwrap().token_prefix("bearer.").unwrap();
    let endpoint = WebSocketEndpoint::new(RequireAuthLayer::new(tickets.clone()), service_fn(echo))
        .connection(quiet())
        .unwrap()
        .subprotocols(ours)
        .audit(TracingSink::new());
    tracing::info!(?endpoint, ?tickets, "made");
    let server = Server::start_unrecorded(endpoint);
    let session = Session::new("ada".to_owned()).session_id("SECRET-session");
    tracing::info!(?session, "known");
    let ticket = tickets.issue(session).await.unwrap();
    tracing::info!(?ticket, "issued");
    let offer = ["chat".to_owned(), format!("bearer.{}", ticket.as_str())];
    let request = handshake_with("Sec-WebSocket-Protocol", &offer.each_ref().map(|it| &**it));
    let mut peer = server.connect_with(&request).await;
    peer.text("hello").await;
    assert_eq!(peer.message().await, "hello");
    // Shown again, it is refused, and that is recorded.
    server.connect_with(&request).await.assert_closed(4403).await;
    FILTERED.wait_for("ticket.replayed").await;
    for secret in [ticket.as_str(), "SECRET-session"] {
        assert!(!FILTERED.contains(secret), "{secret} is in the log");
    }
}
