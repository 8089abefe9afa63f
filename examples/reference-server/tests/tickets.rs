//! Tickets of the reference server: who gets one, and that each lets one connection in.
#![cfg(test)]

use std::net::SocketAddr;

use serde_json::{Value, json};
use test_support::program::{Peer, Program};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The built server.
const SERVER: &str = env!("CARGO_BIN_EXE_reference-server");

const OWN_PAGE: &str = "Sec-Fetch-Site: same-origin";

async fn serve(args: &[&str]) -> (Program, SocketAddr) {
    let mut server = Program::start(SERVER, &[&["--port", "0"], args].concat(), &[]);
    let addr = server.addr().await;
    (server, addr)
}

/// Asks for a ticket; returns the status, the head of the answer, and what is in it.
async fn ask(addr: SocketAddr, header: &str, body: &str) -> (u16, String, Value) {
    post(addr, "/ticket", header, body).await
}

async fn post(addr: SocketAddr, path: &str, header: &str, body: &str) -> (u16, String, Value) {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{header}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), serde_json::from_str(body).unwrap_or_default())
}

async fn login(addr: SocketAddr, ticket: &str) -> Result<Value, u16> {
    let mut peer = Peer::connect(addr).await;
    peer.say(json!({ "type": "auth", "token": ticket })).await;
    peer.hear_or_closed().await
}

#[tokio::test]
async fn a_page_of_the_server_gets_a_ticket_for_one_connection() {
    let (mut server, addr) = serve(&[]).await;
    let (status, head, answer) = ask(addr, OWN_PAGE, r#"{"name":"ada"}"#).await;
    assert_eq!((status, &answer["name"]), (200, &json!("ada")));
    assert!(head.contains("cache-control: no-store"), "{head}");
    let ticket = answer["ticket"].as_str().unwrap().to_owned();
    assert_eq!(login(addr, &ticket).await.unwrap()["userId"], "ada");
    assert_eq!(login(addr, &ticket).await, Err(4403));
    // Who says no name is given one; the token is still there.
    let (_, _, answer) = ask(addr, "X-Requested-With: page", r#"{"name":""}"#).await;
    assert!(answer["name"].as_str().unwrap().starts_with("user-"));
    assert_eq!(login(addr, "dev-token:grace").await.unwrap()["userId"], "grace");
    server.terminate().await;
    let log = server.rest().await;
    assert!(log.contains("ticket.replayed"), "{log}");
    assert!(!log.contains(&ticket), "a ticket is in the log");
}

#[tokio::test]
async fn nobody_else_gets_one() {
    let (_server, addr) = serve(&[]).await;
    let ada = r#"{"name":"ada"}"#;
    for (header, body, expected) in [
        ("Sec-Fetch-Site: cross-site", ada, 403),
        ("Sec-Fetch-Site: same-site", ada, 403),
        ("Sec-Fetch-Site: none\r\nX-Requested-With: page", ada, 403),
        ("Accept: */*", ada, 403),
        (OWN_PAGE, r#"{"name":"ada smith"}"#, 400),
        (OWN_PAGE, r#"{"name":"ada","admin":true}"#, 400),
        (OWN_PAGE, "ada", 400),
        (OWN_PAGE, &format!(r#"{{"name":"{}"}}"#, "a".repeat(5000)), 400),
    ] {
        let (status, head, answer) = ask(addr, header, body).await;
        assert_eq!(status, expected, "{header} {body:.40}");
        assert!(answer["error"].is_string() && head.contains("no-store"), "{head}");
    }
    let (_server, addr) = serve(&["--login-by-name", "false"]).await;
    assert_eq!(ask(addr, OWN_PAGE, ada).await.0, 403);
}

// covers: HS-30
#[tokio::test]
async fn an_address_asks_so_often_in_a_minute() {
    let (_server, addr) = serve(&[]).await;
    for _ in 0..120 {
        assert_eq!(ask(addr, OWN_PAGE, r#"{"name":""}"#).await.0, 200);
    }
    let (status, head, _) = ask(addr, OWN_PAGE, r#"{"name":""}"#).await;
    assert_eq!(status, 429);
    // Who is in can leave all the same.
    assert_eq!(post(addr, "/logout", OWN_PAGE, "").await.0, 204);
    assert!(head.contains("retry-after: 20"), "{head}");
}

/// The cookie that an answer sets.
fn cookie(head: &str) -> String {
    let (_, cookie) = head.split_once("set-cookie: ").expect("a cookie");
    cookie.split(';').next().unwrap().to_owned()
}

// covers: AU-10
#[tokio::test]
async fn a_log_out_ends_all_tabs_of_a_browser_and_those_that_are_opening() {
    let (_server, addr) = serve(&[]).await;
    let (_, head, _) = ask(addr, OWN_PAGE, r#"{"name":"ada"}"#).await;
    for attribute in ["path=/", "httponly", "samesite=strict"] {
        assert!(head.contains(attribute), "{head}");
    }
    let shown = format!("{OWN_PAGE}\r\nCookie: {}", cookie(&head));
    let mut tabs = Vec::new();
    for again in ["", r#","again":true"#] {
        let ask = ask(addr, &shown, &format!(r#"{{"name":"ada"{again}}}"#)).await;
        assert_eq!((ask.0, ask.1.contains("set-cookie")), (200, false));
        tabs.push(Peer::join(addr, ask.2["ticket"].as_str().unwrap(), "den").await);
    }
    let (_, _, opening) = ask(addr, &shown, r#"{"name":"ada"}"#).await;
    // Another browser's, of the same user.
    let (_, _, other) = ask(addr, OWN_PAGE, r#"{"name":"ada"}"#).await;
    let mut other = Peer::join(addr, other["ticket"].as_str().unwrap(), "den").await;

    let away = "Sec-Fetch-Site: cross-site\r\nCookie: session=0";
    assert_eq!(post(addr, "/logout", away, "").await.0, 403);
    let (status, head, _) = post(addr, "/logout", &shown, "").await;
    assert_eq!((status, cookie(&head).as_str()), (204, "chat_session="));
    for tab in &mut tabs {
        assert_eq!(tab.closed().await, (4401, "revoked".to_owned()));
    }
    assert_eq!(login(addr, opening["ticket"].as_str().unwrap()).await, Err(4401));
    other.say(json!({ "type": "ping" })).await;
    assert_eq!(other.hear().await["type"], "pong");
    // A page that comes back by itself is told so, with the cookie and without; and one that logs in begins anew.
    for header in [&*shown, OWN_PAGE] {
        assert_eq!(ask(addr, header, r#"{"name":"ada","again":true}"#).await.0, 401);
    }
    let (status, head, _) = ask(addr, &shown, r#"{"name":"ada"}"#).await;
    assert_eq!(status, 200);
    assert!(!shown.contains(&cookie(&head)));
}

#[tokio::test]
async fn one_device_too_many_replaces_the_oldest() {
    let (_server, addr) = serve(&["--max-connections-per-user", "2"]).await;
    let mut first = Peer::join(addr, "dev-token:ada", "den").await;
    let _second = Peer::join(addr, "dev-token:ada", "den").await;
    let _third = Peer::join(addr, "dev-token:ada", "den").await;
    assert_eq!(first.closed().await.0, 4409);
}
