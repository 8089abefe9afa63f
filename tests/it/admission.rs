//! How many connections there may be, on a real socket.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
};

use axum::{
    extract::{ConnectInfo, Request},
    middleware,
};
use tower_websocket::{Admission, PeerAddr};

use super::support_http::{HttpServer, RawClient, handshake, handshake_with};

const TEN: NonZeroUsize = NonZeroUsize::new(10).unwrap();
const THREE: NonZeroUsize = NonZeroUsize::new(3).unwrap();

async fn server(admission: Admission) -> HttpServer {
    HttpServer::start_with(|it| it.admission(admission)).await
}

async fn open(server: &HttpServer, count: usize) -> Vec<RawClient> {
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
async fn open_eventually(server: &HttpServer) -> RawClient {
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
    async fn tell_peer(
        ConnectInfo(addr): ConnectInfo<SocketAddr>,
        mut request: Request,
    ) -> Request {
        request.extensions_mut().insert(PeerAddr(addr));
        request
    }
    let server = HttpServer::start_axum(|layer| {
        let admission = Admission::new().max_connections_per_peer(NonZeroUsize::MIN);
        axum::Router::new()
            .layer(layer.path("/ws").admission(admission))
            .layer(middleware::map_request(tell_peer))
    })
    .await;
    let _clients = open(&server, 1).await;
    assert_eq!(server.send(handshake()).await.0.status, 429);
}

// covers: HS-21
#[tokio::test]
async fn handshakes_come_no_faster_than_allowed() {
    // One in a long while: what the test itself takes does not count.
    let burst = NonZeroU32::new(2).unwrap();
    let server =
        server(Admission::new().handshakes_per_second(NonZeroU32::MIN).handshake_burst(burst))
            .await;
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
