//! What it costs to be found by user and by session, and to be known from the handshake on.
#![cfg(test)]

use std::num::NonZeroUsize;

use peak_alloc::PeakAlloc;
use test_support::turns::alone;
use tower::service_fn;
use tower_websocket::{
    Admission, AuthFailure, Authenticated, Connections, HandlerResult, HandshakeIdentity, Inbound,
    Message, Quota, Reply, RequireAuthLayer, Session, WebSocketEndpoint,
    testing::{TestConnection, TestPeer, TestServer},
};

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

#[test]
fn a_connection_costs_no_more_than_160_bytes_to_be_found() {
    alone(async {
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
    });
}

/// A connection of a user, who has said and heard something.
async fn user(server: &TestServer, nth: usize, by_handshake: bool) -> TestPeer {
    let name = format!("user-{nth:08}");
    let mut peer = if by_handshake {
        let session = Session::new(name.clone()).session_id(&name);
        let identity = HandshakeIdentity::new(session);
        server.handshake("/").extension(identity).connect().await
    } else {
        let peer = server.connect("/").await;
        peer.send(name.as_str());
        peer
    };
    // As often whoever it is: the peer's end keeps what it heard.
    peer.assert_reply("hi", "hi").await;
    peer
}

/// What each idle connection takes, with the peer's end, which is in this process too.
async fn idle(endpoint: WebSocketEndpoint, by_handshake: bool) -> usize {
    const PEERS: usize = 600;
    let all = NonZeroUsize::new(2 * PEERS).unwrap();
    let admission = Admission::new().max_connections(all).max_connections_per_peer(all);
    let server = TestServer::endpoint(
        endpoint.admission(admission.handshakes(Quota::per_second(1_000_000))),
    );
    let mut peers = Vec::with_capacity(2 * PEERS);
    // What is there once only, and what tables have left over.
    for nth in 0..PEERS / 2 {
        peers.push(user(&server, nth, by_handshake).await);
    }
    let before = ALLOCATOR.current_usage();
    for nth in 0..PEERS {
        peers.push(user(&server, PEERS + nth, by_handshake).await);
    }
    (ALLOCATOR.current_usage() - before) / PEERS
}

#[test]
fn an_idle_connection_takes_no_more_than_160_bytes_more_with_registry_and_identity() {
    alone(async {
        let echo = async |said: Inbound<Message, Authenticated<String>>| -> HandlerResult {
            Ok(Reply::one(said.message))
        };
        let login = RequireAuthLayer::from_fn(async |credentials, _| {
            let name = credentials.as_text().ok_or(AuthFailure::Required)?;
            Ok(Session::new(name.to_owned()))
        });
        let without = idle(WebSocketEndpoint::new(login, service_fn(echo)), false).await;
        let known = WebSocketEndpoint::new(RequireAuthLayer::handshake(), service_fn(echo));
        let known = known.handshake_identity::<String>().unwrap().connections(Connections::new());
        let with = idle(known, true).await;
        println!("an idle connection: {without} bytes, with registry and identity {with}");
        assert!(with <= without + 160, "{without} {with}");
    });
}
