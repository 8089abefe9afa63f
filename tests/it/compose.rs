//! Stock tower layers in a message stack, and handlers with state.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::Notify;
use tower::{
    BoxError, ServiceBuilder,
    limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer},
    load_shed::LoadShedLayer,
    service_fn,
    timeout::{TimeoutLayer, error::Elapsed},
};
use tower_layer::{Identity, Layer};
use tower_service::Service;
use tower_websocket::{
    Anonymous, Close, Connection, DecodeLayer, Failure, HandleErrorLayer, Handler, Inbound,
    Message, OpenRooms, Quota, RateLimitLayer, Reply, RequireAuthLayer, Rooms, RoomsLayer,
    WebSocketEndpoint,
    service::{self, ClientMessage, ServerMessage},
};

use test_support::slow::{Frame, FrozenClock, Server, Tokens, quiet, say};

type Handled = Result<Reply<Message>, Close>;

/// Never answers `slow`.
async fn echo(inbound: Inbound<Message, Anonymous>) -> Handled {
    if inbound.message.as_text() == Some("slow") {
        std::future::pending::<()>().await;
    }
    Ok(Reply::one(inbound.message))
}

#[tokio::test(start_paused = true)]
async fn a_timeout_layer_closes_with_1011() {
    let layer = WebSocketEndpoint::new(TimeoutLayer::new(Duration::from_secs(1)), service_fn(echo));
    let server = Server::start(layer.allow_anonymous().connection(quiet()).unwrap());
    let mut peer = server.connect().await;
    peer.text("fast").await;
    assert_eq!(peer.message().await, "fast");
    peer.text("slow").await;
    peer.assert_closed(1011).await;
    assert_eq!(server.audit.closed(1).await[0].rule, "handler.timeout");
}

/// A reply for what took too long.
fn too_slow(error: BoxError) -> Failure<Message> {
    if error.is::<Elapsed>() {
        Failure::Reply(Message::text("too slow"))
    } else {
        Failure::from(error)
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_becomes_a_reply_by_handling_its_error() {
    let messages = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(too_slow))
        .layer(TimeoutLayer::new(Duration::from_secs(1)));
    let layer = WebSocketEndpoint::new(messages, service_fn(echo));
    let server = Server::start(layer.allow_anonymous().connection(quiet()).unwrap());
    let mut peer = server.connect().await;
    for _ in 0..3 {
        peer.text("slow").await;
        assert_eq!(peer.message().await, "too slow");
        peer.text("fast").await;
        assert_eq!(peer.message().await, "fast");
    }
}

/// How many messages of two connections are handled at once behind `limit`.
async fn handled_at_once<L>(limit: L) -> usize
where
    L: Layer<Stuck, Service: Service<Inbound<Message, Anonymous>, Response = Reply<Message>>>,
    L: Send + Sync + 'static,
    L::Service: Send + 'static,
    <L::Service as Service<Inbound<Message, Anonymous>>>::Error: Into<Failure<Message>>,
    <L::Service as Service<Inbound<Message, Anonymous>>>::Future: Send,
{
    let stuck = Stuck::default();
    let layer = WebSocketEndpoint::new(limit, stuck.clone());
    let server = Server::start(layer.allow_anonymous().connection(quiet()).unwrap());
    let mut peers = [server.connect().await, server.connect().await];
    for peer in &mut peers {
        peer.text("hello").await;
        assert!(peer.nothing_comes().await);
    }
    stuck.0.load(Relaxed)
}

/// Counts the messages that it never answers.
#[derive(Clone, Default)]
struct Stuck(Arc<AtomicUsize>);

impl Service<Inbound<Message, Anonymous>> for Stuck {
    type Response = Reply<Message>;
    type Error = Close;
    type Future = std::future::Pending<Handled>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Close>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Inbound<Message, Anonymous>) -> Self::Future {
        self.0.fetch_add(1, Relaxed);
        std::future::pending()
    }
}

/// The stack is applied once for each connection, and with it a limit that is not global.
#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_limits_messages_only_if_it_is_global() {
    let _clock = FrozenClock::new();
    assert_eq!(handled_at_once(ConcurrencyLimitLayer::new(1)).await, 2);
    assert_eq!(handled_at_once(GlobalConcurrencyLimitLayer::new(1)).await, 1);
}

