//! Who waits for a quota: in which order, and that waiting, hanging up and coming back gain nothing.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::advance;
use tower::{BoxError, ServiceBuilder, service_fn, timeout::TimeoutLayer};
use tower_websocket::{
    Anonymous, Authenticated, Close, ConnectionConfig, Failure, HandleErrorLayer, Inbound, Message,
    Quota, RateLimitLayer, Reply, RequireAuthLayer, WebSocketEndpoint,
};

use test_support::slow::{FrozenClock, Peer, Server, Tokens, User, frame, quiet};

type Answer = Result<Reply<Message>, Close>;

/// How many messages the handler had.
type Handled = Arc<AtomicUsize>;

async fn echo(inbound: Inbound<Message, Anonymous>) -> Answer {
    Ok(Reply::one(inbound.message))
}

/// The handler of users that wait for a quota of their own.
fn waiting(quota: Quota) -> (Server, Handled) {
    let handled = Handled::default();
    let count = Arc::clone(&handled);
    let handler = service_fn(move |inbound: Inbound<Message, Authenticated<User>>| {
        count.fetch_add(1, Relaxed);
        async { Answer::Ok(Reply::one(inbound.message)) }
    });
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(Tokens))
        .layer(RateLimitLayer::per_user(quota).wait());
    // Longer than anybody waits here.
    let config = quiet().handler_timeout(Duration::from_secs(100_000));
    (Server::start(WebSocketEndpoint::new(messages, handler).connection(config).unwrap()), handled)
}

/// Lets what was sent arrive.
async fn settle(peers: &mut [Peer]) {
    for _ in 0..10 {
        for peer in &mut *peers {
            assert!(peer.nothing_comes().await);
        }
    }
}

// covers: MS-24
#[tokio::test(start_paused = true)]
async fn fifty_connections_of_a_user_that_waits_get_its_quota_and_no_more() {
    let _clock = FrozenClock::new();
    let (server, handled) = waiting(Quota::per_second(1).burst(2));
    let mut peers = Vec::new();
    for n in 0..50 {
        let mut peer = server.user("ada").await;
        peer.send(frame(0x81, n.to_string()).repeat(3)).await;
        if n == 0 {
            for _ in 0..2 {
                assert_eq!(peer.message().await, "0");
            }
        }
        settle(std::slice::from_mut(&mut peer)).await;
        peers.push(peer);
    }
    assert_eq!(handled.load(Relaxed), 2);
    // One each second, in the order in which they came.
    for (n, peer) in peers.iter_mut().enumerate() {
        advance(Duration::from_millis(999)).await;
        assert!(peer.nothing_comes().await);
        advance(Duration::from_millis(1)).await;
        assert_eq!(peer.message().await, n.to_string());
        assert_eq!(handled.load(Relaxed), 3 + n);
    }
    // Somebody else waits for nobody.
    let mut grace = server.user("grace").await;
    grace.text("hello").await;
    assert_eq!(grace.message().await, "hello");
}

// covers: MS-24
#[tokio::test(start_paused = true)]
async fn hanging_up_and_coming_back_forgives_nothing() {
    let _clock = FrozenClock::new();
    let (server, handled) = waiting(Quota::per_minute(1).burst(2));
    for n in 1..=50 {
        let mut peer = server.user("ada").await;
        peer.send(frame(0x81, "hello").repeat(3)).await;
        if n == 1 {
            for _ in 0..2 {
                assert_eq!(peer.message().await, "hello");
            }
        }
        settle(std::slice::from_mut(&mut peer)).await;
        drop(peer);
        settle(&mut []).await;
        assert_eq!(handled.load(Relaxed), 2, "after {n}");
    }
}

