//! Whose pages may open a connection, on a real socket.

use tower_websocket::OriginPolicy;

use test_support::http::{HttpServer, handshake, handshake_with};

async fn listing() -> HttpServer {
    let policy = OriginPolicy::new().trust("https://app.example").unwrap();
    HttpServer::start_with(|it| it.origin(policy)).await
}

// covers: HS-04
#[tokio::test]
async fn another_sites_page_cannot_use_the_cookies_it_comes_with() {
    let server = HttpServer::start().await;
    let request = handshake_with("Cookie", &["session=1"])
        .replace("Origin: https://app.example", "Origin: https://evil.example");
    let (head, mut client) = server.send(request).await;
    assert_eq!(head.status, 403);
    assert_eq!(client.until_eof().await, b"origin not allowed\n");
    assert_eq!(server.audit.connected(), 0);
    assert_eq!(server.audit.refused(), ["origin.not_trusted"]);
}

// covers: HS-05
#[tokio::test]
async fn an_origin_like_a_trusted_one_is_not_trusted() {
    let server = listing().await;
    let (good, bad) = ("https://app.example", "https://evil.example");
    let refused: [&[&str]; 12] = [
        &["https://app.example.evil.com"],
        &["https://evil-app.example"],
        &["https://app.example:444"],
        &["http://app.example"],
        &["https://app.example."],
        &["https://app.example@evil.com"],
        &["null"],
        &[good, bad],
        &[bad, good],
        &[good, good],
        &[""],
        &["https://app.example/"],
    ];
    for values in refused {
        let (head, _) = server.send(handshake_with("Origin", values)).await;
        assert_eq!(head.status, 403, "{values:?}");
    }
    assert_eq!(server.audit.refused().len(), refused.len());
    assert_eq!(server.audit.connected(), 0);
    for origin in [good, "https://APP.EXAMPLE"] {
        let (head, mut client) = server.send(handshake_with("Origin", &[origin])).await;
        assert_eq!(head.status, 101, "{origin}");
        client.assert_echo().await;
    }
}

// covers: HS-06
#[tokio::test]
async fn without_an_origin_there_must_be_no_cookie() {
    let server = HttpServer::start().await;
    let bare = handshake_with("Origin", &[]);
    let with_cookie = bare.replace("Host:", "Cookie: session=1\r\nHost:");
    let (head, _) = server.send(with_cookie).await;
    assert_eq!(head.status, 403);
    let (head, mut client) = server.send(&bare).await;
    assert_eq!(head.status, 101);
    client.assert_echo().await;

    let strict = HttpServer::start_with(|it| it.origin(OriginPolicy::new().require_origin())).await;
    let (head, _) = strict.send(bare).await;
    assert_eq!(head.status, 403);
    assert_eq!(strict.audit.refused(), ["origin.missing"]);
}

// covers: P2-23
#[tokio::test]
async fn a_client_with_the_cookie_of_a_balancer_comes_back() {
    let server = HttpServer::start().await;
    let bare = handshake_with("Origin", &[]);
    for cookie in ["AWSALB=kq3R0h9c", "__cf_bm=0aZ", "GCLB=x"] {
        let request = bare.replace("Host:", &format!("Cookie: {cookie}\r\nHost:"));
        let (head, mut client) = server.send(request).await;
        assert_eq!(head.status, 101, "{cookie}");
        client.assert_echo().await;
    }
}

// covers: HS-16
#[tokio::test]
async fn a_rebound_name_is_misdirected() {
    let policy = OriginPolicy::new().allow_host("app.example").unwrap();
    let server = HttpServer::start_with(|it| it.origin(policy)).await;
    let (head, _) = server.send(handshake().replace("app.example", "rebound.example")).await;
    assert_eq!(head.status, 421);
    assert_eq!(server.audit.refused(), ["host.not_allowed"]);
    let (head, _) = server.send(handshake()).await;
    assert_eq!(head.status, 101);
}
