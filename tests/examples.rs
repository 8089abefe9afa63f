//! Every example runs, and does what its first lines say.
#![cfg(test)]

use std::{collections::HashMap, net::SocketAddr};

use serde_json::json;
use test_support::program::{Peer, Program, built, page, refusal, run, send_bytes, socket_from};

async fn started(example: &str) -> (Program, SocketAddr) {
    let mut program = Program::start(built(&format!("examples/{example}")), &["127.0.0.1:0"], &[]);
    let addr = program.addr().await;
    (program, addr)
}

async fn reference_server(port: u16) -> (Program, SocketAddr) {
    let mut server = Program::start(built("reference-server"), &["--port", &port.to_string()], &[]);
    let addr = server.addr().await;
    (server, addr)
}

fn client(addr: SocketAddr, args: &[&str]) -> Program {
    let url = format!("ws://{addr}/ws");
    Program::start(built("examples/client"), &[&["--url", &url], args].concat(), &[])
}

#[tokio::test]
async fn minimal_lets_in_who_knows_the_password_and_echoes() {
    let (_program, addr) = started("minimal").await;
    assert_eq!(page(addr, "/").await, "hello");
    let mut friend = Peer::connect(addr).await;
    friend.send("open sesame").await;
    friend.send("echo?").await;
    assert_eq!(friend.text().await, "echo?");

    let mut stranger = Peer::connect(addr).await;
    stranger.send("open barley").await;
    assert_eq!(stranger.closed().await.0, 4403);
}

#[tokio::test]
async fn echo_echoes_for_anybody() {
    let mut program = Program::start(built("examples/echo"), &["--port", "0"], &[]);
    let addr = program.addr().await;
    let mut peer = Peer::connect(addr).await;
    peer.send("hello").await;
    assert_eq!(peer.text().await, "hello");
}

/// Sends `body` to `path` with a cookie; returns the answer.
async fn post(addr: SocketAddr, path: &str, cookie: &str, body: &str) -> String {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nCookie: {cookie}\r\n\
         Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    send_bytes(addr, request.as_bytes()).await
}

/// The cookie of who logs in as `name`, having shown `cookie`.
async fn logged_in(addr: SocketAddr, cookie: &str, name: &str) -> String {
    let answer = post(addr, "/login", cookie, name).await;
    let (_, cookie) = answer.split_once("set-cookie: ").expect("a cookie");
    cookie.split_once(';').unwrap().0.to_owned()
}

// covers: HS-04, AU-10
#[tokio::test]
async fn cookie_session_knows_its_users_and_a_log_out_ends_their_sockets() {
    let (_program, addr) = started("cookie_session").await;
    assert!(page(addr, "/").await.contains("Log in"));
    let mut stranger = Peer::connect(addr).await;
    assert_eq!(stranger.closed().await, (4401, "not authenticated".to_owned()));

    let cookie = &*logged_in(addr, "", "ada").await;
    let own = format!("http://{addr}");
    let open = async |origin: &str| {
        Peer::connect_with(addr, &[("cookie", cookie), ("origin", origin)]).await
    };
    let mut tabs = [open(&own).await.unwrap(), open(&own).await.unwrap()];
    for tab in &mut tabs {
        tab.send("hello").await;
        assert_eq!(tab.text().await, "ada: hello");
    }
    assert_eq!(open("http://127.0.0.1:1").await.err(), Some(403), "a page of another origin");

    let logged_out = std::time::Instant::now();
    assert!(post(addr, "/logout", cookie, "").await.starts_with("HTTP/1.1 204"));
    for tab in &mut tabs {
        assert_eq!(tab.closed().await, (4401, "revoked".to_owned()));
    }
    assert!(logged_out.elapsed().as_secs() < 1, "{:?}", logged_out.elapsed());
    let mut late = open(&own).await.unwrap();
    assert_eq!(late.closed().await, (4401, "not authenticated".to_owned()));
}

