//! Nothing but credentials is looked at before the peer is authenticated, and they are looked at once.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};
use tower::{BoxError, ServiceBuilder, service_fn, timeout::TimeoutLayer};
use tower_websocket::{
    AuditEvent, Authenticated, Close, Failure, HandleErrorLayer, Inbound, Message, Reply,
    RequireAuthLayer, WebSocketEndpoint,
};

use super::{
    support::{TestServer, User, Verifier, auth, join, quiet, say},
    support_client::{BINARY, TEXT, close, frame, text},
};

const REFUSED: &str = "authentication failed";

fn authenticated(server: &TestServer) -> usize {
    server.count(|it| matches!(it, AuditEvent::Authenticated(_)))
}

/// No code beneath the authentication was reached.
fn assert_untouched(server: &TestServer, name: &str) {
    assert_eq!(server.probe.calls(), 0, "{name}");
    assert!(server.probe.rooms.is_empty(), "{name}");
    assert_eq!(authenticated(server), 0, "{name}");
}

// covers: AU-01
// holds: I1
#[tokio::test(start_paused = true)]
async fn a_first_message_that_is_not_credentials_ends_the_connection() {
    let cases = [
        ("join", join("r1")),
        ("chat", say("r1", "hello")),
        ("leave", text(r#"{"type":"leave","roomId":"r1"}"#)),
        ("ping", text(r#"{"type":"ping"}"#)),
        ("unknown type", text(r#"{"type":"x"}"#)),
        ("no JSON", text("hello")),
        ("nothing", text("")),
        ("binary", frame(0x80 | BINARY, r#"{"type":"auth","token":"good:ada"}"#)),
        ("token is a number", text(r#"{"type":"auth","token":1}"#)),
        ("token is an object", text(r#"{"type":"auth","token":{"good":"ada"}}"#)),
        ("array", text(r#"["auth","good:ada"]"#)),
        ("type is an object", text(r#"{"type":{"auth":null},"token":"good:ada"}"#)),
        ("two tokens", text(r#"{"type":"auth","token":"good:ada","token":"good:bob"}"#)),
        ("unknown field", text(r#"{"type":"auth","token":"good:ada","admin":true}"#)),
    ];
    let server = TestServer::rooms(quiet()).await;
    for (name, message) in &cases {
        let mut client = server.connect().await;
        client.send(message).await;
        assert_eq!(client.assert_closed(4403).await, REFUSED, "{name}");
        assert_untouched(&server, name);
    }
    assert_eq!(server.auth_failures(), ["auth.required"; 14]);
}

// covers: AU-02
// holds: I1
#[tokio::test(start_paused = true)]
async fn what_is_pipelined_behind_credentials_waits_for_the_verdict() {
    let server = TestServer::rooms(quiet()).await;
    let start = Instant::now();
    let mut client = server.connect().await;
    client.send([auth("good:ada:500"), join("r1"), say("r1", "hello")].concat()).await;
    client.assert_silent().await;
    assert_untouched(&server, "while the verdict is pending");

    client.assert_reply("auth_ok").await;
    assert_eq!(start.elapsed(), Duration::from_millis(500));
    client.assert_reply("joined").await;
    assert_eq!(client.assert_reply("chat").await["userId"], "ada");
    assert_eq!(server.probe.calls(), 1);
}

// covers: AU-02
// holds: I1
#[tokio::test(start_paused = true)]
async fn what_is_pipelined_behind_wrong_credentials_is_never_looked_at() {
    let server = TestServer::rooms(quiet()).await;
    let mut client = server.connect().await;
    client.send([auth("bad:ada:500"), join("r1"), say("r1", "hello")].concat()).await;
    assert_eq!(client.assert_closed(4403).await, REFUSED);
    assert_untouched(&server, "pipelined");
    assert_eq!(server.probe.attempts(), 1);
}

// covers: AU-02
#[tokio::test(start_paused = true)]
async fn nothing_is_read_while_the_verdict_is_pending() {
    const LINE: usize = 1024;
    let server = TestServer::rooms(quiet()).await;
    let mut client = server.connect_narrow(LINE).await;
    client.send(auth("never")).await;
    let ping = text(r#"{"type":"ping"}"#);
    let flood = timeout(Duration::from_secs(4), client.flood(&ping, usize::MAX)).await;
    assert!(flood.is_err(), "the server goes on reading");
    drop(client);
    // The line had to be full before the writer stopped; one read is the server's own.
    let closed = server.closed(0).await;
    assert!(closed.bytes_in <= 3 * LINE as u64, "{closed:?}");
    assert_eq!(closed.messages_in, 1);
}

// covers: AU-05
#[tokio::test(start_paused = true)]
async fn there_is_one_attempt_for_each_connection() {
    let server = TestServer::rooms(quiet()).await;
    let mut client = server.connect().await;
    client.send([auth("bad:s3cret"), auth("good:ada"), join("r1")].concat()).await;
    assert_eq!(client.assert_closed(4403).await, REFUSED);
    client.send(auth("good:ada")).await;
    drop(client);
    assert_eq!(server.closed(0).await.rule, "auth.failed");
    assert_untouched(&server, "a second attempt");
    assert_eq!(server.probe.attempts(), 1);
    assert_eq!(server.auth_failures(), ["auth.failed"]);
    assert!(!format!("{:?}", server.audit.records()).contains("s3cret"));
}

// covers: AU-06
// holds: I4
#[tokio::test(start_paused = true)]
async fn what_is_in_flight_when_the_server_closes_is_not_handled() {
    let server = TestServer::rooms(quiet()).await;
    let rest = [join("r2"), text(r#"{"type":"ping"}"#), say("r1", "hello"), frame(0x89, "")];

    let mut stranger = server.connect().await;
    stranger.send(auth("bad")).await;
    assert_eq!(stranger.assert_closed(4403).await, REFUSED);
    stranger.send(rest.concat()).await;
    stranger.assert_eof().await;

    let mut member = server.member("ada", "r1").await;
    // The bytes are on their way before the server's task runs again.
    member.send(rest.concat()).await;
    server.probe.connection(1).close(Close::FORBIDDEN);
    assert_eq!(member.assert_closed(4403).await, "forbidden");
    member.send(rest.concat()).await;
    member.send(close(1000, b"")).await;
    member.assert_eof().await;

    drop(stranger);
    assert_eq!(server.closed(0).await.messages_in, 1);
    drop(member);
    assert_eq!(server.closed(1).await.messages_in, 2);
    assert_eq!(server.probe.calls(), 0);
    assert!(server.probe.rooms.is_empty());
}

// covers: AU-07
// holds: I1
#[tokio::test(start_paused = true)]
async fn a_verifier_that_fails_lets_nobody_in() {
    let cases = [
        ("bad", 4403, REFUSED, "auth.failed"),
        ("error", 1011, "internal error", "auth.error"),
        ("panic", 1011, "internal error", "auth.error"),
        ("never", 4401, "authentication timeout", "auth.timeout"),
    ];
    let server = TestServer::rooms(quiet()).await;
    for (nth, (token, code, reason, rule)) in cases.into_iter().enumerate() {
        let mut client = server.connect().await;
        client.send([auth(token), join("r1")].concat()).await;
        assert_eq!(client.assert_closed(code).await, reason, "{token}");
        assert_untouched(&server, token);
        drop(client);
        let closed = server.closed(nth).await;
        assert_eq!((closed.rule, closed.intended_code), (rule, Some(code)), "{token}");
    }
}

// covers: AU-07
#[tokio::test(start_paused = true)]
async fn a_verifier_that_was_dropped_has_not_said_yes() {
    let server = TestServer::start(|probe| {
        let handler = service_fn(async |_: Inbound<Message, Authenticated<User>>| {
            Ok::<_, Close>(Reply::one(Message::text("handled")))
        });
        let late = |error: BoxError| match error.is::<tower::timeout::error::Elapsed>() {
            true => Failure::Reply(Message::text("late")),
            false => Failure::from(error),
        };
        let messages = ServiceBuilder::new()
            .layer(HandleErrorLayer::new(late))
            .layer(TimeoutLayer::new(Duration::from_secs(1)))
            .layer(RequireAuthLayer::new(Verifier(Arc::clone(&probe))));
        WebSocketEndpoint::new(messages, handler).connection(quiet()).unwrap()
    })
    .await;
    for token in ["never", "good:ada:2000", "good:ada@task:2000"] {
        let mut client = server.connect().await;
        client.send(auth(token)).await;
        client.assert_text("late").await;
        client.send(auth("good:ada")).await;
        assert_eq!(client.assert_closed(4403).await, REFUSED, "{token}");
    }
    assert_eq!(server.probe.attempts(), 3);
    assert_eq!(authenticated(&server), 0);
}

// covers: AU-09, AU-14
#[tokio::test(start_paused = true)]
async fn credentials_after_the_first_are_an_invalid_message() {
    let server = TestServer::rooms(quiet()).await;
    for (nth, token) in ["good:bob", "good:ada"].into_iter().enumerate() {
        let mut client = server.member("ada", "private").await;
        client.send([auth(token), say("private", "hello")].concat()).await;
        assert_eq!(client.assert_closed(1008).await, "invalid message", "{token}");
        assert!(server.probe.members("private").await.is_empty());
        drop(client);
        assert_eq!(server.ended(nth).await.0.user.as_deref(), Some("ada"));
    }
    // Once for each connection, and never for bob.
    assert_eq!((server.probe.attempts(), server.probe.calls()), (2, 0));
    assert!(!format!("{:?}", server.audit.records()).contains("bob"));
}

// covers: AU-13
#[tokio::test(start_paused = true)]
async fn credentials_have_limits_of_their_own() {
    const LIMIT: usize = 4 * 1024;
    let padded = |size: usize| format!("{:size$}", r#"{"type":"auth","token":"good:ada"}"#);
    let server = TestServer::rooms(quiet()).await;

    let mut client = server.connect().await;
    client.send_text(&padded(LIMIT)).await;
    client.assert_reply("auth_ok").await;

    let mut client = server.connect().await;
    client.send_text(&padded(LIMIT + 1)).await;
    assert_eq!(client.assert_closed(1009).await, "message too large");

    let mut client = server.connect().await;
    client.send(frame(0x80 | BINARY, padded(LIMIT))).await;
    assert_eq!(client.assert_closed(4403).await, REFUSED);

    let mut client = server.connect().await;
    let mut fragments = frame(TEXT, "{");
    fragments.extend(vec![frame(0, " "); 998].concat());
    fragments.extend(frame(0x80, r#""type":"auth","token":"good:ada"}"#));
    client.send(fragments).await;
    assert_eq!(client.assert_closed(1008).await, "too many fragments");

    assert_eq!((server.probe.attempts(), authenticated(&server)), (2, 1));
}

// covers: AU-17
#[tokio::test(start_paused = true)]
async fn a_refusal_does_not_tell_why() {
    let server = TestServer::rooms(quiet()).await;
    let mut seen = Vec::new();
    for message in [auth("unknown"), auth("wrong"), auth("locked"), auth("expired"), join("r1")] {
        let start = Instant::now();
        let mut client = server.connect().await;
        client.send(message).await;
        seen.push((client.assert_closed(4403).await, start.elapsed()));
    }
    assert_eq!(seen, vec![(REFUSED.to_owned(), Duration::ZERO); 5]);
}
