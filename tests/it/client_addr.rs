//! Who the client is, on a real socket behind somebody who says that he is a proxy.

use std::{net::SocketAddr, num::NonZeroUsize, sync::Arc};

use axum::extract::ConnectInfo;
use tower::service_fn;
use tower_websocket::{
    Admission, AuditEvent, Authenticated, Close, Inbound, Message, OriginPolicy, Quota, Reply,
    RequireAuthLayer, TrustedProxies, WebSocketEndpoint,
};

use test_support::{
    http::{HttpServer, handshake, handshake_with},
    slow_peer::Peer,
};

use super::{
    log::Log,
    support::{Probe, User, Verifier, auth},
};

const THREE: NonZeroUsize = NonZeroUsize::new(3).unwrap();

/// A server whose proxies are on this machine.
async fn server(configure: impl FnOnce(WebSocketEndpoint) -> WebSocketEndpoint) -> HttpServer {
    let proxies = TrustedProxies::x_forwarded_for(["127.0.0.0/8"]).unwrap();
    HttpServer::start_with(|it| configure(it.trusted_proxies(proxies))).await
}

/// The handshake of a client that has written `forged` there, as a proxy passes it on.
fn passed_on(forged: &str, client: &str) -> String {
    handshake_with("X-Forwarded-For", &[&format!("{forged}, {client}")])
}

// covers: HS-21, HS-23
#[tokio::test]
async fn a_hundred_forged_addresses_are_one_bucket() {
    let limits = Admission::new().max_connections_per_peer(THREE);
    let server = server(|it| it.admission(limits)).await;
    let mut open: Vec<Peer> = Vec::new();
    for n in 0..100 {
        let forged = format!("192.0.2.{n}");
        let (head, client) = server.send(passed_on(&forged, "198.51.100.1")).await;
        let expected = if n < 3 { 101 } else { 429 };
        assert_eq!(head.status, expected, "{forged}");
        open.push(client);
    }
    // Nor is anybody locked out by being named.
    let (head, _victim) = server.send(passed_on("", "192.0.2.50")).await;
    assert_eq!(head.status, 101);
    let records = server.audit.records();
    let client = |it: &str| Some(it.parse().unwrap());
    for record in &records {
        let expected = match record.event {
            AuditEvent::UpgradeRefused(_) => client("198.51.100.1"),
            _ => record.client,
        };
        assert_eq!(record.client, expected, "{record:?}");
        assert!(record.peer.unwrap().ip().is_loopback());
    }
    assert!(records.iter().any(|it| it.client == client("192.0.2.50")));
}

// covers: HS-23
#[tokio::test]
async fn a_proxy_that_says_nothing_or_nonsense_is_refused_by_name() {
    let server = server(|it| it).await;
    assert_eq!(server.send(handshake()).await.0.status, 500);
    for nonsense in ["unknown", "_hidden", "1.2.3.4.5"] {
        let (head, _) = server.send(passed_on("192.0.2.1", nonsense)).await;
        assert_eq!(head.status, 400, "{nonsense}");
    }
    assert_eq!(
        server.audit.refused(),
        ["peer.unknown", "peer.forwarded", "peer.forwarded", "peer.forwarded"]
    );
}

// covers: HS-23
#[tokio::test]
async fn an_application_that_forgot_to_tell_the_address_is_told_so() {
    let app = |endpoint: WebSocketEndpoint| {
        let endpoint = endpoint.peer_from(|it| it.get::<SocketAddr>().copied());
        axum::Router::new().route_service("/ws", endpoint.into_service())
    };
    let server = HttpServer::start_axum(app).await;
    assert_eq!(server.send(handshake()).await.0.status, 500);
    assert_eq!(server.audit.refused(), ["peer.missing"]);
    // Where axum has it.
    let server = HttpServer::start_axum(|endpoint| {
        let endpoint = endpoint.peer_from(|it| it.get::<ConnectInfo<SocketAddr>>().map(|it| it.0));
        axum::Router::new().route_service("/ws", endpoint.into_service())
    })
    .await;
    assert_eq!(server.send(handshake()).await.0.status, 101);
}