// covers: MS-24
#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_owes_nothing_and_the_next_moves_up() {
    let _clock = FrozenClock::new();
    let gave_up = |_: BoxError| Failure::Reply(Message::text("gave up"));
    let messages = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(gave_up))
        .layer(TimeoutLayer::new(Duration::from_secs(10)))
        .layer(RateLimitLayer::per_address(Quota::per_minute(1)).wait());
    let layer = WebSocketEndpoint::new(messages, service_fn(echo)).allow_anonymous();
    let server = Server::start(layer.connection(quiet()).unwrap());
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    first.text("paid").await;
    assert_eq!(first.message().await, "paid");
    first.text("too early").await;
    assert!(first.nothing_comes().await);
    advance(Duration::from_secs(5)).await;
    second.text("later").await;
    assert!(second.nothing_comes().await);
    advance(Duration::from_secs(5)).await;
    assert_eq!(first.message().await, "gave up");
    advance(Duration::from_secs(5)).await;
    assert_eq!(second.message().await, "gave up");
    // Neither was charged, and the service behind is back where it was.
    advance(Duration::from_secs(45)).await;
    second.text("in time").await;
    assert_eq!(second.message().await, "in time");
    first.text("over again").await;
    assert!(first.nothing_comes().await);
    advance(Duration::from_secs(10)).await;
    assert_eq!(first.message().await, "gave up");
}

// covers: MS-24
#[tokio::test(start_paused = true)]
async fn a_large_message_is_not_overtaken_for_ever_by_small_ones() {
    let _clock = FrozenClock::new();
    let limit = RateLimitLayer::per_address(Quota::per_second(10)).cost_bytes();
    let layer = WebSocketEndpoint::new(limit.wait(), service_fn(echo)).allow_anonymous();
    let server = Server::start(layer.connection(quiet()).unwrap());
    let (mut large, mut small) = (server.connect().await, server.connect().await);
    small.text("0123456789").await;
    small.message().await;
    large.text("a whole se").await;
    assert!(large.nothing_comes().await);
    // Each could be paid for before the large one can.
    small.send(frame(0x81, "x").repeat(20)).await;
    for _ in 0..9 {
        advance(Duration::from_millis(100)).await;
        assert!(small.nothing_comes().await && large.nothing_comes().await);
    }
    advance(Duration::from_millis(101)).await;
    assert_eq!(large.message().await, "a whole se");
    advance(Duration::from_millis(100)).await;
    assert_eq!(small.message().await, "x");
}

// covers: MS-24
#[tokio::test(start_paused = true)]
async fn those_who_share_the_overflow_bucket_wait_for_each_other() {
    let _clock = FrozenClock::new();
    let limit =
        RateLimitLayer::per_address(Quota::per_minute(1)).max_buckets(NonZeroUsize::MIN).wait();
    let layer = WebSocketEndpoint::new(limit, service_fn(echo)).allow_anonymous();
    let server = Server::start(layer.connection(quiet()).unwrap());
    let mut answered = 0;
    let mut peers = Vec::new();
    for n in 1..=20 {
        let from = format!("192.0.2.{n}:1");
        let handshake = test_support::http::handshake_with("X-Test-From", &[&from]);
        let mut peer = server.connect_with(&handshake).await;
        peer.text("hello").await;
        for _ in 0..10 {
            if !peer.nothing_comes().await {
                assert_eq!(peer.message().await, "hello");
                answered += 1;
                break;
            }
        }
        peers.push(peer);
    }
    // One bucket of its own, and one for the rest.
    assert_eq!(answered, 2);
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_longer_than_a_handler_may_take_is_closed() {
    let clock = FrozenClock::new();
    let limit = RateLimitLayer::per_connection(Quota::per_minute(1)).wait();
    let config: ConnectionConfig = quiet().handler_timeout(Duration::from_secs(30));
    let layer = WebSocketEndpoint::new(limit, service_fn(echo)).allow_anonymous();
    let server = Server::start(layer.connection(config).unwrap());
    let mut peer = server.connect().await;
    peer.send(frame(0x81, "hello").repeat(2)).await;
    assert_eq!(peer.message().await, "hello");
    assert!(peer.nothing_comes().await);
    // The timer has a resolution of a millisecond.
    advance(Duration::from_millis(30_001)).await;
    drop(clock);
    peer.assert_closed(1011).await;
    assert_eq!(server.audit.closed(1).await[0].rule, "handler.timeout");
}
