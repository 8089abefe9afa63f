//! How much a peer may send, and who is counted together.

use std::time::Duration;

use tokio::time::{Instant, advance};
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    Anonymous, Close, DecodeLayer, Inbound, Message, OpenRooms, Quota, RateLimitLayer, Reply,
    RequireAuthLayer, Rooms, RoomsLayer, WebSocketEndpoint,
    layers::OnExcess,
    service::{self, ClientMessage},
};

use test_support::slow::{Frame, FrozenClock, Peer, Server, Tokens, frame, quiet};

/// 20 each second, and 40 at once: the default of the reference server.
pub(super) const EACH: Quota = Quota::per_second(20).burst(40);

pub(super) async fn echo(inbound: Inbound<Message, Anonymous>) -> Result<Reply<Message>, Close> {
    Ok(Reply::one(inbound.message))
}

fn echoing<E>(
    limit: RateLimitLayer<
        tower_websocket::layers::PerConnection,
        tower_websocket::layers::OneEach,
        E,
    >,
) -> Server
where
    E: OnExcess<Message> + Clone + Send + Sync + 'static,
{
    let layer = WebSocketEndpoint::new(limit, service_fn(echo)).allow_anonymous();
    Server::start(layer.connection(quiet()).unwrap())
}

pub(super) async fn assert_rate_limited(peer: &mut Peer) {
    assert_eq!(peer.frame().await, Frame::Close(Some(1008), "rate limited".to_owned()));
}

// covers: MS-19
#[tokio::test(start_paused = true)]
async fn one_message_more_than_the_burst_closes() {
    let clock = FrozenClock::new();
    let server = echoing(RateLimitLayer::per_connection(EACH));
    let mut peer = server.connect().await;
    peer.send(frame(0x81, "{}").repeat(40)).await;
    for _ in 0..40 {
        assert_eq!(peer.message().await, "{}");
    }
    peer.text("{}").await;
    assert_rate_limited(&mut peer).await;
    let refusals = server.audit.refusals();
    assert_eq!(refusals.len(), 1);
    assert_eq!((refusals[0].rule, refusals[0].limit), ("message.rate", Some(40)));
    drop(clock);
    assert_eq!(server.audit.closed(1).await[0].rule, "message.rate");
}

// covers: MS-19
#[tokio::test(start_paused = true)]
async fn a_tenth_over_the_rate_is_noticed_and_the_rate_itself_never() {
    let _clock = FrozenClock::new();
    for (pause, refused) in [(45, true), (50, false)] {
        let server = echoing(RateLimitLayer::per_connection(EACH));
        let mut peer = server.connect().await;
        // The burst first, so that nothing is saved up.
        peer.send(frame(0x81, "{}").repeat(40)).await;
        for _ in 0..40 {
            assert_eq!(peer.message().await, "{}");
        }
        let began = Instant::now();
        let mut closed = false;
        while began.elapsed() < Duration::from_secs(30) && !closed {
            advance(Duration::from_millis(pause)).await;
            peer.text("{}").await;
            closed = !matches!(peer.frame().await, Frame::Data(_));
        }
        assert_eq!(closed, refused, "a message each {pause} ms");
    }
}

// covers: MS-19
#[tokio::test(start_paused = true)]
async fn an_hour_of_silence_is_worth_one_burst() {
    let _clock = FrozenClock::new();
    let server = echoing(RateLimitLayer::per_connection(EACH));
    let mut peer = server.connect().await;
    for _ in 0..2 {
        peer.send(frame(0x81, "{}").repeat(40)).await;
        for _ in 0..40 {
            assert_eq!(peer.message().await, "{}");
        }
        advance(Duration::from_secs(3_600)).await;
    }
    peer.send(frame(0x81, "{}").repeat(40)).await;
    for _ in 0..40 {
        assert_eq!(peer.message().await, "{}");
    }
    peer.text("{}").await;
    assert_rate_limited(&mut peer).await;
}

// covers: MS-19
#[tokio::test(start_paused = true)]
async fn by_choice_the_excess_is_answered() {
    let _clock = FrozenClock::new();
    let limit = RateLimitLayer::per_connection(EACH).reply_with(|| Message::text("slow down"));
    let server = echoing(limit);
    let mut peer = server.connect().await;
    peer.send(frame(0x81, "{}").repeat(100)).await;
    for n in 0..100 {
        assert_eq!(peer.message().await, if n < 40 { "{}" } else { "slow down" }, "{n}");
    }
    // Refused messages cost nothing: after the time of one, one is let through.
    advance(Duration::from_millis(50)).await;
    peer.send(frame(0x81, "{}").repeat(2)).await;
    assert_eq!(peer.message().await, "{}");
    assert_eq!(peer.message().await, "slow down");
    let refusals = server.audit.refusals();
    // One record a second, whatever the number.
    assert_eq!(refusals.len(), 1);
}

