//! What pings cost, whose answers nobody reads.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tower::service_fn;
use tower_layer::Identity;
use tower_websocket::{
    Anonymous, Close, ConnectionConfig, Inbound, Message, Quota, Reply, WebSocketEndpoint,
};

use test_support::metered::Meter;
use test_support::slow::{FrozenClock, Server, frame, quiet};

/// An endpoint that says nothing by itself.
fn silent(config: ConnectionConfig) -> WebSocketEndpoint {
    let handler =
        service_fn(async |_: Inbound<Message, Anonymous>| Ok::<_, Close>(Reply::<Message>::none()));
    WebSocketEndpoint::new(Identity::new(), handler).allow_anonymous().connection(config).unwrap()
}

// covers: FR-03
#[tokio::test(start_paused = true)]
async fn a_ping_flood_is_over_at_the_control_budget() {
    let clock = FrozenClock::new();
    let server = Server::start(silent(quiet()));
    let mut peer = server.connect().await;
    let sent = peer.flood(&frame(0x89, [b'p'; 125]).repeat(100), 6_000).await;
    assert!(sent > 0);
    drop(clock);
    let closed = &server.audit.closed(1).await[0];
    assert_eq!((closed.rule, closed.intended_code), ("frame.control", Some(1008)));
    assert_eq!(closed.messages_out, 0);
    // One hundred pongs, and the close frame.
    assert!(closed.bytes_out < 101 * 127 + 64, "{closed:?}");
    assert_eq!(server.audit.refusals().len(), 1);
}

// covers: FR-03
#[tokio::test(start_paused = true)]
async fn pongs_that_nobody_reads_stop_the_reading() {
    let clock = FrozenClock::new();
    let layer = silent(quiet().control_frames(Quota::per_second(1_000_000_000)));
    let meter = Meter::new();
    let server = Server::start_on(layer, {
        let meter = Arc::clone(&meter);
        move |stream| Arc::clone(&meter).on(stream)
    });
    let mut peer = server.connect().await;
    let ping = frame(0x89, [b'p'; 125]);
    let sent = peer.flood(&ping.repeat(100), 6_000).await;
    assert!(sent < 78_000_000, "{sent}");
    // The pongs of what was read fill the kernel's buffers and less than 144 KiB of ours.
    let pongs = meter.bytes_read.load(Ordering::Relaxed) / ping.len() * 127;
    let written = meter.bytes_written.load(Ordering::Relaxed);
    assert!(pongs.saturating_sub(written) < 144 * 1024, "{meter:?}");
    drop(clock);
    let closed = &server.audit.closed(1).await[0];
    assert_eq!((closed.rule, closed.intended_code), ("write.timeout", Some(1013)));
    assert_eq!(closed.longest_stall, Duration::from_secs(20));
}