/// The same without a framework.
// covers: HS-04, AU-10
#[tokio::test]
async fn hyper_session_knows_its_users_and_a_log_out_ends_their_sockets() {
    let (_program, addr) = started("hyper_session").await;
    assert_eq!(page(addr, "/").await, "an ordinary page\n");
    assert_eq!(Peer::connect_with(addr, &[]).await.err(), Some(401), "a stranger");

    let cookie = &*logged_in(addr, "", "ada").await;
    let own = format!("http://{addr}");
    let open = async |origin: &str| {
        Peer::connect_with(addr, &[("cookie", cookie), ("origin", origin)]).await
    };
    let mut tabs = [open(&own).await.unwrap(), open(&own).await.unwrap()];
    for tab in &mut tabs {
        tab.send("hello").await;
        assert_eq!(tab.text().await, "ada: hello");
    }
    assert_eq!(open("http://127.0.0.1:1").await.err(), Some(403), "a page of another origin");
    assert!(post(addr, "/logout", cookie, "").await.starts_with("HTTP/1.1 204"));
    for tab in &mut tabs {
        assert_eq!(tab.closed().await, (4401, "revoked".to_owned()));
    }
    assert_eq!(open(&own).await.err(), Some(401));
}

/// Who logs in as somebody else is nobody's former self any more.
// covers: AU-10
#[tokio::test]
async fn a_new_login_ends_what_the_former_one_has_opened() {
    for example in ["cookie_session", "hyper_session"] {
        let (_program, addr) = started(example).await;
        let (own, first) = (format!("http://{addr}"), logged_in(addr, "", "ada").await);
        let mut tab =
            Peer::connect_with(addr, &[("cookie", &first), ("origin", &own)]).await.unwrap();
        logged_in(addr, &first, "bob").await;
        assert_eq!(tab.closed().await, (4401, "revoked".to_owned()), "{example}");
    }
}

#[test]
fn applications_with_sessions_are_wrapped_in_less_than_30_lines() {
    for (source, elsewhere) in [
        // In `main`: two routes and a layer.
        (include_str!("../examples/cookie_session.rs"), 3),
        // In `main` one, in `serve` three, in `log_out` one.
        (include_str!("../examples/hyper_session.rs"), 5),
    ] {
        let (_, rest) = source.split_once("// --- From here ...").unwrap();
        let (added, _) = rest.split_once("// --- ... to here.").unwrap();
        let is_code = |it: &&str| !it.trim().is_empty() && !it.trim().starts_with("///");
        let code = added.lines().filter(is_code).count() + elsewhere;
        println!("{code} lines");
        assert!(code < 30, "{code}");
    }
}

#[tokio::test]
async fn axum_service_keeps_its_routes_and_serves_rooms() {
    let (_program, addr) = started("axum_service").await;
    assert_eq!(page(addr, "/").await, "an ordinary page");
    assert_eq!(page(addr, "/health").await, "ok");
    let mut ada = Peer::join(addr, "ticket-of-ada", "lobby").await;
    let mut grace = Peer::join(addr, "ticket-of-grace", "lobby").await;
    ada.say(json!({ "type": "chat", "roomId": "lobby", "text": "hello" })).await;
    let heard = grace.hear().await;
    assert_eq!((&heard["userId"], &heard["text"]), (&json!("ada"), &json!("hello")));

    // Back in all rooms at once.
    for room in 1..100 {
        ada.say(json!({ "type": "join", "roomId": format!("room-{room}") })).await;
    }
    assert_eq!(ada.hear().await["type"], "chat");
    for _ in 1..100 {
        assert_eq!(ada.hear().await["type"], "joined");
    }

    let mut stranger = Peer::connect(addr).await;
    stranger.say(json!({ "type": "auth", "token": "ticket-of-nobody" })).await;
    assert_eq!(stranger.closed().await.0, 4403);
}

