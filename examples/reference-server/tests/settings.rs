//! What the reference server is told, and says, before it serves anybody.
#![cfg(test)]

use std::{net::SocketAddr, path::Path};

use serde_json::json;
use test_support::program::{Peer, Program, in_repository, refusal, run, send_bytes};

async fn started(args: &[&str], env: &[(&str, &str)]) -> (Program, SocketAddr) {
    let args = [&["--port", "0"], args].concat();
    let mut server = Program::start(SERVER, &args, env);
    let addr = server.addr().await;
    (server, addr)
}

/// What follows a login with `token`: a welcome, or a close code.
async fn login(addr: SocketAddr, token: &str) -> Result<String, u16> {
    let mut peer = Peer::connect(addr).await;
    peer.say(json!({ "type": "auth", "token": token })).await;
    peer.hear_or_closed().await.map(|welcome| welcome["userId"].as_str().unwrap().to_owned())
}

// covers: P2-24
#[tokio::test]
async fn what_cannot_hold_is_refused_in_one_line_with_the_options_name() {
    let nobody = "0 does not switch it off";
    let long = "x".repeat(1025);
    let origin = "scheme://host";
    let admin = "s3cret-s3cret-s3cret-s3cret-s3cret";
    for (args, env, words) in [
        // A secret that is none.
        (&[][..], &[("DEV_TOKEN", "")][..], ["--dev-token", "is empty"]),
        (&["--dev-token", ""], &[], ["--dev-token", "is empty"]),
        (&[], &[("DEV_TOKEN", "s3cret\r")], ["--dev-token", "white space"]),
        (&[], &[("DEV_TOKEN", " ")], ["--dev-token", "white space"]),
        (&[], &[("DEV_TOKEN", "s3\u{7}cret")], ["--dev-token", "control character"]),
        (&[], &[("DEV_TOKEN", &long)], ["--dev-token", "1024 bytes"]),
        (&["--host", "0.0.0.0"], &[], ["--dev-token", "0.0.0.0"]),
        (&[], &[("HOST", "::")], ["--dev-token", "::"]),
        // What can match nothing.
        (&[], &[("ALLOW_ORIGIN", "https://a.example/")], ["--allow-origin", origin]),
        (&["--allow-origin", "a.example"], &[], ["--allow-origin", origin]),
        (&["--allow-origin", "https://a.example,*"], &[], ["--allow-origin", origin]),
        (&["--allow-host", "http://a.example"], &[], ["--allow-host", "a.example"]),
        (&["--allow-host", "a.example,*.b.example"], &[], ["--allow-host", "*.b.example"]),
        (&["--trusted-proxy", "10.1.2.3/8"], &[], ["--trusted-proxy", "10.1.2.3/8"]),
        (&[], &[("TRUSTED_PROXY", "10.0.0.0/8,0.0.0.0/0")], ["--trusted-proxy", "any address"]),
        (&["--trusted-proxy", ""], &[], ["--trusted-proxy", "no network"]),
        (
            &["--trusted-proxy", "::1", "--forwarded-header", "a b"],
            &[],
            ["--forwarded-header", "a b"],
        ),
        (&["--forwarded-header", "forwarded"], &[], ["--forwarded-header", "--trusted-proxy"]),
        (&["--proxy-protocol"], &[], ["--proxy-protocol", "--trusted-proxy"]),
        // Everybody knows the one that there is on the loopback interface.
        (&["--trusted-proxy", "127.0.0.1"], &[], ["--dev-token", "behind a proxy"]),
        (&["--allow-direct"], &[], ["--allow-direct", "--trusted-proxy"]),
        (&["--allow-direct=maybe"], &[], ["--allow-direct", "true or false"]),
        // Anybody could be an operator.
        (&["--admin-addr", "localhost"], &[], ["--admin-addr", "127.0.0.1:9090"]),
        (&["--admin-addr", "0.0.0.0:0"], &[], ["--admin-token", "anybody"]),
        (&["--admin-addr", "[::]:0"], &[], ["--admin-token", "anybody"]),
        (&[], &[("ADMIN_TOKEN", admin)], ["--admin-token", "--admin-addr"]),
        (&["--admin-addr", "[::1]:0"], &[("ADMIN_TOKEN", "s3cret")], ["--admin-token", "32 bytes"]),
        (&["--admin-addr", "[::1]:0"], &[("ADMIN_TOKEN", "")], ["--admin-token", "is empty"]),
        (&["--tls-cert", "/nowhere"], &[], ["--tls-cert", "--tls-key"]),
        (&["--tls-key", "/nowhere"], &[], ["--tls-cert", "--tls-key"]),
        (&["--tls-cert", "/nowhere", "--tls-key", "/n"], &[], ["--tls-cert", "/nowhere"]),
        (
            &["--tls-cert", "/dev/null", "--tls-key", "/dev/null"],
            &[],
            ["--tls-cert", "no certificate"],
        ),
        (&["--require-tls=perhaps"], &[], ["--require-tls", "true or false"]),
        // A script whose variable is not set.
        (&["--allow-host", ""], &[], ["--allow-host", "names no host"]),
        (&[], &[("ALLOW_HOST", " , ")], ["--allow-host", "names no host"]),
        (&["--host", "no such host"], &[], ["--host", "no such host"]),
        (&["--host", ""], &[], ["--host", "resolves"]),
        (&["--max-message-bytes", "30"], &[], ["--max-message-bytes", "log in"]),
        (&["--max-outbound-bytes", "1"], &[], ["--max-outbound-bytes", "max_outbound_bytes"]),
        // Nothing at all.
        (&["--heartbeat-interval-ms", "0"], &[], ["--heartbeat-interval-ms", nobody]),
        (&[], &[("HEARTBEAT_INTERVAL_MS", "0")], ["--heartbeat-interval-ms", nobody]),
        (&["--pong-timeout-ms", "0"], &[], ["--pong-timeout-ms", nobody]),
        (&["--auth-timeout-ms", "0"], &[], ["--auth-timeout-ms", nobody]),
        (&["--header-timeout-ms", "0"], &[], ["--header-timeout-ms", nobody]),
        (&["--http-timeout-ms", "0"], &[], ["--http-timeout-ms", nobody]),
        (&["--max-message-bytes", "0"], &[], ["--max-message-bytes", nobody]),
        (&["--message-rate", "0"], &[], ["--message-rate", nobody]),
        (&["--message-burst", "0"], &[], ["--message-burst", nobody]),
        (&["--user-rate", "0"], &[], ["--user-rate", nobody]),
        (&["--user-burst", "0"], &[], ["--user-burst", nobody]),
        (&["--publish-rate", "0"], &[], ["--publish-rate", nobody]),
        (&["--publish-burst", "0"], &[], ["--publish-burst", nobody]),
        (&["--max-outbound-bytes", "0"], &[], ["--max-outbound-bytes", nobody]),
        (&["--max-connections", "0"], &[], ["--max-connections", nobody]),
        (&["--max-unauthenticated", "0"], &[], ["--max-unauthenticated", nobody]),
        (&["--max-connections-per-peer", "0"], &[], ["--max-connections-per-peer", nobody]),
        (&["--max-connections-per-user", "0"], &[], ["--max-connections-per-user", nobody]),
        (&["--handshake-rate", "0"], &[], ["--handshake-rate", nobody]),
        (&["--handshake-rate-per-peer", "0"], &[], ["--handshake-rate-per-peer", nobody]),
        (&["--failed-login-rate", "0"], &[], ["--failed-login-rate", nobody]),
        (&["--failed-login-burst", "0"], &[], ["--failed-login-burst", nobody]),
        // No value of its kind.
        (&[], &[("PORT", "tcp://10.0.0.1:80")], ["--port", "65535"]),
        (&[], &[("PORT", "65536")], ["--port", "65535"]),
        (&[], &[("PORT", "80\n80")], ["--port", "65535"]),
        (&["--invalid-message", "a\n\nb"], &[], ["--invalid-message", "close or reply"]),
        (&["--message-rate", "-1"], &[], ["--message-rate", "whole number"]),
        (&["--message-rate", "1e3"], &[], ["--message-rate", "whole number"]),
        (&["--pong-timeout-ms", "99999999999"], &[], ["--pong-timeout-ms", "too large"]),
        (&["--memory-budget-mb", "1GiB"], &[], ["--memory-budget-mb", "MiB"]),
        (&["--invalid-message", "ignore"], &[], ["--invalid-message", "close or reply"]),
        (&["--slow-members", "wait"], &[], ["--slow-members", "close or skip"]),
    ] {
        let args = [&["--port", "0"], args].concat();
        let args = if env.iter().any(|it| it.0 == "PORT") { &args[2..] } else { &args };
        let (code, said) = refusal(SERVER, args, env).await;
        assert!(matches!(code, Some(1 | 2)), "{args:?} {env:?}: {code:?}");
        assert!(said.starts_with("error: ") && said.lines().count() == 1, "{said}");
        assert!(words.iter().all(|it| said.contains(it)), "{args:?} {env:?}: {said}");
        assert!(!said.contains("s3"), "the secret is in {said}");
    }
}