// covers: HS-29
#[tokio::test]
async fn a_handshake_in_the_clear_is_refused_and_not_redirected() {
    let server = server(|it| it.origin(OriginPolicy::new().require_tls())).await;
    for (proto, status) in [("http", 403), ("", 403), ("https, http", 403), ("https", 101)] {
        let request = passed_on("", "198.51.100.1");
        let request = request.replacen("\r\n", &format!("\r\nX-Forwarded-Proto: {proto}\r\n"), 1);
        let (head, _) = server.send(request).await;
        assert_eq!((head.status, head.header("location")), (status, None), "{proto}");
    }
    assert_eq!(server.audit.refused(), ["handshake.plaintext"; 3]);
}

// covers: HS-23
#[tokio::test]
async fn a_crowd_from_one_address_is_said_once_and_none_that_a_proxy_tells_apart() {
    let (log, _guard) = Log::keep();
    let quota = Quota::per_second(1_000);
    let admission = || Admission::new().handshakes_per_peer(quota).max_connections_per_peer(MANY);
    let direct = HttpServer::start_with(|it| it.admission(admission())).await;
    let proxied = server(|it| it.admission(admission())).await;
    let mut open = Vec::new();
    for n in 0..150 {
        let client = format!("198.51.100.{}", n % 2);
        open.push(proxied.send(passed_on("", &client)).await);
    }
    assert_eq!(log.lines("all of one address"), 0);
    for _ in 0..150 {
        let (head, client) = direct.send(handshake()).await;
        assert_eq!(head.status, 101);
        open.push((head, client));
    }
    assert_eq!(log.lines("all of one address"), 1);
}

/// Half of them never log in, the others go in every way there is.
// covers: HS-21, HS-22, HS-23
// holds: I8
#[tokio::test]
async fn five_hundred_sockets_of_one_client_leave_every_place_behind() {
    let server = HttpServer::start_endpoint(|| {
        let messages = RequireAuthLayer::new(Verifier(Arc::new(Probe::default())));
        let handler = service_fn(async |_: Inbound<Message, Authenticated<User>>| {
            Err::<Reply<Message>, _>(Close::FORBIDDEN)
        });
        let limits = Admission::new()
            .max_connections_per_peer(SIXTY_FOUR)
            .handshakes_per_peer(Quota::per_second(10_000))
            .failed_logins_per_peer(Quota::per_second(10_000));
        let proxies = TrustedProxies::x_forwarded_for(["127.0.0.0/8"]).unwrap();
        WebSocketEndpoint::new(messages, handler).admission(limits).trusted_proxies(proxies)
    })
    .await;
    for round in 0..2 {
        let mut open = Vec::new();
        for n in 0..500 {
            let request = passed_on(&format!("192.0.2.{}", n % 250), "198.51.100.1");
            let (head, mut client) = server.send(request).await;
            assert!(matches!(head.status, 101 | 429), "{head:?}");
            if head.status == 429 {
                continue;
            }
            match n % 6 {
                0 => client.send(auth("good:eve")).await,
                1 => client.send(auth("bad:eve")).await,
                // A close frame, a broken one, half of one.
                2 => client.send(b"\x88\x82\0\0\0\0\x03\xe8").await,
                3 => client.send(b"\x88\x82\0\0\0\0\x00\x00").await,
                4 => client.send(b"\x88\x82\0").await,
                _ => {}
            }
            open.push(client);
        }
        assert!(open.len() >= 64, "{round}: {}", open.len());
        drop(open);
        // The room of a connection is free when its task ends, which its peer cannot see.
        let all_back = async {
            let connected = server.audit.connected();
            assert_eq!(server.audit.closed(connected).await.len(), connected);
        };
        all_back.await;
    }
}

const MANY: NonZeroUsize = NonZeroUsize::new(200).unwrap();
const SIXTY_FOUR: NonZeroUsize = NonZeroUsize::new(64).unwrap();