#[tokio::test]
async fn ticker_tells_the_newest_of_each_price_and_whose_pointer_is_where() {
    let (_program, addr) = started("ticker").await;
    assert!(page(addr, "/").await.contains("<canvas"));
    let enter = async |name: &str, room: &str| {
        let mut peer = Peer::connect(addr).await;
        peer.send(name).await;
        peer.say(json!({ "type": "join", "room": room })).await;
        assert_eq!(peer.hear().await["code"], "joined");
        peer
    };
    let mut ada = enter("ada", "prices").await;
    let mut last = HashMap::new();
    // What there is, and then what changes.
    while last.len() < 24 || last.values().any(|n| *n < 10) {
        let heard = ada.hear().await;
        let (symbol, n) = (heard["symbol"].as_str().unwrap(), heard["n"].as_u64().unwrap());
        let before = last.insert(symbol.to_owned(), n);
        assert!(before.is_none_or(|before| before < n), "{symbol}: {n} after {before:?}");
    }

    let mut grace = enter("grace", "cursors").await;
    for x in [1, 2] {
        grace.say(json!({ "type": "point", "room": "cursors", "x": x, "y": 1000 })).await;
        assert_eq!(grace.hear().await["x"], x);
    }
    let mut alan = enter("alan", "cursors").await;
    let cursor = alan.hear().await;
    assert_eq!((&cursor["name"], &cursor["x"]), (&json!("grace"), &json!(2)));
    drop(grace);
    assert_eq!(alan.hear().await, json!({ "type": "gone", "id": cursor["id"] }));

    // Prices are nobody's to set.
    ada.say(json!({ "type": "point", "room": "prices", "x": 1, "y": 1 })).await;
    let code = loop {
        if let Err(code) = ada.hear_or_closed().await {
            break code;
        }
    };
    assert_eq!(code, 1008);
}

#[tokio::test]
async fn hyper_service_keeps_its_page_and_sums_for_each_connection() {
    let (_program, addr) = started("hyper_service").await;
    assert_eq!(page(addr, "/").await, "an ordinary page\n");
    let mut one = Peer::connect(addr).await;
    let mut other = Peer::connect(addr).await;
    for total in [2, 4] {
        one.say(json!({ "add": 2 })).await;
        assert_eq!(one.hear().await, json!({ "total": total }));
    }
    other.say(json!({ "add": 3 })).await;
    assert_eq!(other.hear().await, json!({ "total": 3 }));
    other.say(json!({ "add": 3, "and": 4 })).await;
    assert_eq!(other.closed().await.0, 1008);
}

#[tokio::test]
async fn the_terminal_client_takes_part_and_comes_back_after_the_server_died() {
    let (mut server, addr) = reference_server(0).await;
    let mut client = client(addr, &["--name", "ada", "--room", "den"]);
    client.line_with("* you joined den").await;
    let mut grace = Peer::join(addr, "dev-token:grace", "den").await;
    client.type_line("hello").await;
    assert_eq!(grace.hear().await["userId"], "ada");
    grace.say(json!({ "type": "chat", "roomId": "den", "text": "\u{1b}[2Jhi" })).await;
    // What could move a terminal's cursor does not reach it.
    assert_eq!(client.line_with("grace: ").await, "grace: \u{fffd}[2Jhi");

    server.kill().await;
    client.line_with("* next attempt in").await;
    let (_server, addr) = reference_server(addr.port()).await;
    client.line_with("* you joined den").await;
    let mut grace = Peer::join(addr, "dev-token:grace", "den").await;
    client.type_line("back").await;
    assert_eq!(grace.hear().await["text"], "back");

    client.close_stdin();
    assert!(client.exit().await.success());
}

#[tokio::test]
async fn the_terminal_client_stops_where_the_token_is_refused() {
    let (_server, addr) = reference_server(0).await;
    let mut client = client(addr, &["--token", "wrong"]);
    client.line_with("* closed: 4403 authentication failed").await;
    assert!(!client.exit().await.success());
}

#[tokio::test]
async fn the_terminal_client_ends_with_stdin_also_where_nobody_answers() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let mut client = client(nobody, &[]);
    client.line_with("* next attempt in").await;
    client.close_stdin();
    assert!(!client.exit().await.success());
}

// covers: XX-03
#[tokio::test]
async fn who_takes_all_files_of_a_process_does_not_end_it() {
    for (name, args) in [
        ("examples/hyper_service", &["127.0.0.1:0"][..]),
        ("examples/echo", &["--port", "0"]),
        ("reference-server", &["--port", "0"]),
        ("examples/minimal", &["127.0.0.1:0"]),
        ("examples/axum_service", &["127.0.0.1:0"]),
    ] {
        let mut program = Program::start_with_files(built(name), 48, args);
        let addr = program.addr().await;
        let mut sockets = Vec::new();
        for _ in 0..64 {
            sockets.push(socket_from([127, 0, 0, 1], addr).await.unwrap());
        }
        // Those that it could not take are hung up on, or wait for it.
        drop(sockets);
        drop(Peer::connect(addr).await);
        assert!(program.is_running(), "{name}");
    }
}