// covers: P2-24
#[tokio::test]
async fn what_shells_and_compose_files_set_does_not_keep_it_from_starting() {
    for env in [
        &[("ALLOW_ORIGIN", "")][..],
        &[("ALLOW_ORIGIN", "https://a.example, https://b.example")],
        &[("ALLOW_ORIGIN", "https://a.example,"), ("ALLOW_HOST", " ")],
        &[("ALLOW_HOST", "127.0.0.1, a.example:8080,")],
        &[("HOST", "")],
        &[("HOST", "localhost")],
        &[("HOST", " 127.0.0.1\r")],
        &[("HOST", "x86_64-conda-linux-gnu")],
        &[("PORT", ""), ("MESSAGE_RATE", ""), ("MEMORY_BUDGET_MB", ""), ("INVALID_MESSAGE", "")],
        &[("HEARTBEAT_INTERVAL_MS", " 500 "), ("USER_BURST", "7\r"), ("INVALID_MESSAGE", "Reply")],
        &[("DEV_TOKEN", "dev-token")],
        &[("TRUSTED_PROXY", ""), ("FORWARDED_HEADER", ""), ("REQUIRE_TLS", "")],
        &[("PROXY_PROTOCOL", ""), ("TLS_CERT", ""), ("TLS_KEY", "")],
        &[("ALLOW_DIRECT", ""), ("ADMIN_ADDR", "")],
        &[("ADMIN_ADDR", " 127.0.0.1:0 ")],
        &[
            ("TRUSTED_PROXY", "10.0.0.0/8, fd00::/8,"),
            ("FORWARDED_HEADER", "Forwarded"),
            ("DEV_TOKEN", "dev-token"),
        ],
    ] {
        let (_server, addr) = started(&[], env).await;
        let welcome = login(addr, "dev-token:ada").await;
        assert_eq!(welcome, Ok("ada".to_owned()), "{env:?}");
    }
}

