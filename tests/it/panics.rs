//! Code of the application that panics takes its own connection with it, and nothing else.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    AuditEvent, AuditRecord, AuditSink, AuthFailure, Authenticate, Authenticated, Connection,
    DecodeLayer, Failure, Inbound, Json, Member, Message, Reply, RequireAuthLayer, RoomKey,
    RoomPolicy, Rooms, RoomsLayer, Session, WebSocketEndpoint,
    audit::Closed,
    layers::{Decode, DecodeError, Encode, EncodeError},
    room::{JoinDenied, JoinRequest, RoomsConfig},
    service::{self, ClientMessage, ServerMessage},
};

use test_support::slow::{Peer, Server, Tokens, User, quiet, say};

/// Panics once, where it is asked to.
#[derive(Clone)]
struct Fuse {
    at: &'static str,
    blown: Arc<AtomicBool>,
}

impl Fuse {
    fn new(at: &'static str) -> Self {
        Self { at, blown: Arc::default() }
    }

    fn here(&self, place: &str) {
        if self.at == place && !self.blown.swap(true, Relaxed) {
            panic!("planned: {place}");
        }
    }
}

impl Authenticate for Fuse {
    type User = User;

    async fn authenticate(
        &self,
        message: &Message,
        connection: &Connection,
    ) -> Result<Session<User>, AuthFailure> {
        self.here("authenticator");
        Tokens.authenticate(message, connection).await
    }
}

impl RoomPolicy<User> for Fuse {
    type Role = ();

    async fn join(&self, _: JoinRequest<'_, User>) -> Result<(), JoinDenied> {
        self.here("policy");
        Ok(())
    }
}

impl Decode<ClientMessage> for Fuse {
    fn decode(&self, message: &Message) -> Result<ClientMessage, DecodeError> {
        self.here("decode");
        Json::default().decode(message)
    }
}

impl Encode<ServerMessage> for Fuse {
    fn encode(&self, message: &ServerMessage) -> Result<Message, EncodeError> {
        if let ServerMessage::Chat(_) = message {
            self.here("encode");
        }
        Json::default().encode(message)
    }
}

/// The sink of the test, in front of one that may panic.
struct Sink(Fuse);

impl AuditSink for Sink {
    fn record(&self, record: &AuditRecord) {
        match record.event {
            AuditEvent::Published(_) => self.0.here("sink, published"),
            AuditEvent::Joined(_) => self.0.here("sink, joined"),
            AuditEvent::Authenticated(_) => self.0.here("sink, authenticated"),
            AuditEvent::Left(_) | AuditEvent::LeftAll(_) => self.0.here("sink, left"),
            AuditEvent::Closed(_) => self.0.here("sink, closed"),
            _ => {}
        }
    }
}

/// What a handler holds while it works.
struct Held(Fuse);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.here("drop of the call");
    }
}

fn endpoint(rooms: &Rooms<ServerMessage>, fuse: &Fuse) -> WebSocketEndpoint {
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(fuse.clone()).on_open({
            let fuse = fuse.clone();
            move |_: &Authenticated<User>, _: &Connection| fuse.here("on_open")
        }))
        .layer(DecodeLayer::<ClientMessage, _>::new(fuse.clone()))
        .layer(RoomsLayer::new(rooms.clone(), fuse.clone()));
    let handler = service_fn({
        let fuse = fuse.clone();
        move |inbound: Inbound<ClientMessage, Member<User, ServerMessage>>| {
            fuse.here("call");
            let fuse = fuse.clone();
            async move {
                let held = Held(fuse);
                held.0.here("handler");
                let handled: Result<Reply<_>, Failure<_>> = service::handle(inbound).await;
                tokio::task::yield_now().await;
                handled
            }
        }
    });
    WebSocketEndpoint::new(messages, handler)
        .connection(quiet())
        .unwrap()
        .on_close({
            let fuse = fuse.clone();
            move |_: &Connection, _: &Closed| fuse.here("on_close")
        })
        .on_connect({
            let fuse = fuse.clone();
            move |_: &Connection| fuse.here("on_connect")
        })
}

async fn assert_heard(sender: &mut Peer, listener: &mut Peer, text: &str) {
    sender.text(&say("r", text)).await;
    for peer in [sender, listener] {
        loop {
            let message = peer.message().await;
            if message.contains(text) {
                break;
            }
        }
    }
}