// covers: MS-25
#[tokio::test]
async fn the_terminal_client_says_what_cannot_be_sent_and_stays() {
    let (_server, addr) = reference_server(0).await;
    let mut client = client(addr, &["--name", "ada", "--room", "den"]);
    client.line_with("* you joined den").await;
    let mut grace = Peer::join(addr, "dev-token:grace", "den").await;
    let long = "x".repeat(1001);
    let endless = "y".repeat(100_000);
    for (line, words) in [
        (long.as_str(), "* not sent: text: 1001 UTF-16 units, and 1 to 1000 can be sent"),
        (endless.as_str(), "* not sent: text: 4096 UTF-16 units"),
        ("", ""),
    ] {
        client.type_line(line).await;
        if !words.is_empty() {
            client.line_with(words).await;
        }
    }
    // What is no UTF-8 shows as such.
    client.type_bytes(b"caf\xe9\r\n").await;
    assert_eq!(grace.hear().await["text"], "caf\u{fffd}");
    // A file is said no faster than the server takes it.
    for n in 0..60 {
        client.type_line(&format!("line {n}")).await;
    }
    for n in 0..60 {
        assert_eq!(grace.hear().await["text"], format!("line {n}"));
    }

    for (args, words) in [
        (&["--room", "my room"][..], "error: --room: 1 to 64 of A-Z a-z 0-9 : _ and -"),
        (&["--name", "ada:admin"], "error: --name: 1 to 32 of A-Z a-z 0-9 _ and -"),
        (&["--name", ""], "error: --name: 1 to 32"),
        (&["--url", "nonsense"], "error: --url: \"nonsense\" is not of the form ws://"),
        (
            &["--url", "wss://127.0.0.1/ws"],
            "error: --url: \"wss://127.0.0.1/ws\" is not of the form",
        ),
        (&["--url", "ws://"], "error: --url: \"ws://\" is not"),
    ] {
        let (code, said) = refusal(built("examples/client"), args, &[]).await;
        assert_eq!(code, Some(2), "{args:?}");
        assert!(said.starts_with(words) && said.lines().count() == 1, "{said}");
    }
}

#[tokio::test]
async fn the_reference_server_logs_on_a_signal_what_is_open() {
    let (mut server, addr) = reference_server(0).await;
    let ada = Peer::join(addr, "dev-token:ada", "den").await;
    let mut grace = Peer::join(addr, "dev-token:grace", "den").await;
    grace.say(json!({ "type": "join", "roomId": "attic" })).await;
    grace.hear().await;
    server.signal("USR1").await;
    let line = server.line_with("\"status\"").await;
    let status: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(status["connections"], 2, "{line}");
    assert_eq!(status["rooms"], 2, "{line}");
    assert_eq!(status["members"], 3, "{line}");
    // Of the connections, and the one that logs this.
    assert_eq!(status["tasks"], 3, "{line}");
    assert_eq!(status["charged"], 0, "{line}");

    drop((ada, grace));
    for _ in 0..1000 {
        server.signal("USR1").await;
        let line = server.line_with("\"status\"").await;
        if line.contains(r#""connections":0,"rooms":0,"members":0,"tasks":1"#) {
            return;
        }
    }
    panic!("something of them remains");
}

#[tokio::test]
async fn the_reference_server_has_a_memory_budget_unless_told_otherwise() {
    for (args, limit) in [
        (&["--port", "0", "--memory-budget-mb", "64"][..], Some(64 * 1024 * 1024)),
        (&["--port", "0", "--memory-budget-mb", "0"], None),
        (&["--port", "0"], Some(memory_of_this_machine() / 4)),
    ] {
        let mut server = Program::start(built("reference-server"), args, &[]);
        let line = server.line_with("memory budget").await;
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let logged = line["bytes"].as_u64();
        if args.len() > 2 {
            assert_eq!(logged, limit, "{args:?}: {line}");
        } else {
            // It may run in a group of processes that has less than the machine.
            assert!(logged.is_some() && logged <= limit, "{line}");
        }
    }
}

fn memory_of_this_machine() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find(|line| line.starts_with("MemTotal:"));
    let kib = total.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    kib.map_or(u64::MAX, |kib: u64| kib * 1024)
}

#[tokio::test]
async fn testing_tests_its_handler() {
    let said = run(&built("examples/testing"), &[], &[]).await;
    assert_eq!(said, "the handler does what it should\n");
}
