//! What it costs to be found by user and by session.
#![cfg(test)]

use peak_alloc::PeakAlloc;
use tower_websocket::{Connections, Session, testing::TestConnection};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MANY: usize = 10_000;

/// What it takes to have so many connections, each of a user and a session of its own.
fn held(connections: Option<&Connections>) -> (usize, Vec<TestConnection>) {
    let before = ALLOCATOR.current_usage();
    let peers: Vec<_> = (0..MANY)
        .map(|nth| {
            let peer = TestConnection::new();
            if let Some(connections) = connections {
                peer.enter(connections);
            }
            let session = Session::new(format!("user-{nth:08}")).session_id(nth.to_string());
            drop(peer.logged_in(session).unwrap());
            peer
        })
        .collect();
    (ALLOCATOR.current_usage() - before, peers)
}

#[tokio::test]
async fn a_connection_costs_no_more_than_160_bytes_to_be_found() {
    let (without, peers) = held(None);
    drop(peers);
    let connections = Connections::new();
    let empty = ALLOCATOR.current_usage();
    let (with, peers) = held(Some(&connections));
    let each = (with - without) / MANY;
    // And as much again in the connection itself, whether there is a registry or not.
    assert!((24..=120).contains(&each), "{each}");
    drop(peers);
    assert!(connections.is_empty());
    let left = ALLOCATOR.current_usage().saturating_sub(empty);
    // An empty tree keeps its root.
    assert!(left < 16 * 1024, "{left} bytes are left");
}
