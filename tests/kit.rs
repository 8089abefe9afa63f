//! The test kit, used as an application would use it: on the room service, and on stacks with a
//! mistake, which it has to find.
#![cfg(test)]

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use serde_json::{Value, json};
use tower::{ServiceBuilder, layer::util::Identity, service_fn};
use tower_websocket::{
    Anonymous, AuthFailure, Authenticate, CloseCode, CloseReason, Connection, ConnectionConfig,
    DecodeLayer, Inbound, Message, OpenRooms, PeerAddr, Principal, Reply, RequireAuthLayer, Rooms,
    RoomsLayer, Session, WebSocketLayer,
    room::service::{self, ClientMessage},
    testing::{
        Heard, Properties, Records, TestConnection, TestServer, assert_broadcast, assert_push,
        handshake,
    },
};

struct User(String);

impl Principal for User {
    fn id(&self) -> &str {
        &self.0
    }
}

/// Whoever has a token is who it says, but for `nobody`.
struct Tokens;

impl Authenticate for Tokens {
    type User = User;

    async fn authenticate(
        &self,
        message: &Message,
        _: &Connection,
    ) -> Result<Session<User>, AuthFailure> {
        let token = service::credentials(message).filter(|it| it.as_str() != "nobody");
        let user = User(token.ok_or(AuthFailure::Rejected)?.as_str().to_owned());
        let welcome = json!({ "type": "auth_ok", "userId": user.id() }).to_string();
        Ok(Session::new(user).reply(Message::text(welcome)))
    }
}

fn login(token: impl std::fmt::Display) -> Value {
    json!({ "type": "auth", "token": token.to_string() })
}

fn join(room: &str) -> Value {
    json!({ "type": "join", "roomId": room })
}

fn leave(room: &str) -> Value {
    json!({ "type": "leave", "roomId": room })
}

fn say(room: &str, text: &str) -> Value {
    json!({ "type": "chat", "roomId": room, "text": text })
}

/// The room service, and how often its handler has run.
fn rooms() -> (WebSocketLayer, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(Tokens))
        .layer(DecodeLayer::<ClientMessage>::json())
        .layer(RoomsLayer::new(Rooms::new(), OpenRooms));
    let handler = service_fn(move |inbound| {
        counted.fetch_add(1, Ordering::SeqCst);
        service::handle(inbound)
    });
    (WebSocketLayer::new(messages, handler), calls)
}

// holds: I1
// covers: AU-01
#[tokio::test(start_paused = true)]
async fn nothing_of_the_room_service_runs_before_authentication() {
    let (endpoint, calls) = rooms();
    let server = TestServer::endpoint(endpoint);
    let messages = [join("r"), leave("r"), say("r", "hello"), json!({ "type": "ping" })];
    let properties = Properties::new(&server, "/").login(login);
    properties.nothing_before_auth(messages, || calls.load(Ordering::SeqCst)).await;
}

// holds: I2
// covers: RM-01
#[tokio::test(start_paused = true)]
async fn nothing_leaks_between_the_rooms_of_the_room_service() {
    let server = TestServer::endpoint(rooms().0);
    let properties = Properties::new(&server, "/").login(login);
    properties.no_leak_between_rooms(join, leave, say).await;
}

/// What a property says of `server`, which has a mistake.
async fn complaint(property: impl Future<Output = ()>) -> String {
    let complaint = AssertUnwindSafe(property).catch_unwind().await.unwrap_err();
    let constant = complaint.downcast_ref::<&str>().map(|it| (*it).to_owned());
    constant.unwrap_or_else(|| *complaint.downcast().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_answers_strangers_is_found() {
    let calls = AtomicUsize::new(0);
    let echo = |m: Inbound<Message, Anonymous>| async { Ok::<_, CloseReason>(m.message.into()) };
    let echo = WebSocketLayer::new(Identity::new(), service_fn(echo)).allow_anonymous();
    let server = TestServer::endpoint(echo);
    let properties = Properties::new(&server, "/").login(login);
    let found = properties.nothing_before_auth(["x"], || calls.fetch_add(1, Ordering::SeqCst));
    assert!(complaint(found).await.contains("a stranger was not just closed"));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_runs_for_strangers_is_found_though_they_are_closed() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let handler = move |_: Inbound<Message, Anonymous>| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Err::<Reply<Message>, _>(CloseReason::AuthRequired) }
    };
    let server = WebSocketLayer::new(Identity::new(), service_fn(handler));
    let server = TestServer::endpoint(server);
    let properties = Properties::new(&server, "/").login(login);
    let found = properties.nothing_before_auth(["x"], || calls.load(Ordering::SeqCst));
    assert!(complaint(found).await.contains("the handler ran for a stranger"));
}

#[tokio::test(start_paused = true)]
async fn a_property_that_would_show_nothing_says_so() {
    let server = TestServer::endpoint(rooms().0);
    let properties = Properties::new(&server, "/").login(login);
    let found = properties.nothing_before_auth([say("r", "hello")], || 0);
    assert!(complaint(found).await.contains("does not run after a login either"));
}