// covers: MS-19
#[tokio::test(start_paused = true)]
async fn by_choice_the_excess_waits() {
    let _clock = FrozenClock::new();
    let server = echoing(RateLimitLayer::per_connection(EACH).wait());
    let mut peer = server.connect().await;
    peer.send(frame(0x81, "{}").repeat(140)).await;
    for _ in 0..40 {
        assert_eq!(peer.message().await, "{}");
    }
    // A message over the quota waits, and nothing behind it is read.
    for _ in 40..140 {
        advance(Duration::from_millis(48)).await;
        assert!(peer.nothing_comes().await);
        advance(Duration::from_millis(2)).await;
        assert_eq!(peer.message().await, "{}");
    }
}

#[tokio::test(start_paused = true)]
async fn under_a_quota_of_zero_the_first_message_is_over_it() {
    let _clock = FrozenClock::new();
    for quota in [Quota::per_second(0), Quota::per_second(20).burst(0)] {
        let server = echoing(RateLimitLayer::per_connection(quota));
        let mut peer = server.connect().await;
        peer.text("{}").await;
        assert_rate_limited(&mut peer).await;
        let refusals = server.audit.refusals();
        assert_eq!((refusals[0].rule, refusals[0].limit), ("message.rate", Some(0)));
    }
}

// covers: MS-21
#[tokio::test(start_paused = true)]
async fn addresses_of_one_subscriber_share_a_bucket() {
    let _clock = FrozenClock::new();
    let quota = Quota::per_minute(1).burst(2);
    let layer = WebSocketEndpoint::new(
        RateLimitLayer::per_address(quota).reply_with(|| Message::text("slow down")),
        service_fn(echo),
    );
    let server = Server::start(layer.allow_anonymous().connection(quiet()).unwrap());
    let cases = [
        ("[2001:db8:0:1::1]:1", "{}"),
        ("[2001:db8:0:1::2]:2", "{}"),
        ("[2001:db8:0:1:ffff:ffff:ffff:ffff]:3", "slow down"),
        // Another of the 256 networks that it has.
        ("[2001:db8:0:2::1]:1", "slow down"),
        ("[2001:db8:0:100::1]:1", "{}"),
        ("192.0.2.1:1", "{}"),
        // The same address, written as IPv6.
        ("[::ffff:192.0.2.1]:2", "{}"),
        ("192.0.2.1:3", "slow down"),
        ("192.0.2.2:1", "{}"),
    ];
    for (from, expected) in cases {
        let handshake = test_support::http::handshake_with("X-Test-From", &[from]);
        let mut peer = server.connect_with(&handshake).await;
        peer.text("{}").await;
        assert_eq!(peer.message().await, expected, "{from}");
    }
}

// covers: MS-23
#[tokio::test(start_paused = true)]
async fn a_user_has_one_budget_on_fifty_connections() {
    let _clock = FrozenClock::new();
    let messages = ServiceBuilder::new()
        .layer(RateLimitLayer::per_connection(EACH))
        .layer(RequireAuthLayer::new(Tokens))
        .layer(RateLimitLayer::per_user(Quota::per_second(40).burst(80)))
        .layer(DecodeLayer::<ClientMessage>::json())
        .layer(RoomsLayer::new(Rooms::new(), OpenRooms));
    let layer =
        WebSocketEndpoint::new(messages, service_fn(service::handle)).connection(quiet()).unwrap();
    let server = Server::start(layer);
    let mut peers = Vec::new();
    for _ in 0..50 {
        peers.push(server.user("ada").await);
    }
    let (mut answered, mut limited) = (0, 0);
    // Each far below its own limit.
    for peer in &mut peers {
        peer.send(frame(0x81, r#"{"type":"ping"}"#).repeat(10)).await;
        let mut code = None;
        for _ in 0..10 {
            match peer.frame().await {
                Frame::Data(_) => answered += 1,
                Frame::Close(with, _) => {
                    code = with;
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        limited += usize::from(code == Some(1008));
    }
    assert_eq!((answered, limited), (80, 42));
    // Somebody else is served.
    let mut other = server.user("grace").await;
    other.text(r#"{"type":"ping"}"#).await;
    assert!(other.message().await.contains("pong"));
}
