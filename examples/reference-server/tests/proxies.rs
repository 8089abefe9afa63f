//! The reference server behind real proxies, with their configurations as the docs have them.
#![cfg(test)]

mod tls_support;

use std::net::SocketAddr;

use test_support::program::{Program, send_bytes, socket_from};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use self::tls_support::{
    Authority, PATIENCE, SERVER,
    browser::log_in_over_tls,
    proxy::{haproxy, nginx},
};

async fn server(args: &[&str]) -> (Program, SocketAddr) {
    let args = [&["--port", "0", "--dev-token", "dev-token", "--trusted-proxy", "127.0.0.1"], args]
        .concat();
    let mut server = Program::start(SERVER, &args, &[]);
    let addr = server.addr().await;
    (server, addr)
}

/// What a handshake on `io` is answered with, in which somebody else's addresses are claimed.
async fn handshake(io: &mut (impl AsyncRead + AsyncWrite + Unpin), forged: &str) -> Option<u16> {
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: chat.example\r\nOrigin: https://chat.example\r\n\
         X-Forwarded-For: {forged}\r\nX-Forwarded-For: {forged}, 10.9.9.9\r\n\
         Forwarded: for={forged}\r\nX-Forwarded-Proto: https\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    io.write_all(request.as_bytes()).await.ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = timeout(PATIENCE, io.read_u8()).await.expect("no answer");
        head.push(byte.ok()?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    head.split(' ').nth(1)?.parse().ok()
}

/// Four clients that claim another address with each handshake: each has its own three connections, and
/// the log has its own address.
async fn each_client_is_itself(server: &mut Program, authority: &Authority, proxy: SocketAddr) {
    let mut open = Vec::new();
    for client in 2..6 {
        let mut statuses = Vec::new();
        for n in 0..10 {
            let socket = socket_from([127, 0, 0, client], proxy).await.unwrap();
            let mut io = authority.connect(socket).await.unwrap();
            statuses.push(handshake(&mut io, &format!("198.51.100.{n}")).await.unwrap());
            open.push(io);
        }
        assert_eq!(statuses[..3], [101; 3], "127.0.0.{client}");
        assert_eq!(statuses[3..], [429; 7], "127.0.0.{client}");
        let line = server.line_with(&format!("\"client\":\"127.0.0.{client}\"")).await;
        assert!(line.contains("\"peer\":\"127.0.0.1:"), "{line}");
    }
}

const THREE: &[&str] = &["--max-connections-per-peer", "3", "--require-tls"];

// covers: HS-21, HS-23, HS-29
#[tokio::test]
async fn behind_nginx_each_client_is_itself_whatever_it_claims() {
    let (mut server, addr) = server(THREE).await;
    let authority = Authority::new("nginx");
    let tls = |it: &Authority| {
        vec![
            ("/etc/nginx/chat.example.pem", it.certificate.display().to_string()),
            ("/etc/nginx/chat.example.key", it.key.display().to_string()),
            ("127.0.0.1:8080", addr.to_string()),
        ]
    };
    let (_nginx, proxy) = nginx("nginx", &tls(&authority)).await;
    each_client_is_itself(&mut server, &authority, proxy).await;
    // A page that came through it is one of the same host, and speaks TLS.
    assert_eq!(log_in_over_tls(proxy, "chromium-nginx").await, "auth_ok");
}

// covers: HS-21, HS-23, HS-29
#[tokio::test]
async fn behind_haproxy_each_client_is_itself_whatever_it_claims() {
    let (mut server, addr) = server(THREE).await;
    let authority = Authority::new("haproxy");
    let changes = [
        ("/etc/haproxy/chat.example.pem", authority.together().display().to_string()),
        ("127.0.0.1:8080", addr.to_string()),
    ];
    let (_haproxy, proxy) = haproxy("haproxy", "haproxy.cfg", &changes).await;
    each_client_is_itself(&mut server, &authority, proxy).await;
}

// covers: HS-21, HS-23, HS-29
#[tokio::test]
async fn behind_two_tiers_each_client_is_itself_whatever_it_claims() {
    let (mut server, addr) = server(THREE).await;
    let authority = Authority::new("tiers");
    let inner = [
        (" ssl;", ";".to_owned()),
        ("ssl_certificate  ", "# ssl_certificate".to_owned()),
        ("ssl_certificate_key ", "# ssl_certificate_key ".to_owned()),
        // As its comment says.
        ("X-Forwarded-Proto $scheme", "X-Forwarded-Proto $http_x_forwarded_proto".to_owned()),
        ("127.0.0.1:8080", addr.to_string()),
    ];
    let (_nginx, inner) = nginx("inner", &inner).await;
    let outer = [
        ("/etc/haproxy/chat.example.pem", authority.together().display().to_string()),
        ("127.0.0.1:8080", inner.to_string()),
    ];
    let (_haproxy, proxy) = haproxy("outer", "haproxy.cfg", &outer).await;
    each_client_is_itself(&mut server, &authority, proxy).await;
}

// covers: HS-29
#[tokio::test]
async fn a_handshake_that_came_to_the_proxy_in_the_clear_is_refused() {
    let (_server, addr) = server(&["--require-tls"]).await;
    let changes = [
        (" ssl;", ";".to_owned()),
        ("ssl_certificate  ", "# ssl_certificate".to_owned()),
        ("ssl_certificate_key ", "# ssl_certificate_key ".to_owned()),
        ("127.0.0.1:8080", addr.to_string()),
    ];
    let (_nginx, proxy) = nginx("clear", &changes).await;
    let mut socket = socket_from([127, 0, 0, 2], proxy).await.unwrap();
    assert_eq!(handshake(&mut socket, "198.51.100.1").await, Some(403));
    // Who comes past the proxy is believed nothing.
    let mut socket = socket_from([127, 0, 0, 2], addr).await.unwrap();
    assert_eq!(handshake(&mut socket, "198.51.100.1").await, Some(403));
}

/// A health check of an orchestrator, which is in the proxies' network and no proxy.
// covers: HS-23
#[tokio::test]
async fn what_comes_from_the_proxies_network_without_a_header_is_served_where_that_is_allowed() {
    let request = "GET /ws HTTP/1.1\r\nHost: chat.example\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\u{fffd}";
    for (args, status) in [(&[][..], "500"), (&["--allow-direct"], "101")] {
        let (_server, addr) = server(args).await;
        let answer = send_bytes(addr, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{args:?}: {answer}");
    }
}

// covers: HS-21, HS-23
#[tokio::test]
async fn behind_the_proxy_protocol_each_client_is_itself_and_nobody_else_may_speak_it() {
    let authority = Authority::new("protocol");
    let files = [authority.certificate.to_str().unwrap(), authority.key.to_str().unwrap()];
    let args = ["--proxy-protocol", "--tls-cert", files[0], "--tls-key", files[1]];
    let (mut server, addr) = server(&[THREE, &args].concat()).await;
    let changes = [("127.0.0.1:8080", addr.to_string())];
    let (_haproxy, proxy) = haproxy("protocol", "haproxy-tcp.cfg", &changes).await;
    let mut open = Vec::new();
    for client in 2..4 {
        for n in 0..5 {
            let socket = socket_from([127, 0, 0, client], proxy).await.unwrap();
            let mut io = authority.connect(socket).await.unwrap();
            let status = handshake(&mut io, &format!("198.51.100.{n}")).await;
            assert_eq!(status, Some(if n < 3 { 101 } else { 429 }), "127.0.0.{client}");
            open.push(io);
        }
        server.line_with(&format!("\"client\":\"127.0.0.{client}\"")).await;
    }
    // A socket that is no proxy's is hung up on before it can claim to be one.
    let mut stranger = socket_from([127, 0, 0, 9], addr).await.unwrap();
    let _ = stranger.write_all(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n").await;
    let mut rest = Vec::new();
    let ended = timeout(PATIENCE, stranger.read_to_end(&mut rest)).await.expect("it is served");
    assert!(ended.is_err() || rest.is_empty(), "{rest:?}");
    // One that is, and does not say whom it is for, too.
    let mut proxy = socket_from([127, 0, 0, 1], addr).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: chat.example\r\n\r\n";
    proxy.write_all(request).await.unwrap();
    let ended = timeout(PATIENCE, proxy.read_to_end(&mut rest)).await.expect("it is served");
    assert!(ended.is_err() || rest.is_empty(), "{rest:?}");
}
