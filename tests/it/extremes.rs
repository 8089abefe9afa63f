//! No configuration makes an endpoint that panics, spins, or believes what a header announces.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use tokio::time::timeout;
use tower::service_fn;
use tower_layer::Identity;
use tower_websocket::{
    Anonymous, Close, ConnectionConfig, Inbound, Message, Quota, Reply, WebSocketEndpoint,
};

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

/// A short life of a connection with `config` ends, and not for a fault of the server's; or an endpoint
/// refuses to be made of it, and says what is wrong with which setting.
async fn assert_works_or_is_refused(name: &str, config: ConnectionConfig) {
    let nothing =
        service_fn(async |_: Inbound<Message, Anonymous>| Ok::<_, Close>(Reply::<Message>::none()));
    if let Err(error) = WebSocketEndpoint::new(Identity::new(), nothing).connection(config.clone())
    {
        assert!(error.to_string().starts_with(&format!("{name} is ")), "{name}: {error}");
        return;
    }
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
    let fault = ["handler.failed", "auth.error"].contains(&closed.rule);
    assert!(!fault, "{name}: {closed:?}");
    assert!(closed.bytes_out < 64 * 1024, "{name}: {closed:?}");
}

// covers: P2-19, DL-21
#[tokio::test(start_paused = true)]
async fn no_limit_that_is_accepted_is_so_small_or_large_that_a_connection_breaks() {
    let milli = Duration::from_millis(1);
    for (name, set) in TIMES {
        for time in [Duration::ZERO, Duration::from_nanos(1), milli, Duration::MAX] {
            assert_works_or_is_refused(name, set(ConnectionConfig::new(), time)).await;
        }
    }
    for (name, set) in SIZES {
        for size in [NonZeroUsize::MIN, NonZeroUsize::MAX] {
            assert_works_or_is_refused(name, set(quiet(), size)).await;
        }
    }
    for number in [NonZeroU32::MIN, NonZeroU32::MAX] {
        assert_works_or_is_refused("max_fragments", quiet().max_fragments(number)).await;
        assert_works_or_is_refused(
            "control_frames",
            quiet().control_frames(Quota::per_second(number.get())),
        )
        .await;
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