#[tokio::test]
async fn load_that_is_shed_closes_with_1013() {
    let messages = ServiceBuilder::new()
        .layer(LoadShedLayer::new())
        .layer(GlobalConcurrencyLimitLayer::new(1));
    let layer = WebSocketEndpoint::new(messages, service_fn(echo));
    let server = Server::start(layer.allow_anonymous().connection(quiet()).unwrap());
    let mut busy = server.connect().await;
    busy.text("slow").await;
    // The one permit is in use: somebody else is refused, and told to come back.
    let mut other = server.connect().await;
    loop {
        other.text("fast").await;
        match other.frame().await {
            Frame::Data(_) => {}
            end => break assert_eq!(end, Frame::Close(Some(1013), "overloaded".to_owned())),
        }
    }
}

/// Ten permits for the handlers of all connections.
fn limited(rooms: &Rooms<ServerMessage>) -> WebSocketEndpoint {
    let invalid = |_: &_| ServerMessage::error("invalid");
    let messages = ServiceBuilder::new()
        .layer(
            RateLimitLayer::per_connection(Quota::per_second(1).burst(3))
                .reply_with(|| Message::text("slow down")),
        )
        .layer(RequireAuthLayer::new(Tokens))
        .layer(DecodeLayer::<ClientMessage>::json().reply_invalid(invalid, NonZeroU32::MAX))
        .layer(RoomsLayer::new(rooms.clone(), OpenRooms))
        .layer(GlobalConcurrencyLimitLayer::new(10));
    WebSocketEndpoint::new(messages, service_fn(service::handle)).connection(quiet()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn idle_connections_hold_no_permits_whatever_they_said_before() {
    let _clock = FrozenClock::new();
    let rooms = Rooms::new();
    let server = Server::start(limited(&rooms));
    let mut idle = Vec::new();
    for n in 0..1_000 {
        idle.push(match n % 5 {
            0 => server.connect().await,
            1 => server.user(&format!("u{n}")).await,
            2 => server.member(&format!("u{n}"), "idle").await,
            3 => {
                let mut peer = server.user(&format!("u{n}")).await;
                peer.text("{}").await;
                assert!(peer.message().await.contains("invalid"));
                peer
            }
            _ => {
                let mut peer = server.member(&format!("u{n}"), "idle").await;
                peer.text(r#"{"type":"leave","roomId":"idle"}"#).await;
                assert!(peer.message().await.contains("left"));
                peer.text("{}").await;
                assert_eq!(peer.message().await, "slow down");
                peer
            }
        });
    }
    // Everybody is served: more connections than there are permits, one after the other and together.
    let mut active = Vec::new();
    for n in 0..20 {
        let mut peer = server.member(&format!("a{n}"), &format!("room-{n}")).await;
        peer.text(&say(&format!("room-{n}"), "hello")).await;
        active.push(peer);
    }
    for peer in &mut active {
        assert!(peer.message().await.contains("hello"));
    }
    drop(idle);
}

/// A peer whose message waited for the only permit in vain still stands in line for it. It must not
/// get it afterwards, with nothing to do, and keep it.
#[tokio::test(start_paused = true)]
async fn a_message_that_waited_too_long_holds_no_permit_later() {
    let permit = GlobalConcurrencyLimitLayer::new(1);
    let start = |seconds| {
        let messages = ServiceBuilder::new()
            .layer(HandleErrorLayer::new(too_slow))
            .layer(TimeoutLayer::new(Duration::from_secs(seconds)))
            .layer(RateLimitLayer::per_connection(Quota::per_second(u32::MAX)))
            .layer(permit.clone());
        let layer = WebSocketEndpoint::new(messages, service_fn(echo));
        Server::start(layer.allow_anonymous().connection(quiet()).unwrap())
    };
    let (patient, hasty) = (start(5), start(1));
    let _clock = FrozenClock::new();
    let (mut holder, mut waiter) = (patient.connect().await, hasty.connect().await);
    holder.text("slow").await;
    assert!(holder.nothing_comes().await);
    waiter.text("waits").await;
    assert!(waiter.nothing_comes().await);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(waiter.until_close().await, (vec!["too slow".to_owned()], Some(1013)));
    tokio::time::advance(Duration::from_secs(4)).await;
    assert_eq!(holder.message().await, "too slow");
    let mut other = patient.connect().await;
    other.text("fast").await;
    assert!(!other.nothing_comes().await);
    assert_eq!(other.message().await, "fast");
}

#[tokio::test]
async fn a_thousand_connections_share_ten_permits() {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let handler = service_fn({
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        move |inbound: Inbound<Message, Anonymous>| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            async move {
                most.fetch_max(running.fetch_add(1, Relaxed) + 1, Relaxed);
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                running.fetch_sub(1, Relaxed);
                Handled::Ok(Reply::one(inbound.message))
            }
        }
    });
    let layer = WebSocketEndpoint::new(GlobalConcurrencyLimitLayer::new(10), handler);
    let server = Server::start(layer.allow_anonymous().connection(quiet()).unwrap());
    let mut peers = Vec::new();
    for _ in 0..1_000 {
        peers.push(server.connect().await);
    }
    for peer in &mut peers {
        peer.text("hello").await;
    }
    for peer in &mut peers {
        assert_eq!(peer.message().await, "hello");
    }
    assert_eq!(most.load(Relaxed), 10);
}

/// Counts its messages, and says where it is.
struct Counter {
    count: u64,
    dropped: Arc<AtomicUsize>,
    go_on: Arc<Notify>,
}

impl Handler<Message, Anonymous> for Counter {
    type Reply = Message;

    async fn handle(
        &mut self,
        inbound: Inbound<Message, Anonymous>,
    ) -> Result<Reply<Message>, Failure<Message>> {
        self.count += 1;
        match inbound.message.as_text() {
            Some("wait") => self.go_on.notified().await,
            Some("fail") => return Err(Failure::Reply(Message::text("failed"))),
            _ => {}
        }
        Ok(Reply::one(Message::text(self.count.to_string())))
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Relaxed);
    }
}

fn counting<L>(layers: L, dropped: &Arc<AtomicUsize>, go_on: &Arc<Notify>) -> WebSocketEndpoint
where
    L: tower_layer::Layer<
            tower_websocket::layers::HandlerService<Counter, Message, Anonymous>,
            Service: tower::Service<
                Inbound<Message, Anonymous>,
                Response = Reply<Message>,
                Error: Into<Failure<Message>>,
                Future: Send,
            > + Send
                         + 'static,
        > + Send
        + Sync
        + 'static,
{
    let (dropped, go_on) = (Arc::clone(dropped), Arc::clone(go_on));
    let make = move |_: &Connection, _: &mut http::request::Parts| Counter {
        count: 0,
        dropped: Arc::clone(&dropped),
        go_on: Arc::clone(&go_on),
    };
    WebSocketEndpoint::with_handler(layers, make).allow_anonymous().connection(quiet()).unwrap()
}

#[tokio::test]
async fn a_handler_keeps_its_state_for_one_connection() {
    let (dropped, go_on) = Default::default();
    let server = Server::start(counting(Identity::new(), &dropped, &go_on));
    let mut peers = [server.connect().await, server.connect().await];
    for n in 1..=3 {
        for peer in &mut peers {
            peer.text("count").await;
            assert_eq!(peer.message().await, n.to_string());
        }
    }
    // Also over a failure, and over a call that waited.
    peers[0].text("fail").await;
    assert_eq!(peers[0].message().await, "failed");
    peers[0].text("wait").await;
    go_on.notify_one();
    assert_eq!(peers[0].message().await, "5");
    assert_eq!(dropped.load(Relaxed), 0);
    let [first, second] = peers;
    drop(first);
    server.audit.closed(1).await;
    assert_eq!(dropped.load(Relaxed), 1);
    drop(second);
    server.audit.closed(2).await;
    assert_eq!(dropped.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_handler_whose_future_was_dropped_does_not_go_on() {
    let (dropped, go_on) = Default::default();
    let layers = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(too_slow))
        .layer(TimeoutLayer::new(Duration::from_secs(1)));
    let server = Server::start(counting(layers, &dropped, &go_on));
    let mut peer = server.connect().await;
    peer.text("count").await;
    assert_eq!(peer.message().await, "1");
    peer.text("wait").await;
    assert_eq!(peer.message().await, "too slow");
    // It went with its future: its state may be half changed.
    assert_eq!(dropped.load(Relaxed), 1);
    peer.text("count").await;
    peer.assert_closed(1011).await;
    assert_eq!(server.audit.closed(1).await[0].rule, "handler.failed");
}
