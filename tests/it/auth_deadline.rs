//! The time to authenticate is absolute, and so is the time a session lasts.

use std::time::Duration;

use tokio::time::{Instant, advance, interval, sleep};
use tower_websocket::{AuditEvent, Close};

use super::{
    support::{TestServer, auth, join, quiet, say},
    support_client::{PONG, TEXT, TestClient, frame, text},
};

const T_AUTH: Duration = Duration::from_secs(5);
const TIMEOUT: &str = "authentication timeout";

// covers: AU-03
#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_closed_at_the_deadline() {
    let server = TestServer::rooms(quiet()).await;
    let mut client = server.connect().await;
    let start = Instant::now();
    assert_eq!(client.assert_closed(4401).await, TIMEOUT);
    assert_eq!(start.elapsed(), T_AUTH);
    drop(client);
    let closed = server.closed(0).await;
    assert_eq!((closed.rule, closed.duration), ("auth.timeout", T_AUTH));
    assert!(closed.flushed);
}

// covers: AU-03
#[tokio::test(start_paused = true)]
async fn a_verdict_at_the_deadline_counts_or_does_not() {
    let server = TestServer::rooms(quiet()).await;
    // A millisecond before the deadline there is no race: it must be possible to get in.
    for round in 0..1_000 {
        let (token, in_time) = match round % 4 {
            0 => ("good:ada:4999", true),
            1 | 3 => ("good:ada:5000", false),
            _ => ("good:ada@task:5000", false),
        };
        let mut client = server.connect().await;
        client.send(auth(token)).await;
        let answer = client.next().await.unwrap();
        let admitted = answer.opcode == TEXT;
        if admitted {
            // Nothing of the deadline is left behind.
            sleep(T_AUTH).await;
            client.send_text(r#"{"type":"ping"}"#).await;
            client.assert_reply("pong").await;
        } else {
            assert_eq!(answer.payload[..2], 4401_u16.to_be_bytes());
            client.assert_eof().await;
        }
        assert!(admitted || !in_time, "round {round}");
        drop(client);
        let (record, closed) = server.ended(round).await;
        let told = server.count_of(&record, |it| matches!(it, AuditEvent::Authenticated(_)));
        assert_eq!(told, usize::from(admitted), "round {round}");
        assert_eq!(closed.rule == "auth.timeout", !admitted, "round {round}: {closed:?}");
        assert_eq!(record.user.is_some(), admitted, "round {round}");
    }
}

/// Sends one piece each 100 ms until the server closes, and says when that was.
async fn closed_while(
    client: &mut TestClient,
    pieces: impl IntoIterator<Item = Vec<u8>>,
) -> Duration {
    let start = Instant::now();
    let mut pieces = pieces.into_iter();
    let mut tick = interval(Duration::from_millis(100));
    let frame = loop {
        tokio::select! {
            biased;
            frame = client.next() => match frame.unwrap() {
                frame if frame.opcode == PONG => continue,
                frame => break frame,
            },
            _ = tick.tick() => assert!(start.elapsed() <= T_AUTH, "the deadline has moved"),
        }
        if let Some(piece) = pieces.next() {
            client.send(piece).await;
        }
    };
    assert_eq!(client.assert_was_close(&frame, 4401).await, TIMEOUT);
    start.elapsed()
}

// covers: AU-04
#[tokio::test(start_paused = true)]
async fn nothing_but_success_moves_the_deadline() {
    let message = r#"{"type":"auth","token":"good:ada"}"#;
    let fragments =
        message.bytes().enumerate().map(|(at, byte)| frame(if at == 0 { TEXT } else { 0 }, [byte]));
    let stimuli: [(&str, Vec<Vec<u8>>); 6] = [
        ("pings", vec![frame(0x89, ""); 100]),
        ("pongs", vec![frame(0x8a, ""); 100]),
        ("credentials in fragments", fragments.chain(vec![frame(0, ""); 20]).collect()),
        (
            "a frame byte by byte",
            text(&format!("{message:100}")).chunks(1).map(Vec::from).collect(),
        ),
        ("a slow verifier", vec![auth("good:ada:10000")]),
        ("pings behind credentials", [vec![auth("never")], vec![frame(0x89, ""); 99]].concat()),
    ];
    for (name, pieces) in stimuli {
        let server = TestServer::rooms(quiet()).await;
        let mut client = server.connect().await;
        assert_eq!(closed_while(&mut client, pieces).await, T_AUTH, "{name}");
        assert_eq!(server.count(|it| matches!(it, AuditEvent::Authenticated(_))), 0, "{name}");
    }
}

// covers: AU-10
#[tokio::test(start_paused = true)]
async fn a_session_ends_when_it_says_so_or_is_revoked() {
    let server = TestServer::rooms(quiet()).await;
    let mut witness = server.member("eve", "r1").await;
    let mut expiring = server.connect().await;
    expiring.send(auth("brief:ada:2000")).await;
    expiring.assert_reply("auth_ok").await;
    let start = Instant::now();
    expiring.send(join("r1")).await;
    expiring.assert_reply("joined").await;
    let mut revoked = server.member("bob", "r1").await;

    // What is said at that moment comes too late, in either direction.
    advance(Duration::from_millis(1_999)).await;
    assert_eq!(server.probe.members("r1").await.len(), 3);
    assert_eq!(expiring.assert_closed(4401).await, "session expired");
    assert_eq!(start.elapsed(), Duration::from_secs(2));

    revoked.send(say("r1", "still here")).await;
    server.probe.connection(2).close(Close::SESSION_EXPIRED);
    assert_eq!(revoked.assert_closed(4401).await, "session expired");

    expiring.send(say("r1", "me too")).await;
    witness.send(say("r1", "alone")).await;
    assert_eq!(witness.assert_reply("chat").await["text"], "alone");
    witness.assert_silent().await;
    revoked.assert_eof().await;
    expiring.assert_eof().await;
    assert_eq!(server.probe.members("r1").await.len(), 1);
    drop(expiring);
    let closed = server.closed(0).await;
    assert_eq!(closed.rule, "auth.expired");
    assert_eq!(closed.intended_code, Some(4401));
}
