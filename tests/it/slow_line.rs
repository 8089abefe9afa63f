//! A peer on a slow line, with the buffers that a kernel has by itself: it is not dead, and it hears why
//! it is closed.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::timeout;
use tower::service_fn;
use tower_layer::Identity;
use tower_websocket::{
    Anonymous, Close, Connection, ConnectionConfig, Inbound, Message, Reply, WebSocketEndpoint,
};

use test_support::slow::{Frame, Peer, Server, frame, nonzero, quiet};

/// A member of an endpoint that answers nothing, and the handle of its connection.
async fn member(config: ConnectionConfig) -> (Server, Peer, Connection) {
    let opened = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&opened);
    let silent = async |_: Inbound<Message, Anonymous>| Ok::<_, Close>(Reply::none());
    let layer = WebSocketEndpoint::new(Identity::new(), service_fn(silent))
        .allow_anonymous()
        .on_connect(move |connection| *keep.lock().unwrap() = Some(connection.clone()))
        .connection(config)
        .unwrap();
    let server = Server::start_roomy(layer);
    let peer = server.connect().await;
    let connection = opened.lock().unwrap().take().unwrap();
    (server, peer, connection)
}

/// Reads on, and answers pings, until so many messages have come; says how many pings there were.
async fn read(peer: &mut Peer, messages: usize) -> Result<usize, (usize, Frame)> {
    let (mut read, mut pings) = (0, 0);
    while read < messages {
        match peer.frame().await {
            Frame::Data(_) => read += 1,
            Frame::Ping(payload) => {
                pings += 1;
                peer.send(frame(0x8a, &payload)).await;
            }
            end => return Err((read, end)),
        }
    }
    Ok(pings)
}

/// The reason of the close frame that comes, whatever comes before it.
async fn close(peer: &mut Peer) -> (Option<u16>, String) {
    loop {
        match peer.frame().await {
            Frame::Close(code, reason) => return (code, reason),
            Frame::End => return (None, "none".to_owned()),
            _ => {}
        }
    }
}

// covers: DL-24
#[tokio::test]
async fn a_peer_that_reads_a_burst_more_slowly_than_a_pong_may_take_lives() {
    // Of the burst the kernel would take all: three seconds before the first ping behind it.
    let config = ConnectionConfig::new()
        .ping_interval(Duration::from_millis(200))
        .pong_timeout(Duration::from_secs(1))
        .write_timeout(Duration::from_secs(1));
    let (_server, mut peer, connection) = member(config).await;
    peer.read_slowly(300_000);
    for _ in 0..300 {
        connection.push(Message::binary(vec![b'a'; 3000])).unwrap();
    }
    let pings = read(&mut peer, 300).await.unwrap();
    assert!(pings > 0);
    // And it goes on living: the last pings stand behind the end of the burst.
    assert!(timeout(Duration::from_secs(2), read(&mut peer, 1)).await.is_err());
}

// covers: DL-24
#[tokio::test]
async fn a_line_that_is_slower_than_what_the_kernel_holds_unsent_is_alive_all_the_same() {
    // The kernel holds more than a second of it: nothing more is taken meanwhile but the ping.
    let config = ConnectionConfig::new()
        .ping_interval(Duration::from_millis(300))
        .pong_timeout(Duration::from_millis(1200))
        .write_timeout(Duration::from_millis(1200));
    let (_server, mut peer, connection) = member(config).await;
    peer.read_slowly(60_000);
    connection.push(Message::binary(vec![b'a'; 60_000])).unwrap();
    connection.push(Message::binary(vec![b'a'; 30_000])).unwrap();
    read(&mut peer, 2).await.unwrap();
    assert!(timeout(Duration::from_secs(2), read(&mut peer, 1)).await.is_err());
}

// covers: DL-15, DL-24
#[tokio::test]
async fn a_peer_that_reads_nothing_of_a_burst_is_found_out() {
    for burst in [0, 10, 300] {
        let config = ConnectionConfig::new()
            .ping_interval(Duration::from_millis(200))
            .pong_timeout(Duration::from_millis(500))
            .write_timeout(Duration::from_millis(500))
            .close_timeout(Duration::from_millis(100));
        let (server, _peer, connection) = member(config).await;
        for _ in 0..burst {
            connection.push(Message::binary(vec![b'a'; 3000])).unwrap();
        }
        let closed = server.audit.closed(1).await;
        assert!(["heartbeat", "write.timeout"].contains(&closed[0].rule), "{closed:?}");
    }
}

// covers: DL-25
#[tokio::test]
async fn a_slow_consumer_that_reads_hears_that_it_is_one() {
    let config = quiet().close_timeout(Duration::from_secs(1)).max_outbound_bytes(nonzero(300_000));
    let (server, mut peer, connection) = member(config).await;
    // As much as the kernel would take before it is full is more than it reads in ten seconds.
    peer.read_slowly(300_000);
    while connection.push(Message::binary(vec![b'a'; 10_000])).is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(close(&mut peer).await, (Some(1013), "slow consumer".to_owned()));
    let closed = server.audit.closed(1).await;
    assert!(closed[0].flushed);
}

// covers: DL-25
#[tokio::test]
async fn a_close_frame_waits_for_a_line_that_needs_more_than_the_close_timeout() {
    let config = quiet().close_timeout(Duration::from_secs(1)).max_outbound_bytes(nonzero(300_000));
    let (_server, mut peer, connection) = member(config).await;
    // What stands before the close frame is more than a second of this line.
    peer.read_slowly(60_000);
    while connection.push(Message::binary(vec![b'a'; 10_000])).is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(close(&mut peer).await, (Some(1013), "slow consumer".to_owned()));
}

// covers: DL-04, DL-25
#[tokio::test]
async fn a_slow_consumer_that_reads_nothing_is_let_go() {
    let config =
        quiet().close_timeout(Duration::from_millis(300)).max_outbound_bytes(nonzero(300_000));
    let (server, _peer, connection) = member(config).await;
    while connection.push(Message::binary(vec![b'a'; 10_000])).is_ok() {
        tokio::task::yield_now().await;
    }
    let closed = server.audit.closed(1).await;
    assert_eq!((closed[0].rule, closed[0].flushed), ("slow_consumer", false));
}
