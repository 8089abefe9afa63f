//! Messages within their limits are handed on whole, and others not at all.

use std::num::NonZeroUsize;

use tower_websocket::{AuditEvent, AuditRecord};

use super::{
    support::{TestServer, auth, quiet, say},
    support_client::{BINARY, TEXT, frame, text, wire},
};

const L_MSG: usize = 64 * 1024;
const L_PRE: usize = 4 * 1024;
const TOO_LARGE: &str = "message too large";

// covers: MS-01
#[tokio::test(start_paused = true)]
async fn a_message_has_a_size() {
    let server = TestServer::echo(quiet()).await;
    for size in [L_MSG - 1, L_MSG] {
        let mut client = server.connect().await;
        let message = "a".repeat(size);
        client.send_text(&message).await;
        client.assert_text(&message).await;
        let (first, rest) = message.split_at(100);
        client.send([frame(TEXT, first), frame(0x80, rest)].concat()).await;
        client.assert_text(&message).await;
    }
    let calls = server.probe.calls();
    let half = "a".repeat(L_MSG / 2);
    let stimuli = [
        text(&"a".repeat(L_MSG + 1)),
        [frame(TEXT, &half), frame(0x80, format!("{half}a"))].concat(),
        // The header alone.
        wire("81 ff 0000000000010001"),
        [frame(TEXT, &half), wire("80 fe 8001")].concat(),
    ];
    for stimulus in stimuli {
        let mut client = server.connect().await;
        client.send(stimulus).await;
        assert_eq!(client.assert_closed(1009).await, TOO_LARGE);
    }
    assert_eq!(server.probe.calls(), calls);
    let size = |it: &AuditRecord| match &it.event {
        AuditEvent::Refused(it) => Some((it.rule, it.observed, it.limit)),
        _ => None,
    };
    let sizes: Vec<_> = server.audit.records().iter().filter_map(size).collect();
    let (seen, limit) = (L_MSG as u64 + 1, L_MSG as u64);
    assert_eq!(sizes, [("message.size", Some(seen), Some(limit)); 4]);
}

// covers: MS-01, FR-30
#[tokio::test(start_paused = true)]
async fn a_peer_with_megabytes_in_flight_still_gets_the_close_frame() {
    let server = TestServer::echo(quiet()).await;
    let mut client = server.connect().await;
    let flood = vec![b'a'; 8 * 1024 * 1024];
    assert_eq!(client.flood(&[wire("81 ff 0000000000800000 K"), flood].concat(), 1).await, 1);
    assert_eq!(client.assert_closed(1009).await, TOO_LARGE);
    drop(client);
    assert!(server.closed(0).await.flushed);
}

// covers: MS-01
#[tokio::test(start_paused = true)]
async fn the_limit_before_authentication_is_of_the_first_message_only() {
    let server = TestServer::rooms(quiet()).await;
    let ping = |size: usize| text(&format!(r#"{{"type":"ping"{}}}"#, " ".repeat(size - 15)));

    for first in [text(&" ".repeat(L_PRE + 1)), wire("81 fe 1001"), wire("01 80 K 80 fe 1001")] {
        let mut client = server.connect().await;
        client.send(first).await;
        assert_eq!(client.assert_closed(1009).await, TOO_LARGE);
    }
    // Credentials and a larger message in one piece.
    let mut client = server.connect().await;
    client.send([auth("good:ada:500"), ping(L_MSG)].concat()).await;
    client.assert_reply("auth_ok").await;
    client.assert_reply("pong").await;
    client.send(ping(L_MSG + 1)).await;
    assert_eq!(client.assert_closed(1009).await, TOO_LARGE);
    assert_eq!(server.probe.calls(), 1);
}

// covers: MS-02
#[tokio::test(start_paused = true)]
async fn nothing_is_read_on_after_an_error() {
    let server = TestServer::echo(quiet().max_message_size(NonZeroUsize::new(100).unwrap())).await;
    let spliced = [
        (1009, vec![frame(TEXT, "a".repeat(90)), frame(0, "b".repeat(20)), frame(0x80, "tail")]),
        (1007, vec![frame(TEXT, "ok"), wire("00 83 K 58ff59"), frame(0x80, "tail")]),
        (1007, vec![wire("81 83 K 58ff59"), text("tail")]),
        (1002, vec![frame(TEXT, "ok"), wire("83 80 K"), frame(0x80, "tail")]),
    ];
    for (code, frames) in &spliced {
        // In one piece, and one by one.
        let mut client = server.connect().await;
        client.send(frames.concat()).await;
        client.assert_closed(*code).await;
        let mut client = server.connect().await;
        for frame in frames {
            client.send(frame).await;
            tokio::task::yield_now().await;
        }
        client.assert_closed(*code).await;
    }
    assert_eq!(server.probe.calls(), 0);
}

// covers: MS-10
#[tokio::test(start_paused = true)]
async fn a_binary_message_is_not_taken_for_text() {
    let server = TestServer::rooms(quiet()).await;
    let mut client = server.member("ada", "r1").await;
    for stimulus in [wire("82 82 K 7b7d"), frame(0x80 | BINARY, r#"{"type":"ping"}"#)] {
        let mut client = server.login("bob").await;
        client.send(stimulus).await;
        assert_eq!(client.assert_closed(1003).await, "text only");
    }
    client.send(say("r1", "hello")).await;
    client.assert_reply("chat").await;
    assert_eq!(server.probe.calls(), 1);
}

// covers: MS-11
#[tokio::test(start_paused = true)]
async fn a_text_is_utf8() {
    let server = TestServer::rooms(quiet()).await;
    let stimuli = [
        "81 82 K c080",
        "81 83 K eda080",
        "81 84 K f4908080",
        "81 82 K e282",
        "01 82 K e282 80 81 K 61",
        "01 81 K f0 80 80 K",
        "81 81 K ff",
    ];
    for stimulus in stimuli {
        let mut client = server.login("ada").await;
        client.send(wire(stimulus)).await;
        assert_eq!(client.assert_closed(1007).await, "invalid utf-8", "{stimulus}");
    }
    assert_eq!(server.probe.calls(), 0);

    let mut client = server.member("ada", "r1").await;
    let chat = r#"{"type":"chat","roomId":"r1","text":"€ 🦀"}"#.as_bytes();
    // At every place, those within a character included.
    for at in 0..chat.len() {
        let (first, rest) = chat.split_at(at);
        client.send([frame(TEXT, first), frame(0x80, rest)].concat()).await;
        assert_eq!(client.assert_reply("chat").await["text"], "€ 🦀");
    }
}

// covers: P2-01
// The engine looks at a text when its frame is complete, no sooner.
#[tokio::test(start_paused = true)]
async fn a_byte_that_is_no_utf8_is_noticed_at_the_end_of_its_frame() {
    let server = TestServer::echo(quiet()).await;
    let mut client = server.connect().await;
    client.send(wire("81 fe 1000 K ff")).await;
    for _ in 1..16 {
        client.send([b'a'; 256]).await;
        client.assert_silent().await;
    }
    client.send([b'a'; 255]).await;
    assert_eq!(client.assert_closed(1007).await, "invalid utf-8");
    assert_eq!(server.probe.calls(), 0);
}
