//! No configuration makes an endpoint that panics, spins, or believes what a header announces.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use tokio::time::timeout;
use tower_websocket::ConnectionConfig;

use super::{
    support::{TestServer, auth, join, quiet, say},
    support_client::{close, frame, wire},
};

type Setter<T> = (&'static str, fn(ConnectionConfig, T) -> ConnectionConfig);

const TIMES: [Setter<Duration>; 8] = [
    ("auth_timeout", ConnectionConfig::auth_timeout),
    ("handler_timeout", ConnectionConfig::handler_timeout),
    ("message_timeout", ConnectionConfig::message_timeout),
    ("ping_interval", ConnectionConfig::ping_interval),
    ("pong_timeout", ConnectionConfig::pong_timeout),
    ("idle_timeout", ConnectionConfig::idle_timeout),
    ("write_timeout", ConnectionConfig::write_timeout),
    ("close_timeout", ConnectionConfig::close_timeout),
];

const SIZES: [Setter<NonZeroUsize>; 5] = [
    ("max_message_size", ConnectionConfig::max_message_size),
    ("max_first_message_size", ConnectionConfig::max_first_message_size),
    ("max_outbound_bytes", ConnectionConfig::max_outbound_bytes),
    ("max_outbound_messages", ConnectionConfig::max_outbound_messages),
    ("max_outbound_message_size", ConnectionConfig::max_outbound_message_size),
];

/// A short life of a connection with `config` ends, and not for a fault of the server's.
async fn assert_lives_and_ends(name: &str, config: ConnectionConfig) {
    let server = TestServer::rooms(config).await;
    let mut client = server.connect_narrow(512).await;
    let life = [
        auth("good:ada"),
        join("r1"),
        frame(0x89, "ping"),
        say("r1", &"a".repeat(600)),
        frame(0x01, "half a message"),
    ];
    for piece in life {
        client.flood(&piece, 1).await;
    }
    let heard = async { while client.next().await.is_some() {} };
    if timeout(Duration::from_secs(1), heard).await.is_err() {
        client.flood(&close(1000, b""), 1).await;
    }
    drop(client);
    let closed = server.closed(0).await;
    // What the handler says is too large to be sent, which is a fault of its own.
    let fault = ["handler.failed", "auth.error"].contains(&closed.rule);
    assert!(!fault || name == "max_outbound_message_size", "{name}: {closed:?}");
    assert!(closed.bytes_out < 64 * 1024, "{name}: {closed:?}");
}

// covers: P2-19
// There is nothing that a builder could refuse: what makes no sense is taken for the nearest that does.
#[tokio::test(start_paused = true)]
async fn no_limit_is_so_small_or_large_that_a_connection_breaks() {
    for (name, set) in TIMES {
        for time in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            assert_lives_and_ends(name, set(ConnectionConfig::new(), time)).await;
        }
    }
    for (name, set) in SIZES {
        for size in [NonZeroUsize::MIN, NonZeroUsize::MAX] {
            assert_lives_and_ends(name, set(quiet(), size)).await;
        }
    }
    for number in [NonZeroU32::MIN, NonZeroU32::MAX] {
        assert_lives_and_ends("max_fragments", quiet().max_fragments(number)).await;
        assert_lives_and_ends("control_frames", quiet().control_frames(number, number)).await;
    }
}

// covers: FR-02
#[tokio::test(start_paused = true)]
async fn without_a_limit_to_speak_of_a_header_is_still_not_believed() {
    let most = NonZeroUsize::MAX;
    let config = quiet().max_message_size(most).max_first_message_size(most);
    let server = TestServer::echo(config).await;
    for header in ["82 ff 0000200000000000 K", "82 ff 7fffffffffffffff K"] {
        let mut client = server.connect().await;
        client.send(wire(header)).await;
        assert_eq!(client.assert_closed(1009).await, "message too large", "{header}");
    }
}
