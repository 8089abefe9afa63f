//! The reference server as a process, and clients that know nothing of this crate.
#![cfg(test)]

use std::net::SocketAddr;

use test_support::program::{Peer, Program, in_repository, page, run, send_bytes, trickle};
use tower_websocket::{RoomName, service::ChatText};

/// The server with the times that the checks expect, so that they need not wait long.
async fn server() -> (Program, SocketAddr) {
    let mut server = Program::start(
        SERVER,
        &["--port", "0"],
        &[
            ("AUTH_TIMEOUT_MS", AUTH_TIMEOUT_MS),
            ("HEARTBEAT_INTERVAL_MS", "500"),
            ("PONG_TIMEOUT_MS", "3000"),
            ("HEADER_TIMEOUT_MS", "500"),
        ],
    );
    let addr = server.addr().await;
    (server, addr)
}

/// The last line of a check says that every case passed, and that there were cases.
fn assert_all_passed(output: &str) {
    let last = output.lines().last().unwrap_or_default();
    let passed = last.strip_suffix(" passed, 0 failed").and_then(|it| it.parse::<u32>().ok());
    assert!(passed.is_some_and(|cases| cases > 30), "{output}");
}

#[tokio::test]
async fn the_ws_package_for_node_gets_what_the_protocol_says() {
    let packages = in_repository("tests/clients/node/node_modules/ws");
    assert!(packages.exists(), "`npm ci` in tests/clients/node is missing; tests/run does it");
    let (_server, addr) = server().await;
    let check = in_repository("tests/clients/node/check.mjs");
    let args = [check.to_str().unwrap(), &format!("ws://{addr}/ws")];
    assert_all_passed(&run("node".as_ref(), &args, CHECK_ENV).await);
}

#[tokio::test]
async fn the_websockets_package_for_python_gets_what_the_protocol_says() {
    let python = in_repository("tests/clients/python/.venv/bin/python");
    assert!(python.exists(), "tests/clients/python/.venv is missing; tests/run makes it");
    let (_server, addr) = server().await;
    let check = in_repository("tests/clients/python/check.py");
    let args = [check.to_str().unwrap(), &format!("ws://{addr}/ws")];
    assert_all_passed(&run(&python, &args, CHECK_ENV).await);
}

#[tokio::test]
async fn the_client_of_the_page_keeps_its_promises() {
    let tests = in_repository("tests/clients/node/room_client.test.mjs");
    let out = run("node".as_ref(), &["--test", tests.to_str().unwrap()], &[]).await;
    assert!(!out.contains("# pass 0"), "{out}");
}

// covers: MS-25
#[tokio::test]
async fn what_the_page_lets_pass_is_what_the_server_takes() {
    let alphabet = ["a", "Z", "0", ":", "_", "-", " ", "/", "\n", "\u{e9}", "\u{1f600}", "\u{0}"];
    let mut texts: Vec<String> = alphabet.map(str::to_owned).to_vec();
    for letter in alphabet {
        texts.push(format!("x{letter}"));
        texts.push(format!("{letter}x"));
        for length in [32, 33, 63, 64, 65, 500, 501, 999, 1000, 1001] {
            texts.push(letter.repeat(length));
        }
    }
    texts.push(String::new());
    let rules = in_repository("clients/js/rules.mjs");
    let script = format!(
        "import {{ checkRoom, checkText }} from {rules:?};
         const passes = (check, it) => {{ try {{ check(it); return true; }} catch {{ return false; }} }};
         const texts = JSON.parse(process.argv[1]);
         console.log(JSON.stringify(texts.map((it) => [passes(checkRoom, it), passes(checkText, it)])));"
    );
    let args = ["--input-type=module", "-e", &script, &serde_json::to_string(&texts).unwrap()];
    let verdicts = run("node".as_ref(), &args, &[]).await;
    let verdicts: Vec<[bool; 2]> = serde_json::from_str(&verdicts).unwrap();
    assert_eq!(verdicts.len(), texts.len());
    for (text, [room, chat]) in texts.iter().zip(verdicts) {
        assert_eq!(room, text.parse::<RoomName>().is_ok(), "room {text:?}");
        assert_eq!(chat, ChatText::new(text).is_ok(), "text {text:?}");
    }
}

// covers: HS-28
#[tokio::test]
async fn sigterm_closes_every_connection_with_1001_and_ends_the_process() {
    let (mut server, addr) = server().await;
    let mut joined = Peer::join(addr, "dev-token:ada", "lobby").await;
    let mut anonymous = Peer::connect(addr).await;
    server.terminate().await;
    assert_eq!(joined.closed().await, (1001, "going away".to_owned()));
    assert_eq!(anonymous.closed().await, (1001, "going away".to_owned()));
    drop((joined, anonymous));
    assert!(server.exit().await.success());
}

// covers: HS-10
#[tokio::test]
async fn a_client_that_never_finishes_its_request_is_hung_up_on() {
    let (_server, addr) = server().await;
    // The same server answers who does finish.
    assert!(page(addr, "/").await.contains("<!doctype html>"));
    for unfinished in ["", "PRI * HT", "GET / HT"] {
        let answer = send_bytes(addr, unfinished.as_bytes()).await;
        let refusal = answer.is_empty() || answer.starts_with("HTTP/1.1 408 ");
        assert!(refusal, "{unfinished:?}: {answer}");
    }
}

// covers: HS-17
#[tokio::test]
async fn a_flood_of_headers_is_refused_before_it_is_taken_in() {
    let (_server, addr) = server().await;
    let handshake = "GET /ws HTTP/1.1\r\nHost: a\r\n";
    let long = "a".repeat(500_000);
    for (name, flood) in [
        ("101 lines", (0..101).map(|n| format!("X-{n}: a\r\n")).collect()),
        ("500 KB in one line", format!("X: {long}\r\n")),
        ("a name without an end", long.clone()),
        ("many cookies", format!("Cookie: {}\r\n", &long[..1_000]).repeat(60)),
    ] {
        let answer = send_bytes(addr, format!("{handshake}{flood}\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{name}: {answer}");
    }
    let answer = trickle(addr, format!("{handshake}X: {}", &long[..64_000]).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "byte by byte: {answer}");
    // As much as a request may have.
    let enough =
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: {}", &long[..8_000]);
    let answer = send_bytes(addr, format!("{enough}\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

const AUTH_TIMEOUT_MS: &str = "1500";

/// What the checks are told about the server.
const CHECK_ENV: &[(&str, &str)] = &[("AUTH_TIMEOUT_MS", AUTH_TIMEOUT_MS)];

/// The built server.
const SERVER: &str = env!("CARGO_BIN_EXE_reference-server");
