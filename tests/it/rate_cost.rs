//! What a message costs, and when it is paid.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    Anonymous, Close, DecodeLayer, Inbound, Json, Message, Quota, RateLimitLayer, Reply,
    WebSocketEndpoint,
    layers::{Decode, DecodeError, Encode, EncodeError},
};

use test_support::slow::{FrozenClock, Server, frame, quiet};

use super::rate_limit::{EACH, assert_rate_limited, echo};

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
