//! The reference server's own TLS: nobody waits for somebody else's handshake, and a certificate is replaced
//! while sockets are open.
#![cfg(test)]

mod tls_support;

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use test_support::program::{Program, in_repository, run, socket_from};
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use self::tls_support::{Authority, PATIENCE, SERVER, browser::log_in_over_tls};

async fn server(authority: &Authority, args: &[&str]) -> (Program, SocketAddr) {
    let files = [authority.certificate.to_str().unwrap(), authority.key.to_str().unwrap()];
    let own = ["--port", "0", "--dev-token", "dev-token", "--require-tls"];
    let pair = ["--tls-cert", files[0], "--tls-key", files[1]];
    let mut server = Program::start(SERVER, &[&own[..], &pair[..], args].concat(), &[]);
    let addr = server.addr().await;
    (server, addr)
}

/// Somebody who is in a room, over TLS.
struct Member(WebSocketStream<TlsStream<TcpStream>>);

impl Member {
    async fn join(authority: &Authority, addr: SocketAddr, name: &str) -> Self {
        let socket = TcpStream::connect(addr).await.unwrap();
        let io = authority.connect(socket).await.unwrap();
        let (socket, _) = client_async("wss://chat.example/ws", io).await.unwrap();
        let mut member = Self(socket);
        member.say(json!({ "type": "auth", "token": format!("dev-token:{name}") })).await;
        assert_eq!(member.hear().await["type"], "auth_ok");
        member
    }

    async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        loop {
            let next = timeout(PATIENCE, self.0.next()).await.expect("no message");
            if let Message::Text(text) = next.expect("it ended").unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    async fn assert_alive(&mut self) {
        self.say(json!({ "type": "ping" })).await;
        assert_eq!(self.hear().await["type"], "pong");
    }
}

// covers: HS-29, HS-31
#[tokio::test]
async fn sockets_that_never_shake_hands_hold_nobody_up_and_are_hung_up_on() {
    let authority = Authority::new("silent");
    let (_server, addr) = server(&authority, &["--header-timeout-ms", "3000"]).await;
    let mut silent = Vec::new();
    for n in 0..100 {
        let socket = socket_from([127, 0, 0, 1], addr).await.unwrap();
        if n % 2 == 0 {
            // The beginning of a handshake.
            socket.try_write(b"\x16\x03\x01\x02").unwrap();
        }
        silent.push(socket);
    }
    let start = Instant::now();
    Member::join(&authority, addr, "ada").await.assert_alive().await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    for mut socket in silent {
        let end = timeout(PATIENCE, socket.read_to_end(&mut Vec::new())).await;
        let _ = end.expect("it is waited for");
    }
    // Nor is plain HTTP answered there.
    let mut plain = socket_from([127, 0, 0, 1], addr).await.unwrap();
    plain.try_write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, plain.read_to_end(&mut answer)).await.expect("it is waited for");
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn a_certificate_is_replaced_under_open_sockets() {
    let old = Authority::new("swapped");
    // Nobody reads meanwhile, and so nobody answers pings.
    let lifted = [
        ["--max-connections-per-peer", "600"],
        ["--handshake-rate-per-peer", "600"],
        ["--heartbeat-interval-ms", "600000"],
    ];
    let lifted = lifted.as_flattened();
    let (mut server, addr) = server(&old, lifted).await;
    let mut members = Vec::new();
    for n in 0..500 {
        members.push(Member::join(&old, addr, &format!("user-{}", n % 50)).await);
    }
    // What does not fit together changes nothing.
    let good = fs::read(&old.key).unwrap();
    fs::write(&old.key, b"no key").unwrap();
    server.signal("HUP").await;
    let line = server.line_with("tls.reload_failed").await;
    assert!(line.contains("--tls-key") && !line.contains("no key\""), "{line}");
    fs::write(&old.key, good).unwrap();
    Member::join(&old, addr, "ada").await.assert_alive().await;

    let new = Authority::in_files([old.certificate.clone(), old.key.clone()]);
    server.signal("HUP").await;
    server.line_with("\"certificate\"").await;
    Member::join(&new, addr, "ada").await.assert_alive().await;
    let socket = TcpStream::connect(addr).await.unwrap();
    assert!(old.connect(socket).await.is_err(), "the old one is still shown");
    for member in &mut members {
        member.assert_alive().await;
    }
    server.signal("USR1").await;
    let line = server.line_with("\"status\"").await;
    assert!(line.contains("certificate_seconds_left"), "{line}");
}

#[tokio::test]
async fn a_stock_client_talks_over_tls() {
    let authority = Authority::new("python");
    let (_server, addr) = server(&authority, &[]).await;
    let python = in_repository("tests/clients/python/.venv/bin/python");
    let script = in_repository("tests/clients/python/wss.py");
    let url = format!("wss://localhost:{}/ws", addr.port());
    let args = [script.to_str().unwrap(), &url, authority.certificate.to_str().unwrap()];
    let said = run(Path::new(&python), &args, &[]).await;
    assert!(said.contains("joined"), "{said}");
}

#[tokio::test]
async fn a_page_in_chromium_talks_over_tls() {
    let authority = Authority::new("chromium");
    let (_server, addr) = server(&authority, &[]).await;
    assert_eq!(log_in_over_tls(addr, "chromium-tls").await, "auth_ok");
}