/// Does everything that can blow the fuse, until the connection ends; returns its close code.
async fn provoke(server: &Server) -> Option<u16> {
    let mut peer = server.connect().await;
    for message in [
        r#"{"type":"auth","token":"victim"}"#,
        r#"{"type":"join","roomId":"r"}"#,
        &say("r", "provoked"),
        r#"{"type":"ping"}"#,
        // Not a message: this ends a connection that has survived.
        "done",
    ] {
        peer.text(message).await;
    }
    peer.until_close().await.1
}

// covers: XX-01
#[tokio::test]
async fn a_panic_costs_one_connection() {
    let cases = [
        ("authenticator", 1011),
        ("on_open", 1011),
        ("decode", 1011),
        ("encode", 1011),
        ("call", 1011),
        ("handler", 1011),
        ("drop of the call", 1011),
        // A policy that panics has not said yes: the join is refused, and speaking in the room is
        // what closes.
        ("policy", 1008),
        // The connection of a victim that ends anyhow: with what it ended with.
        ("on_close", 1008),
    ];
    for (place, code) in cases {
        let before = Fuse::new("nowhere");
        let fuse = Fuse::new(place);
        let codec = if place == "encode" { &fuse } else { &before };
        let rooms = Rooms::with(RoomsConfig::new().codec(codec.clone()));
        let safe = Server::start(endpoint(&rooms, &before));
        // Two that were there before, on an endpoint that shares the rooms.
        let mut ada = safe.member("ada", "r").await;
        let mut grace = safe.member("grace", "r").await;
        let server = Server::start(endpoint(&rooms, &fuse));
        assert_eq!(provoke(&server).await, Some(code), "{place}");
        assert_eq!(server.audit.closed(1).await.len(), 1, "{place}");
        // The hook and the permit come after the record.
        while !fuse.blown.load(Relaxed) {
            tokio::task::yield_now().await;
        }
        // The others are still served, on both endpoints; the rooms know who is there.
        assert_heard(&mut ada, &mut grace, "still-here").await;
        let mut alan = server.member("alan", "r").await;
        assert_heard(&mut alan, &mut ada, "new-here").await;
        let room = rooms.at(&RoomKey::new("r".parse().unwrap()));
        let mut users: Vec<_> =
            room.members().await.unwrap().into_iter().map(|it| it.user.to_string()).collect();
        users.sort();
        assert_eq!(users, ["ada", "alan", "grace"], "{place}");
    }
}

// covers: XX-01, LG-02
#[tokio::test]
async fn an_audit_sink_that_panics_costs_the_connection_it_was_told_about() {
    let cases = [
        ("sink, authenticated", Some(1011)),
        ("sink, joined", Some(1011)),
        ("sink, published", Some(1011)),
        ("sink, left", Some(1008)),
        ("sink, closed", Some(1008)),
    ];
    for (place, code) in cases {
        let rooms = Rooms::with(RoomsConfig::new().codec(Fuse::new("nowhere")));
        let fuse = Fuse::new(place);
        let safe = Server::start(endpoint(&rooms, &Fuse::new("nowhere")));
        let mut ada = safe.member("ada", "r").await;
        let mut grace = safe.member("grace", "r").await;
        let layer = endpoint(&rooms, &Fuse::new("nowhere")).audit(Sink(fuse.clone()));
        let server = Server::start_unrecorded(layer);
        assert_eq!(provoke(&server).await, code, "{place}");
        while !fuse.blown.load(Relaxed) {
            tokio::task::yield_now().await;
        }
        assert_heard(&mut ada, &mut grace, "still-here").await;
        let mut alan = server.member("alan", "r").await;
        assert_heard(&mut alan, &mut ada, "new-here").await;
    }
}

// covers: XX-01
#[tokio::test]
async fn a_hook_that_panics_before_the_101_costs_the_handshake() {
    let fuse = Fuse::new("on_connect");
    let server =
        Server::start(endpoint(&Rooms::with(RoomsConfig::new().codec(fuse.clone())), &fuse));
    let mut refused = server.connect_raw().await;
    refused.send(test_support::http::handshake()).await;
    refused.ended().await;
    let mut peer = server.member("ada", "r").await;
    let mut other = server.member("grace", "r").await;
    assert_heard(&mut peer, &mut other, "served").await;
}
