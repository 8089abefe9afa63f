//! Operators of the reference server throw users out.
#![cfg(test)]

use std::net::SocketAddr;

use serde_json::json;
use test_support::program::{Peer, Program, send_bytes};

/// The built server.
const SERVER: &str = env!("CARGO_BIN_EXE_reference-server");

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A server, where it serves, and where it hears operators.
async fn serve(args: &[&str]) -> (Program, SocketAddr, SocketAddr) {
    let args = [&["--port", "0", "--admin-addr", "127.0.0.1:0"], args].concat();
    let mut server = Program::start(SERVER, &args, &[]);
    let addr = server.addr().await;
    let line = server.line_with("listening for operators").await;
    let (_, rest) = line.split_once("127.0.0.1:").unwrap();
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (server, addr, SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap())))
}

async fn ask(admin: SocketAddr, line: &str, headers: &[&str]) -> String {
    let headers: String = headers.iter().map(|it| format!("{it}\r\n")).collect();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n{headers}Content-Length: 0\r\n\r\n"
    );
    send_bytes(admin, request.as_bytes()).await
}

// covers: AU-10
#[tokio::test]
async fn a_user_is_thrown_out_to_stay_away_or_to_log_in_again() {
    let (mut server, addr, admin) = serve(&[]).await;
    let mut ada = [
        Peer::join(addr, "dev-token:ada", "den").await,
        Peer::join(addr, "dev-token:ada", "other").await,
    ];
    let mut bob = Peer::join(addr, "dev-token:bob", "den").await;
    let answer = ask(admin, "POST /admin/users/ada/close", &[]).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(r#"{"closed":2}"#), "{answer}");
    for peer in &mut ada {
        assert_eq!(peer.closed().await, (4100, "removed by an operator".to_owned()));
    }
    bob.say(json!({ "type": "ping" })).await;
    assert_eq!(bob.hear().await["type"], "pong");
    let answer = ask(admin, "POST /admin/users/bob/revoke", &[]).await;
    assert!(answer.contains(r#"{"closed":1}"#), "{answer}");
    assert_eq!(bob.closed().await, (4401, "revoked".to_owned()));
    // None of it is there for the public, and a name that is none is no one's.
    assert!(ask(addr, "POST /admin/users/bob/close", &[]).await.starts_with("HTTP/1.1 404 "));
    assert!(ask(admin, "GET /admin/users/bob/close", &[]).await.starts_with("HTTP/1.1 405 "));
    assert!(ask(admin, "POST /admin/users/a%20b/close", &[]).await.starts_with("HTTP/1.1 400 "));
    server.terminate().await;
    let log = server.rest().await;
    assert_eq!(log.matches("admin.closed").count(), 2, "{log}");
}

// covers: AU-16
#[tokio::test]
async fn an_operator_shows_the_token_and_a_page_is_none() {
    let (_server, _, admin) = serve(&["--admin-token", TOKEN]).await;
    let close = "POST /admin/users/ada/close";
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    for wrong in ["Accept: */*", &bearer(&TOKEN[1..]), &bearer(&format!("{TOKEN}0")), &bearer("")] {
        let answer = ask(admin, close, &[wrong]).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{wrong}: {answer}");
        assert!(answer.to_lowercase().contains("www-authenticate: bearer"), "{answer}");
    }
    let right = bearer(TOKEN);
    assert!(ask(admin, close, &[&right]).await.starts_with("HTTP/1.1 200 "));
    for page in ["Origin: http://127.0.0.1", "Origin: null", "Sec-Fetch-Site: same-origin"] {
        assert!(ask(admin, close, &[&right, page]).await.starts_with("HTTP/1.1 403 "), "{page}");
    }
}