/// Everybody who has ever joined a room, and hears it for good: the mistake is that nobody leaves.
async fn sticky(
    members: Arc<Mutex<BTreeMap<String, Vec<Connection>>>>,
    inbound: Inbound<Message, Anonymous>,
) -> Result<Reply<Message>, CloseReason> {
    let message: Value = serde_json::from_str(inbound.message.as_text().unwrap()).unwrap();
    let room = message["roomId"].as_str().unwrap_or_default().to_owned();
    let mut rooms = members.lock().unwrap();
    let here = rooms.entry(room).or_default();
    let known = here.iter().any(|it| it.id() == inbound.connection().id());
    match message["type"].as_str() {
        Some("join") if !known => here.push(inbound.connection().clone()),
        Some("chat") if known => {
            for member in here {
                let _ = member.push(inbound.message.clone());
            }
        }
        _ => {}
    }
    Ok(Reply::none())
}

#[tokio::test(start_paused = true)]
async fn rooms_that_nobody_can_leave_are_found() {
    let members = Arc::default();
    let handler = service_fn(move |inbound| sticky(Arc::clone(&members), inbound));
    let server = WebSocketLayer::new(Identity::new(), handler).allow_anonymous();
    let server = TestServer::endpoint(server);
    let properties = Properties::new(&server, "/");
    let found = properties.no_leak_between_rooms(join, leave, say);
    assert!(complaint(found).await.contains("not in room-"));
}

#[tokio::test(start_paused = true)]
async fn peers_hear_replies_broadcasts_and_closes() {
    let server = TestServer::endpoint(rooms().0);
    let (mut ada, mut bob) = (server.connect("/").await, server.connect("/").await);
    for (name, peer) in [("ada", &mut ada), ("bob", &mut bob)] {
        peer.assert_reply(login(name), json!({ "type": "auth_ok", "userId": name })).await;
        peer.assert_reply(join("r"), json!({ "type": "joined", "roomId": "r" })).await;
    }
    ada.send_in_fragments(say("r", "hello"), 3);
    let hello = json!({ "type": "chat", "userId": "ada", "text": "hello" });
    assert_broadcast([&mut ada, &mut bob], hello).await;
    bob.send_in_pieces(say("elsewhere", "hello"), 2);
    bob.assert_closed(CloseCode::POLICY).await;
    ada.assert_silent(Duration::from_secs(20)).await;
    ada.close(CloseCode::NORMAL);
    ada.assert_closed(1000u16).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_can_be_slow_or_gone() {
    let records = Records::new();
    let config = ConnectionConfig::new().max_outbound_bytes(8192.try_into().unwrap());
    let push = |m: Inbound<Message, Anonymous>| async move {
        let line = Message::text("x".repeat(1000));
        for _ in 0..20 {
            let _ = m.connection().push(line.clone());
        }
        Ok::<_, CloseReason>(Reply::none())
    };
    let endpoint = WebSocketLayer::new(Identity::new(), service_fn(push)).allow_anonymous();
    let server = TestServer::endpoint(endpoint.connection(config).audit(records.clone()));

    let slow = server.connect("/").await;
    slow.stop_reading();
    slow.send("go");
    server.connect("/").await.vanish();
    server.connect("/").await.reset();
    let mut half = server.connect("/").await;
    half.half_close();
    assert_eq!(half.recv().await, Heard::Ended);
    drop(half);

    tokio::time::sleep(Duration::from_secs(120)).await;
    let mut rules: Vec<_> = records.all_closed().iter().map(|it| it.rule).collect();
    rules.sort_unstable();
    assert_eq!(rules, ["heartbeat", "lost", "lost", "slow_consumer"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_of_ones_own_is_refused_or_let_in() {
    let server = TestServer::endpoint(rooms().0.path("/ws"));
    let request = handshake("/ws").header("origin", "https://evil.example").body(()).unwrap();
    let refused = server.request(request).await.unwrap_err();
    assert_eq!((refused.status().as_u16(), refused.body().is_empty()), (403, false));
    let elsewhere = server.request(handshake("/").body(()).unwrap()).await.unwrap_err();
    assert_eq!(elsewhere.status(), 404);

    let addr = "192.0.2.1:1".parse().unwrap();
    let request = handshake("/ws").extension(PeerAddr(addr)).body(()).unwrap();
    assert!(server.request(request).await.is_ok());
}

#[tokio::test]
async fn a_connection_without_a_socket_keeps_what_it_is_told() {
    let mut ada = TestConnection::new();
    let user = ada.authenticated(User("ada".into()));
    assert_eq!(ada.connection().user_id().map(|it| &**it), Some("ada"));
    let rooms = Rooms::<service::ServerMessage>::new();
    let member = ada.join(&rooms, &user, "r", "chair").await;
    assert_eq!((member.role(), rooms.len()), (Some(&"chair"), 1));
    ada.connection().push(Message::text("hello")).unwrap();
    assert_push(&mut ada, "hello");
    assert_eq!(ada.pushed(), None);
    ada.connection().close(CloseReason::Forbidden);
    ada.assert_closed(CloseReason::Forbidden);
    drop((ada, member));
    assert!(rooms.is_empty());
}
