//! A stack that was made once and is shared by all connections: whose state does a message meet?

use std::{num::NonZeroU32, sync::Arc};

use tokio::sync::Semaphore;
use tower::{BoxError, ServiceBuilder, ServiceExt, buffer::Buffer, service_fn, steer::Steer};
use tower_layer::Identity;
use tower_websocket::{
    Anonymous, AuditEvent, Close, DecodeLayer, Failure, Handler, Inbound, Message, OpenRooms,
    Quota, RateLimitLayer, Reply, RequireAuthLayer, RoomPolicy, Rooms, RoomsLayer,
    WebSocketEndpoint,
    layers::{
        Decode, DecodeError, DecodeErrorKind, Encode, EncodeError, HandlerService, ObserveLayer,
    },
    room::{JoinDenied, JoinRequest},
    service::{self, ClientMessage, ServerMessage},
};

use test_support::slow::{Frame, Peer, Server, Tokens, User, quiet, say};

pub(super) type Answer = Result<Reply<Message>, Close>;

async fn echo(inbound: Inbound<Message, Anonymous>) -> Answer {
    Ok(Reply::one(inbound.message))
}

pub(super) async fn assert_internal_error(peer: &mut Peer) {
    assert_eq!(peer.frame().await, Frame::Close(Some(1011), "internal error".to_owned()));
}

/// `count` connections were refused because a service of `layer`'s was not theirs, and ended by it.
pub(super) async fn assert_recorded(server: &Server, layer: &str, count: usize) {
    server.audit.closed(count).await;
    let (mut refused, mut closed) = (Vec::new(), Vec::new());
    for record in server.audit.records() {
        match record.event {
            AuditEvent::Refused(event) => {
                assert_eq!((event.layer, event.rule), (layer, "stack.shared"));
                refused.push(record.connection);
            }
            AuditEvent::Closed(event) => {
                assert_eq!(event.intended_code, Some(1011));
                closed.push(record.connection);
            }
            _ => {}
        }
    }
    refused.sort();
    closed.sort();
    assert_eq!((refused.len(), &refused), (count, &closed));
}

/// Lets ada in, and nobody else.
struct AdaOnly;

impl RoomPolicy<User> for AdaOnly {
    type Role = ();

    async fn join(&self, request: JoinRequest<'_, User>) -> Result<(), JoinDenied> {
        if request.user().as_str() == "ada" { Ok(()) } else { Err(JoinDenied::new()) }
    }
}

// covers: XX-02, RM-01
#[tokio::test]
async fn who_is_in_no_room_speaks_in_none_through_a_shared_stack() {
    let rooms = Rooms::<ServerMessage>::new();
    let stack = ServiceBuilder::new()
        .buffer(16)
        .layer(RoomsLayer::new(rooms, AdaOnly))
        .service(service_fn(service::handle::<User, ()>));
    let stack = stack.map_err(Failure::<ServerMessage>::from);
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(Tokens))
        .layer(DecodeLayer::<ClientMessage>::json());
    let server =
        Server::start(WebSocketEndpoint::new(messages, stack).connection(quiet()).unwrap());
    let mut ada = server.member("ada", "secret").await;
    for said in [
        say("secret", "I am not in here"),
        r#"{"type":"leave","roomId":"secret"}"#.to_owned(),
        r#"{"type":"join","roomId":"secret"}"#.to_owned(),
    ] {
        let mut bob = server.user("bob").await;
        bob.text(&said).await;
        assert_internal_error(&mut bob).await;
    }
    assert_recorded(&server, "rooms", 3).await;
    // Still a member, and nobody else was heard.
    ada.text(&say("secret", "alone?")).await;
    assert!(ada.message().await.contains("alone?"));
}

// covers: XX-02
#[tokio::test]
async fn a_shared_quota_per_connection_is_spent_by_nobody_else() {
    let limit = RateLimitLayer::per_connection(Quota::per_minute(2));
    let stack = ServiceBuilder::new().buffer(16).layer(limit).service(service_fn(echo));
    let layer = WebSocketEndpoint::new(Identity::new(), stack).allow_anonymous();
    let server = Server::start(layer.connection(quiet()).unwrap());
    let mut first = server.connect().await;
    first.text("one").await;
    assert_eq!(first.message().await, "one");
    for _ in 0..3 {
        let mut other = server.connect().await;
        other.text("mine").await;
        assert_internal_error(&mut other).await;
    }
    assert_recorded(&server, "rate_limit", 3).await;
    first.text("two").await;
    assert_eq!(first.message().await, "two");
}

// covers: XX-02
#[tokio::test]
async fn a_shared_decoder_counts_no_ones_errors_for_another() {
    let decode = DecodeLayer::<Vec<u8>, _>::new(Bytes)
        .anonymous()
        .reply_invalid(|_| vec![b'?'], NonZeroU32::new(2).unwrap());
    let handler = service_fn(async |inbound: Inbound<Vec<u8>, Anonymous>| {
        Ok::<_, Close>(Reply::one(inbound.message))
    });
    let stack = ServiceBuilder::new().buffer(16).layer(decode).service(handler);
    let layer = WebSocketEndpoint::new(Identity::new(), stack).allow_anonymous();
    let server = Server::start(layer.connection(quiet()).unwrap());
    let mut first = server.connect().await;
    first.text("!").await;
    assert_eq!(first.message().await, "?");
    for said in ["!", "fine"] {
        let mut other = server.connect().await;
        other.text(said).await;
        assert_internal_error(&mut other).await;
    }
    // What the others sent neither ended nor restarted its row.
    first.text("!").await;
    assert_eq!(first.frame().await, Frame::Close(Some(1008), "invalid message".to_owned()));
}

/// Anything but `!`.
struct Bytes;

