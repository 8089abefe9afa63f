//! How much a peer may send, and who is counted together.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::{Instant, advance};
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    Anonymous, Close, DecodeLayer, Inbound, Json, Message, OpenRooms, Quota, RateLimitLayer, Reply,
    RequireAuthLayer, Rooms, RoomsLayer, WebSocketEndpoint,
    layers::{Decode, DecodeError, Encode, EncodeError, OnExcess},
    room::RoomsConfig,
    service::{self, ClientMessage},
};

use test_support::slow::{Frame, FrozenClock, Peer, Server, Tokens, frame, quiet, say};

/// 20 each second, and 40 at once: the default of the reference server.
const EACH: Quota = Quota::per_second(20).burst(40);

async fn echo(inbound: Inbound<Message, Anonymous>) -> Result<Reply<Message>, Close> {
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

async fn assert_rate_limited(peer: &mut Peer) {
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

/// Counts what it is asked to read, all of which is invalid.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Decode<()> for Counting {
    fn decode(&self, message: &Message) -> Result<(), DecodeError> {
        self.0.fetch_add(1, Relaxed);
        let _: serde::de::IgnoredAny = Json::default().decode(message)?;
        Ok(())
    }
}

impl Encode<String> for Counting {
    fn encode(&self, value: &String) -> Result<Message, EncodeError> {
        Ok(Message::text(value.as_str()))
    }
}

// covers: MS-20
#[tokio::test(start_paused = true)]
async fn malformed_messages_are_charged_before_anything_reads_them() {
    let _clock = FrozenClock::new();
    let malformed = frame(0x81, [b'x'; 64 * 1024]);
    let forever = NonZeroU32::MAX;
    for by_bytes in [false, true] {
        let codec = Counting::default();
        let decode = DecodeLayer::<(), _>::new(codec.clone())
            .anonymous()
            .reply_invalid(|_| "invalid".to_owned(), forever);
        let handler = service_fn(async |_: Inbound<(), Anonymous>| Ok::<_, Close>(Reply::none()));
        let slow_down = || Message::text("slow down");
        let layer = if by_bytes {
            let quota = Quota::per_second(1).burst(4 * 64 * 1024);
            let limit = RateLimitLayer::per_connection(quota).cost_bytes().reply_with(slow_down);
            WebSocketEndpoint::new(ServiceBuilder::new().layer(limit).layer(decode), handler)
        } else {
            let limit = RateLimitLayer::per_connection(EACH).reply_with(slow_down);
            WebSocketEndpoint::new(ServiceBuilder::new().layer(limit).layer(decode), handler)
        };
        let server = Server::start(layer.allow_anonymous().connection(quiet()).unwrap());
        let mut peer = server.connect().await;
        let read = if by_bytes { 4 } else { 40 };
        for n in 0..1_000 {
            peer.send(&malformed).await;
            let expected = if n < read { "invalid" } else { "slow down" };
            assert_eq!(peer.message().await, expected, "{n}");
        }
        assert_eq!(codec.0.load(Relaxed), read);
    }
}

// covers: MS-21
#[tokio::test(start_paused = true)]
async fn a_message_that_costs_more_than_the_burst_is_refused_also_by_waiting() {
    let _clock = FrozenClock::new();
    let quota = Quota::per_second(32 * 1024);
    let bytes = || RateLimitLayer::per_connection(quota).cost_bytes();
    let closing = WebSocketEndpoint::new(bytes(), service_fn(echo));
    let waiting = WebSocketEndpoint::new(bytes().wait(), service_fn(echo));
    for layer in [closing, waiting] {
        let server = Server::start(layer.allow_anonymous().connection(quiet()).unwrap());
        let mut peer = server.connect().await;
        peer.send(frame(0x81, [b'x'; 64 * 1024])).await;
        assert_rate_limited(&mut peer).await;
    }
}

// covers: MS-19
#[tokio::test(start_paused = true)]
async fn messages_without_a_byte_have_a_price_by_the_byte_too() {
    let _clock = FrozenClock::new();
    let quota = Quota::per_second(10);
    let bytes = RateLimitLayer::per_connection(quota).cost_bytes();
    let layer = WebSocketEndpoint::new(bytes, service_fn(echo)).allow_anonymous();
    let server = Server::start(layer.connection(quiet()).unwrap());
    let mut peer = server.connect().await;
    for _ in 0..10 {
        peer.text("").await;
        assert_eq!(peer.message().await, "");
    }
    peer.text("").await;
    assert_rate_limited(&mut peer).await;
}

#[tokio::test(start_paused = true)]
async fn what_costs_nothing_passes_also_over_the_quota() {
    let _clock = FrozenClock::new();
    let paid = |message: &Message| u32::from(message.as_text() != Some("free"));
    let limit = || RateLimitLayer::per_connection(Quota::per_minute(1)).cost(paid);
    let closing = WebSocketEndpoint::new(limit(), service_fn(echo));
    let waiting = WebSocketEndpoint::new(limit().wait(), service_fn(echo));
    let nothing = RateLimitLayer::per_connection(Quota::per_minute(0)).cost(paid);
    let nothing = WebSocketEndpoint::new(nothing, service_fn(echo));
    for (layer, passes) in [(closing, 1), (waiting, 1), (nothing, 0)] {
        let server = Server::start(layer.allow_anonymous().connection(quiet()).unwrap());
        let mut peer = server.connect().await;
        for _ in 0..passes {
            peer.text("paid").await;
            assert_eq!(peer.message().await, "paid");
        }
        for _ in 0..100 {
            peer.text("free").await;
            assert_eq!(peer.message().await, "free");
        }
        assert!(server.audit.refusals().is_empty());
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

fn publishing(quota: Quota) -> Server {
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(Tokens))
        .layer(DecodeLayer::<ClientMessage>::json())
        .layer(RoomsLayer::new(Rooms::with(RoomsConfig::new().publish_quota(quota)), OpenRooms));
    Server::start(
        WebSocketEndpoint::new(messages, service_fn(service::handle)).connection(quiet()).unwrap(),
    )
}

// covers: RM-16
#[tokio::test(start_paused = true)]
async fn a_message_is_charged_for_every_member_that_gets_it() {
    let _clock = FrozenClock::new();
    // Fifty KiB to a member: five messages to a room of ten.
    let server = publishing(Quota::per_second(1).burst(50));
    let mut members = Vec::new();
    for n in 0..9 {
        members.push(server.member(&format!("m{n}"), "crowd").await);
    }
    let mut sender = server.member("sender", "crowd").await;
    for _ in 0..5 {
        sender.text(&say("crowd", "hello")).await;
        assert!(sender.message().await.contains("hello"));
    }
    sender.text(&say("crowd", "too much")).await;
    assert_rate_limited(&mut sender).await;
    let refusals = server.audit.refusals();
    let refusal = &refusals[0];
    assert_eq!((refusals.len(), refusal.layer, refusal.rule), (1, "rooms", "room.publish_rate"));
    assert_eq!((refusal.observed, refusal.limit), (Some(10), Some(50)));
    for member in &mut members {
        for _ in 0..5 {
            assert!(member.message().await.contains("hello"));
        }
    }
    // The user's other connection shares the quota; another user has one of its own.
    let mut again = server.member("sender", "crowd").await;
    again.text(&say("crowd", "too much")).await;
    assert_rate_limited(&mut again).await;
    members[0].text(&say("crowd", "fine")).await;
    for member in &mut members {
        assert!(member.message().await.contains("fine"));
    }
}

// covers: RM-16
#[tokio::test(start_paused = true)]
async fn a_message_is_charged_for_each_kib_begun() {
    let _clock = FrozenClock::new();
    let server = publishing(Quota::per_second(1).burst(10));
    let mut sender = server.member("sender", "r").await;
    // Two KiB as JSON, to one member.
    for _ in 0..5 {
        sender.text(&say("r", &"x".repeat(1_000))).await;
        sender.message().await;
    }
    sender.text(&say("r", "x")).await;
    assert_rate_limited(&mut sender).await;
    // What alone costs more than the burst is charged the burst, not refused for ever.
    let server = publishing(Quota::per_second(1));
    let mut sender = server.member("sender", "r").await;
    sender.text(&say("r", &"x".repeat(1_000))).await;
    sender.message().await;
    sender.text(&say("r", "x")).await;
    assert_rate_limited(&mut sender).await;
}
