//! What the operating system holds for a connection goes with it. A binary of its own: descriptors
//! are counted for the process.
#![cfg(target_os = "linux")] // where they can be counted
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "the lints know test functions, not their helpers"
)]

use std::fs;

use tower_websocket::Rooms;

use test_support::{
    http::handshake_with,
    slow::{Server, chat, frame, quiet},
};

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A descriptor is closed when the task that has it is dropped, which comes after all that a peer or
/// the audit log can see.
async fn assert_open(expected: usize, name: &str) {
    for _ in 0..10_000 {
        if open_descriptors() == expected {
            return;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(open_descriptors(), expected, "{name}");
}

// covers: DL-04, P2-18
// holds: I8
#[tokio::test(start_paused = true)]
async fn however_a_connection_ends_its_descriptor_is_closed() {
    const EACH: usize = 50;
    let rooms = Rooms::new();
    let server = Server::start(chat(&rooms).connection(quiet()).unwrap());
    drop(server.member("first", "r").await);
    server.audit.closed(1).await;
    let mut ended = 1;
    tokio::task::yield_now().await;
    let before = open_descriptors();

    let ways = [
        ("close", frame(0x88, [3, 232])),
        ("a protocol error", vec![0x81, 2, b'{', b'}']),
        ("too large", frame(0x82, vec![0; 65_537])),
        ("a message that is none", frame(0x81, "{}")),
        ("a frame without an end", vec![0x81, 0xfe]),
    ];
    for (name, last) in ways {
        // The peers' own sockets stay open, and say nothing more.
        let mut peers = Vec::new();
        for _ in 0..EACH {
            let mut peer = server.member("ada", "r").await;
            peer.send(&last).await;
            peers.push(peer);
        }
        ended += EACH;
        server.audit.closed(ended).await;
        assert_open(before + EACH, name).await;
        assert!(rooms.is_empty(), "{name}");
        drop(peers);
        assert_open(before, name).await;
    }

    let mut silent = Vec::new();
    for _ in 0..EACH {
        silent.push(server.connect().await);
    }
    ended += EACH;
    server.audit.closed(ended).await;
    assert_open(before + EACH, "no credentials").await;
    drop(silent);

    for _ in 0..EACH {
        drop(server.member("ada", "r").await);
    }
    ended += EACH;
    server.audit.closed(ended).await;
    assert_open(before, "lost").await;

    let mut refused = Vec::new();
    for _ in 0..EACH {
        let mut peer = server.connect_raw().await;
        peer.send(handshake_with("Origin", &["https://evil.example"])).await;
        assert_eq!(peer.head().await.status, 403);
        refused.push(peer);
    }
    assert_open(before + EACH, "refused").await;
    assert_eq!(server.audit.closed(ended).await.len(), ended);
}