impl Decode<Vec<u8>> for Bytes {
    fn decode(&self, message: &Message) -> Result<Vec<u8>, DecodeError> {
        match message.as_bytes() {
            b"!" => Err(DecodeError::new(DecodeErrorKind::Invalid, "message.test")),
            bytes => Ok(bytes.to_vec()),
        }
    }
}

impl Encode<Vec<u8>> for Bytes {
    fn encode(&self, value: &Vec<u8>) -> Result<Message, EncodeError> {
        Ok(Message::text(String::from_utf8_lossy(value).into_owned()))
    }
}

/// Answers with all that it was ever told, and waits before it does.
struct Diary {
    told: Vec<String>,
    called: Arc<Semaphore>,
    answer: Arc<Semaphore>,
}

impl Handler<Message, Anonymous> for Diary {
    type Reply = Message;

    async fn handle(
        &mut self,
        inbound: Inbound<Message, Anonymous>,
    ) -> Result<Reply<Message>, Failure<Message>> {
        self.told.push(inbound.message.as_text().unwrap_or("").to_owned());
        self.called.add_permits(1);
        let _answer = self.answer.acquire().await;
        Ok(Reply::one(Message::text(self.told.join(","))))
    }
}

// covers: XX-02
#[tokio::test]
async fn a_shared_handler_tells_nobody_what_another_said() {
    let (called, answer) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let diary = Diary { told: Vec::new(), called: called.clone(), answer: answer.clone() };
    let stack = Buffer::new(HandlerService::new(diary), 16);
    let layer = WebSocketEndpoint::new(Identity::new(), stack).allow_anonymous();
    let server = Server::start(layer.connection(quiet()).unwrap());
    let mut first = server.connect().await;
    first.text("secret").await;
    called.acquire().await.unwrap().forget();
    // While the first is being answered, which costs the first nothing, and after that.
    let mut other = server.connect().await;
    other.text("what did they say?").await;
    assert!(other.nothing_comes().await);
    answer.add_permits(1);
    assert_eq!(first.message().await, "secret");
    assert_internal_error(&mut other).await;
    let mut third = server.connect().await;
    third.text("and now?").await;
    assert_internal_error(&mut third).await;
    first.text("more").await;
    assert_eq!(first.message().await, "secret,more");
}

// covers: XX-02
#[tokio::test]
async fn a_shared_observer_gives_nobody_away_to_a_service_that_is_not_ready() {
    let observe = ObserveLayer::new(|_| ());
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let slow = service_fn(move |inbound: Inbound<Message, Anonymous>| {
        let gate = Arc::clone(&opened);
        async move {
            gate.acquire().await.unwrap().forget();
            echo(inbound).await
        }
    });
    // One at a time: the second message waits, and what waits is the service.
    let stack = ServiceBuilder::new().buffer(16).layer(observe).concurrency_limit(1).service(slow);
    let layer = WebSocketEndpoint::new(Identity::new(), stack).allow_anonymous();
    let server = Server::start(layer.connection(quiet()).unwrap());
    let mut first = server.connect().await;
    first.text("one").await;
    for _ in 0..3 {
        let mut other = server.connect().await;
        other.text("mine").await;
        assert_internal_error(&mut other).await;
    }
    assert_recorded(&server, "observe", 3).await;
    gate.add_permits(2);
    assert_eq!(first.message().await, "one");
    first.text("two").await;
    assert_eq!(first.message().await, "two");
}

// covers: XX-02
#[tokio::test]
async fn a_switch_between_shared_stacks_shares_each_of_them() {
    let stack = |says: &'static str| {
        let quota = Quota::per_second(1_000).burst(1_000_000);
        let limit = RateLimitLayer::per_connection(quota).cost_bytes();
        let handler = service_fn(move |_: Inbound<Message, Anonymous>| async move {
            Ok::<_, Close>(Reply::one(Message::text(says)))
        });
        ServiceBuilder::new()
            .buffer::<Inbound<Message, Anonymous>>(16)
            .layer(limit)
            .service(handler)
    };
    let pick = |inbound: &Inbound<Message, Anonymous>, _: &[_]| inbound.message.len() % 2;
    let stack = Steer::new([stack("even"), stack("odd")], pick);
    let stack = stack.map_err(|error: BoxError| Failure::<Message>::from(error));
    let layer = WebSocketEndpoint::new(Identity::new(), stack).allow_anonymous();
    let server = Server::start(layer.connection(quiet()).unwrap());
    let (mut even, mut odd) = (server.connect().await, server.connect().await);
    even.text("ab").await;
    assert_eq!(even.message().await, "even");
    odd.text("abc").await;
    assert_eq!(odd.message().await, "odd");
    odd.text("ab").await;
    assert_internal_error(&mut odd).await;
    even.text("cd").await;
    assert_eq!(even.message().await, "even");
}

// covers: XX-02
#[tokio::test]
async fn a_buffer_of_each_connections_own_is_no_sharing() {
    let messages = ServiceBuilder::new()
        .buffer(16)
        .layer(RateLimitLayer::per_connection(Quota::per_minute(10)))
        .layer(RequireAuthLayer::new(Tokens))
        .layer(DecodeLayer::<ClientMessage>::json())
        .layer(RoomsLayer::new(Rooms::new(), OpenRooms));
    let handler = service_fn(service::handle::<User, ()>);
    let server =
        Server::start(WebSocketEndpoint::new(messages, handler).connection(quiet()).unwrap());
    let mut peers = Vec::new();
    for user in ["ada", "grace", "ada"] {
        peers.push(server.member(user, "r").await);
    }
    for peer in &mut peers {
        peer.text(r#"{"type":"ping"}"#).await;
        assert!(peer.message().await.contains("pong"));
    }
    assert!(server.audit.refusals().is_empty());
}