#[tokio::test]
async fn a_host_that_is_ignored_is_warned_of() {
    let env = [("HOST", "x86_64-conda-linux-gnu")];
    let mut server = Program::start(SERVER, &["--port", "0"], &env);
    let line = server.line_with("HOST").await;
    assert!(line.contains("\"WARN\"") && line.contains("x86_64-conda-linux-gnu"), "{line}");
}

#[tokio::test]
async fn the_default_token_is_warned_of_also_where_it_is_set() {
    for env in [&[][..], &[("DEV_TOKEN", "dev-token")]] {
        let mut server = Program::start(SERVER, &["--port", "0"], env);
        let line = server.line_with("DEV_TOKEN").await;
        assert!(line.contains("\"WARN\""), "{line}");
    }
}

// covers: P2-24
#[tokio::test]
async fn a_token_with_a_colon_lets_in_alone_and_with_a_name() {
    let (_server, addr) = started(&[], &[("DEV_TOKEN", "alpha:beta")]).await;
    assert!(login(addr, "alpha:beta").await.unwrap().starts_with("user-"));
    assert_eq!(login(addr, "alpha:beta:ada").await, Ok("ada".to_owned()));
    for wrong in
        ["alpha", "alpha:", "alpha:gamma", "alpha:beta:", "beta", ":beta", "alpha:beta:a b"]
    {
        assert_eq!(login(addr, wrong).await, Err(4403), "{wrong}");
    }
}

