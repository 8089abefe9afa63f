//! Endpoints that tell what went on inside, and the handlers, verifiers and policies they are made of.

use std::{
    future::pending,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::duplex,
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    Admission, Anonymous, AuditEvent, AuditRecord, AuthFailure, Authenticate, Close, Connection,
    ConnectionConfig, DecodeLayer, Failure, Inbound, Member, Message, Quota, RateLimitLayer, Reply,
    RequireAuthLayer, RoomKey, RoomPolicy, Rooms, RoomsLayer, Session, WebSocketEndpoint,
    WebSocketLayer,
    audit::Closed,
    room::{JoinDenied, JoinRequest, MemberInfo},
    service::{self, ClientMessage, ServerMessage, credentials},
};

use test_support::{
    http::{serve, serve_one},
    recorder::Recorder,
};

use super::support_client::{PATIENCE, TestClient, text};

/// An endpoint on loopback.
pub(crate) struct TestServer {
    addr: SocketAddr,
    layer: WebSocketLayer,
    pub(crate) audit: Arc<Recorder>,
    pub(crate) probe: Arc<Probe>,
}

/// What an endpoint's own code saw.
#[derive(Default)]
pub(crate) struct Probe {
    calls: AtomicUsize,
    attempts: AtomicUsize,
    connections: Mutex<Vec<Connection>>,
    pub(crate) rooms: Rooms<ServerMessage>,
}

impl Probe {
    /// How often the handler was called.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// How often credentials were looked at.
    pub(crate) fn attempts(&self) -> usize {
        self.attempts.load(Ordering::Relaxed)
    }

    /// The connection that was opened as the `nth`, from zero.
    pub(crate) fn connection(&self, nth: usize) -> Connection {
        self.connections.lock().unwrap()[nth].clone()
    }

    /// Who is in the room `name`.
    pub(crate) async fn members(&self, name: &str) -> Vec<MemberInfo> {
        self.rooms.at(&RoomKey::new(name.parse().unwrap())).members().await.unwrap()
    }

    fn count_call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }
}

impl TestServer {
    /// The endpoint that `build` makes.
    pub(crate) async fn start(build: impl FnOnce(Arc<Probe>) -> WebSocketEndpoint) -> Self {
        let audit = Arc::new(Recorder::default());
        let probe = Arc::new(Probe::default());
        let opened = Arc::clone(&probe);
        let layer = build(Arc::clone(&probe))
            .audit(Arc::clone(&audit))
            // Handshakes are counted by the real clock.
            .admission(Admission::new().handshakes(Quota::per_second(u32::MAX)))
            .on_connect(move |connection| {
                opened.connections.lock().unwrap().push(connection.clone());
            })
            .layer("/ws")
            .unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, layer.clone()));
        Self { addr, layer, audit, probe }
    }

    /// Sends every message back, to anybody.
    pub(crate) async fn echo(config: ConnectionConfig) -> Self {
        Self::limited_echo(config, Quota::per_second(u32::MAX)).await
    }

    pub(crate) async fn limited_echo(config: ConnectionConfig, quota: Quota) -> Self {
        Self::start(|probe| {
            let echo = move |inbound: Inbound<Message, Anonymous>| {
                probe.count_call();
                async { Ok::<_, Close>(Reply::one(inbound.message)) }
            };
            WebSocketEndpoint::new(RateLimitLayer::per_connection(quota), service_fn(echo))
                .allow_anonymous()
                .connection(config)
                .unwrap()
        })
        .await
    }

    /// The room service behind all the layers, without a rate limit to speak of.
    pub(crate) async fn rooms(config: ConnectionConfig) -> Self {
        Self::limited_rooms(config, Quota::per_second(u32::MAX)).await
    }

    pub(crate) async fn limited_rooms(config: ConnectionConfig, quota: Quota) -> Self {
        Self::start(|probe| {
            let messages = ServiceBuilder::new()
                .layer(RateLimitLayer::per_connection(quota))
                .layer(RequireAuthLayer::new(Verifier(Arc::clone(&probe))))
                .layer(DecodeLayer::<ClientMessage>::json())
                .layer(RoomsLayer::new(probe.rooms.clone(), Policy));
            let chat = move |inbound| chat(Arc::clone(&probe), inbound);
            WebSocketEndpoint::new(messages, service_fn(chat)).connection(config).unwrap()
        })
        .await
    }

    /// A connection over TCP.
    pub(crate) async fn connect(&self) -> TestClient {
        let stream = TcpStream::connect(self.addr).await.unwrap();
        // What the kernel holds back for a while never comes by a paused clock.
        stream.set_nodelay(true).unwrap();
        TestClient::open(stream).await
    }

    /// A connection over a line on which `bytes` are under way at most. A kernel holds megabytes.
    pub(crate) async fn connect_narrow(&self, bytes: usize) -> TestClient {
        let (ours, theirs) = duplex(bytes);
        serve_one(theirs, self.addr, &self.layer);
        TestClient::open(ours).await
    }

    /// A connection whose peer is the user `name`.
    pub(crate) async fn login(&self, name: &str) -> TestClient {
        let mut client = self.connect().await;
        client.send(auth(&format!("good:{name}"))).await;
        client.assert_reply("auth_ok").await;
        client
    }

    /// The same, in the room `room` already.
    pub(crate) async fn member(&self, name: &str, room: &str) -> TestClient {
        let mut client = self.login(name).await;
        client.send(join(room)).await;
        client.assert_reply("joined").await;
        client
    }

    /// How the connection ended that was the `nth` to do so, from zero: waits for it, and makes sure
    /// that no connection has two ends.
    pub(crate) async fn closed(&self, nth: usize) -> Closed {
        self.ended(nth).await.1
    }

    /// The same, with the record it stands in.
    pub(crate) async fn ended(&self, nth: usize) -> (AuditRecord, Closed) {
        let mut seen = 0;
        loop {
            let records = timeout(PATIENCE, self.audit.more_than(seen)).await;
            let records = records.expect("the connection does not end");
            seen = records.len();
            let closed: Vec<_> = closed(&records).collect();
            if let Some((it, how)) = closed.get(nth) {
                let same = closed.iter().filter(|(other, _)| other.connection == it.connection);
                assert_eq!(same.count(), 1, "one connection, one record");
                return ((*it).clone(), (*how).clone());
            }
        }
    }

    /// How many connections have ended.
    pub(crate) fn closed_count(&self) -> usize {
        closed(&self.audit.records()).count()
    }

    /// How many audit events `is` holds for.
    pub(crate) fn count(&self, is: impl Fn(&AuditEvent) -> bool) -> usize {
        self.audit.records().iter().filter(|it| is(&it.event)).count()
    }

    /// The same of the connection of `record`.
    pub(crate) fn count_of(&self, record: &AuditRecord, is: impl Fn(&AuditEvent) -> bool) -> usize {
        let records = self.audit.records();
        let its = records.iter().filter(|it| it.connection == record.connection);
        its.filter(|it| is(&it.event)).count()
    }

    /// The rules by which credentials were refused, in order.
    pub(crate) fn auth_failures(&self) -> Vec<&'static str> {
        let rule = |it: &AuditRecord| match &it.event {
            AuditEvent::AuthFailed(failed) => Some(failed.rule),
            _ => None,
        };
        self.audit.records().iter().filter_map(rule).collect()
    }
}

