//! How many connections there may be, on a real socket.

use std::{net::SocketAddr, num::NonZeroUsize, sync::Arc};

use axum::extract::ConnectInfo;
use tower::service_fn;
use tower_websocket::{
    Admission, Authenticated, Close, Inbound, Message, Quota, Reply, RequireAuthLayer,
    WebSocketEndpoint,
};

use test_support::{
    http::{HttpServer, handshake, handshake_with},
    slow_peer::Peer,
};

use super::support::{Probe, User, Verifier, auth, quiet};

const TEN: NonZeroUsize = NonZeroUsize::new(10).unwrap();
const FOUR: NonZeroUsize = NonZeroUsize::new(4).unwrap();
const THREE: NonZeroUsize = NonZeroUsize::new(3).unwrap();

async fn server(admission: Admission) -> HttpServer {
    HttpServer::start_with(|it| it.admission(admission)).await
}

async fn open(server: &HttpServer, count: usize) -> Vec<Peer> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let (head, mut client) = server.send(handshake()).await;
        assert_eq!(head.status, 101);
        client.assert_echo().await;
        clients.push(client);
    }
    clients
}

/// Tries until a handshake is accepted: the room of a connection is free when its task ends, which
/// its peer cannot see.
async fn open_eventually(server: &HttpServer) -> Peer {
    for _ in 0..200 {
        let (head, client) = server.send(handshake()).await;
        if head.status == 101 {
            return client;
        }
    }
    panic!("no room was given back");
}

// covers: HS-21, HS-22
#[tokio::test]
async fn room_is_taken_for_as_long_as_the_connection_lives() {
    let server = server(Admission::new().max_connections(TEN)).await;
    let mut clients = open(&server, 10).await;
    for _ in 0..90 {
        let (head, mut client) = server.send(handshake()).await;
        assert_eq!(head.status, 503);
        assert_eq!(head.header("connection"), Some("close"));
        let after: u64 = head.header("retry-after").unwrap().parse().unwrap();
        assert!((5..=30).contains(&after));
        assert_eq!(client.until_eof().await, b"no room\n");
    }
    assert_eq!(server.audit.connected(), 10);
    assert_eq!(server.audit.refused(), ["admission.connections"; 90]);
    // Those inside notice nothing.
    for client in &mut clients {
        client.assert_echo().await;
    }
}

// covers: HS-21
// holds: I8
#[tokio::test]
async fn room_is_given_back_however_a_connection_ends() {
    let server = server(Admission::new().max_connections(THREE)).await;
    let mut clients = open(&server, 3).await;
    // Close 1000; a frame that is not masked; nothing but the end of the stream.
    clients[0].send(b"\x88\x82\0\0\0\0\x03\xe8").await;
    clients[1].send(b"\x81\x02{}").await;
    drop(clients.pop());
    // A peer that broke the protocol is heard out until it hangs up; the other two are done with.
    clients.pop().unwrap().until_eof().await;
    let mut fresh = Vec::new();
    for _ in 0..3 {
        fresh.push(open_eventually(&server).await);
    }
    let (head, _) = server.send(handshake()).await;
    assert_eq!(head.status, 503);
}

// covers: HS-21
#[tokio::test]
async fn one_address_cannot_take_more_than_its_share() {
    let server = server(Admission::new().max_connections_per_peer(THREE)).await;
    let _clients = open(&server, 3).await;
    for forged in ["192.0.2.1", "192.0.2.2"] {
        // Who the peer is, is not the peer's to say.
        let (head, _) = server.send(handshake_with("X-Forwarded-For", &[forged])).await;
        assert_eq!(head.status, 429);
        assert!(head.header("retry-after").is_some());
    }
    assert_eq!(server.audit.refused(), ["admission.peer"; 2]);
}

// covers: HS-21
#[tokio::test]
async fn an_axum_application_tells_whose_connection_it_is() {
    let server = HttpServer::start_axum(|endpoint| {
        let endpoint = endpoint
            .admission(Admission::new().max_connections_per_peer(NonZeroUsize::MIN))
            .peer_from(|it| it.get::<ConnectInfo<SocketAddr>>().map(|it| it.0));
        axum::Router::new().route_service("/ws", endpoint.into_service())
    })
    .await;
    let _clients = open(&server, 1).await;
    assert_eq!(server.send(handshake()).await.0.status, 429);
}

// covers: HS-21
#[tokio::test]
async fn handshakes_come_no_faster_than_allowed() {
    // One in a long while: what the test itself takes does not count.
    let server = server(Admission::new().handshakes(Quota::per_second(1).burst(2))).await;
    // Refused handshakes are not counted: they cost nothing that is worth counting.
    for _ in 0..10 {
        let (head, _) = server.send(handshake_with("Origin", &["null"])).await;
        assert_eq!(head.status, 403);
    }
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(server.send(handshake()).await.0.status);
    }
    assert_eq!(statuses[..2], [101, 101]);
    assert!(statuses.contains(&429), "{statuses:?}");
    assert!(server.audit.refused().contains(&"admission.rate"));
}

// covers: HS-32
#[tokio::test]
async fn a_refused_login_makes_room_for_the_next_though_its_socket_is_still_heard_out() {
    let server = HttpServer::start_endpoint(|| {
        let messages = RequireAuthLayer::new(Verifier(Arc::new(Probe::default())));
        let handler = service_fn(async |_: Inbound<Message, Authenticated<User>>| {
            Ok::<_, Close>(Reply::none())
        });
        let admission =
            Admission::new().max_unauthenticated(NonZeroUsize::MIN).max_connections(FOUR);
        WebSocketEndpoint::new(messages, handler).admission(admission).connection(quiet()).unwrap()
    })
    .await;
    let mut lingering = Vec::new();
    for _ in 0..3 {
        let (head, mut client) = server.send(handshake()).await;
        assert_eq!(head.status, 101);
        assert_eq!(server.send(handshake()).await.0.status, 503);
        client.send(auth("bad:eve")).await;
        // The verdict has been spoken; the socket is open until the peer hangs up.
        assert_eq!(client.take(4).await[2..], 4403_u16.to_be_bytes());
        lingering.push(client);
    }
    // They still count among all.
    let _waiting = server.send(handshake()).await;
    assert_eq!(server.send(handshake()).await.0.status, 503);
    let refused = server.audit.refused();
    assert_eq!(refused[..3], ["admission.unauthenticated"; 3]);
    assert_eq!(refused[3..], ["admission.connections"]);
}

// covers: HS-30
#[tokio::test]
async fn an_address_that_opens_and_hangs_up_is_refused_until_it_slows_down() {
    let quota = Quota::per_minute(1).burst(3);
    let server = server(Admission::new().handshakes_per_peer(quota)).await;
    let mut statuses = Vec::new();
    for _ in 0..6 {
        let (head, client) = server.send(handshake()).await;
        assert!(head.status == 101 || head.header("retry-after").is_some());
        statuses.push(head.status);
        drop(client);
    }
    assert_eq!(statuses, [101, 101, 101, 429, 429, 429]);
    assert_eq!(server.audit.refused(), ["admission.peer_rate"; 3]);
}