#[tokio::test]
async fn fewer_files_than_connections_are_warned_of() {
    let mut server = Program::start_with_files(SERVER, 1024, &["--port", "0"]);
    let line = server.line_with("ulimit").await;
    assert!(line.contains("\"WARN\"") && line.contains("1024"), "{line}");
    let few = ["--port", "0", "--max-connections", "100", "--max-connections-per-peer", "9"];
    let mut server = Program::start_with_files(SERVER, 5000, &few);
    let line = server.line_with("").await;
    assert!(!line.contains("ulimit"), "{line}");
    let line = server.line_with("\"listening\"").await;
    assert!(!line.contains("ulimit"), "{line}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_in_words() {
    let (_server, addr) = started(&[], &[]).await;
    let args = ["--port", &addr.port().to_string()];
    let (code, said) = refusal(SERVER, &args, &[]).await;
    let expected =
        format!("error: cannot listen on {addr}: something listens there already; --port");
    assert!(said.starts_with(&expected) && said.lines().count() == 1, "{said}");
    assert_eq!(code, Some(1));
    let args = ["--port", "0", "--host", "192.0.2.1", "--dev-token", "a"];
    let (code, said) = refusal(SERVER, &args, &[]).await;
    assert!(said.contains("this machine does not have that address; --host"), "{said}");
    assert_eq!(code, Some(1));
}

#[tokio::test]
async fn who_asks_for_the_endpoint_without_an_upgrade_is_told_what_it_is() {
    let (_server, addr) = started(&[], &[]).await;
    for (path, status) in [("/ws", "426"), ("/", "200"), ("/wss", "404")] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
        let answer = send_bytes(addr, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
}

#[tokio::test]
async fn only_the_hosts_it_goes_by_are_served() {
    let (_server, addr) = started(&["--allow-host", "chat.example"], &[("ALLOW_HOST", "b")]).await;
    for (host, status) in [("chat.example", "101"), ("b", "421"), ("other.example", "421")] {
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\
             \u{fffd}"
        );
        let answer = send_bytes(addr, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
    }
}

/// A proxy that the operator has not named, or a page of another site whose name leads here.
// covers: HS-04, HS-23
#[tokio::test]
async fn while_everybody_knows_the_token_only_this_machine_is_served() {
    let asks = [
        ("GET /ws", "Host: evil.example\r\nOrigin: http://evil.example"),
        ("GET /ws", "Host: localhost\r\nX-Forwarded-For: 198.51.100.1"),
        ("POST /ticket", "Host: evil.example:8080\r\nX-Requested-With: page"),
        ("POST /ticket", "Host: localhost\r\nX-Requested-With: page\r\nVia: 1.1 proxy"),
    ];
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let ticket = "Connection: close\r\nContent-Type: application/json\r\nContent-Length: 12";
    let ask = async |addr, (line, headers): (&str, &str)| {
        let (more, end) = if line.starts_with("GET") {
            (handshake, "\u{fffd}")
        } else {
            (ticket, r#"{"name":"a"}"#)
        };
        let request = format!("{line} HTTP/1.1\r\n{headers}\r\n{more}\r\n\r\n{end}");
        let answer = send_bytes(addr, request.as_bytes()).await;
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let (mut server, addr) = started(&[], &[]).await;
    for it in asks {
        assert_eq!(ask(addr, it).await, "403", "{it:?}");
    }
    assert_eq!(ask(addr, ("GET /ws", "Host: localhost")).await, "101");
    assert_eq!(
        ask(addr, ("POST /ticket", "Host: 127.0.0.1\r\nX-Requested-With: page")).await,
        "200"
    );
    server.terminate().await;
    let log = server.rest().await;
    assert_eq!(log.matches("TRUSTED_PROXY if there").count(), 1, "{log}");
    // With a token of its own it is for whoever knows that.
    let (_server, addr) = started(&["--dev-token", "secret", "--login-by-name", "true"], &[]).await;
    for (it, status) in asks.into_iter().zip(["101", "101", "200", "200"]) {
        assert_eq!(ask(addr, it).await, status, "{it:?}");
    }
}

/// Whoever can tell it to stop can also ask: no signal that it knows ends it, however early.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn it_hears_all_its_signals_before_it_does_anything() {
    const USR1: u64 = 1 << 9;
    const TERM: u64 = 1 << 14;
    for _ in 0..20 {
        let server = Program::start(SERVER, &["--port", "0"], &[]);
        let status = format!("/proc/{}/status", server.id());
        loop {
            let status = std::fs::read_to_string(&status).unwrap();
            let caught = status.lines().find_map(|it| it.strip_prefix("SigCgt:")).unwrap();
            let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
            if caught & TERM != 0 {
                assert_ne!(caught & USR1, 0, "{caught:x}");
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn the_readme_and_the_help_name_every_option_with_variable_and_default() {
    let readme =
        std::fs::read_to_string(in_repository("examples/reference-server/README.md")).unwrap();
    let help = run(Path::new(SERVER), &["--help"], &[]).await;
    // A switch may have a value: `--require-tls[=<..>]`.
    let words = help.split_whitespace().filter_map(|it| it.split('[').next());
    let words = words.map(|it| it.trim_end_matches(|c| !char::is_alphabetic(c)));
    let options: Vec<_> = words.filter(|it| it.starts_with("--") && *it != "--help").collect();
    assert!(options.len() > 10, "{help}");
    for option in options {
        assert!(readme.contains(&format!("`{option}`")), "{option}");
        let variable = option.trim_start_matches('-').replace('-', "_").to_uppercase();
        assert!(readme.contains(&format!("`{variable}`")), "{variable}");
        assert!(help.contains(&format!("[env: {variable}")), "{variable}: {help}");
    }
    let unless_set = help.matches(" unless set").count();
    let entries = help.matches("[env: ").count();
    assert_eq!(help.matches("[default: ").count() + unless_set, entries, "{help}");
}

/// The built server.
const SERVER: &str = env!("CARGO_BIN_EXE_reference-server");