fn closed(records: &[AuditRecord]) -> impl Iterator<Item = (&AuditRecord, &Closed)> {
    records.iter().filter_map(|it| match &it.event {
        AuditEvent::Closed(closed) => Some((it, closed)),
        _ => None,
    })
}

/// The defaults, but for pings, which would come at random.
pub(crate) fn quiet() -> ConnectionConfig {
    ConnectionConfig::new().ping_interval(Duration::from_secs(100 * 365 * 24 * 60 * 60))
}

pub(crate) fn auth(token: &str) -> Vec<u8> {
    text(&format!(r#"{{"type":"auth","token":"{token}"}}"#))
}

pub(crate) fn join(room: &str) -> Vec<u8> {
    text(&format!(r#"{{"type":"join","roomId":"{room}"}}"#))
}

pub(crate) fn say(room: &str, words: &str) -> Vec<u8> {
    let chat = format!(r#"{{"type":"chat","roomId":"{room}","text":"{words}"}}"#);
    text(&chat)
}

/// Who a token of [`Verifier`]'s names.
pub(crate) type User = String;

/// Does as the token says: `good:ada`, `good:ada:500` (after 500 ms), `brief:ada:500` (for 500 ms),
/// `bad:_:500`, `error`, `panic`, `never`; or, for `good:ada@task:500`, has another task do it.
pub(crate) struct Verifier(pub(crate) Arc<Probe>);

impl Authenticate for Verifier {
    type User = User;

    async fn authenticate(
        &self,
        message: &Message,
        connection: &Connection,
    ) -> Result<Session<User>, AuthFailure> {
        self.0.attempts.fetch_add(1, Ordering::Relaxed);
        let token = credentials(message).ok_or(AuthFailure::Required)?;
        let mut words = token.as_str().split(':');
        let verdict = words.next().unwrap_or_default();
        let name = words.next().unwrap_or_default();
        let millis = words.next().map_or(0, |it| it.parse().unwrap());
        let time = Duration::from_millis(millis);
        let user = name.to_owned();
        let welcome = Message::json(&ServerMessage::auth_ok(connection, &user))?;
        let session = Session::new(user).reply(welcome);
        match verdict {
            "good" if name.ends_with("@task") => {
                // The verdict and the deadline then wake two tasks.
                tokio::spawn(sleep(time)).await.map_err(|_| AuthFailure::Unavailable)?;
            }
            "good" if millis == 0 => {}
            "brief" => return Ok(session.expires_in(time)),
            "good" => sleep(time).await,
            "error" => return Err(AuthFailure::Unavailable),
            "panic" => panic!("the verifier's own"),
            "never" => pending().await,
            _ => {
                sleep(time).await;
                return Err(AuthFailure::Rejected);
            }
        }
        Ok(session)
    }
}

/// Lets everybody into every room: into `slow` after 5 s.
pub(crate) struct Policy;

impl RoomPolicy<User> for Policy {
    type Role = ();

    async fn join(&self, request: JoinRequest<'_, User>) -> Result<(), JoinDenied> {
        if request.key().name().as_str() == "slow" {
            sleep(Duration::from_secs(5)).await;
        }
        Ok(())
    }
}

/// The handler of the room service; to say `sleep 25` takes it 25 s first.
async fn chat(
    probe: Arc<Probe>,
    inbound: Inbound<ClientMessage, Member<User, ServerMessage>>,
) -> Result<Reply<ServerMessage>, Failure<ServerMessage>> {
    probe.count_call();
    if let ClientMessage::Chat(chat) = &inbound.message
        && let Some(seconds) = chat.text.as_str().strip_prefix("sleep ")
    {
        sleep(Duration::from_secs(seconds.parse().unwrap())).await;
    }
    service::handle(inbound).await
}
