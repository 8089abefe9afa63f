//! A flood of frames, whatever they are, is one refusal.

use std::time::Duration;

use tokio::time::sleep;
use tower_websocket::{AuditEvent, Quota};

use super::{
    support::{TestServer, quiet},
    support_client::{TestClient, frame, text, wire},
};

fn refusals(server: &TestServer) -> usize {
    server.count(|it| matches!(it, AuditEvent::Refused(_)))
}

// covers: FR-01
#[tokio::test(start_paused = true)]
async fn a_flood_of_fragments_is_one_refusal() {
    let server = TestServer::echo(quiet()).await;
    let mut client = server.connect().await;
    client.send(wire("01 80 K")).await;
    client.flood(&wire("00 80 K").repeat(1_000), 2_000).await;
    assert_eq!(client.assert_closed(1008).await, "too many fragments");
    drop(client);
    server.closed(0).await;
    assert_eq!((refusals(&server), server.probe.calls()), (1, 0));
}

/// A peer that has one message left of its quota: one more, and only their number is wrong.
async fn nearly_spent(server: &TestServer) -> TestClient {
    let mut client = server.login("ada").await;
    client.send(text(r#"{"type":"ping"}"#).repeat(38)).await;
    for _ in 0..38 {
        client.assert_reply("pong").await;
    }
    client
}

// covers: FR-21
#[tokio::test(start_paused = true)]
async fn a_flood_of_small_frames_is_one_refusal() {
    let floods = [
        ("pings", frame(0x89, ""), 10_000_000, "too many control frames"),
        ("pongs", frame(0x8a, [0x61; 125]), 1_000_000, "too many control frames"),
        ("messages", text(r#"{"type":"ping"}"#), 1_000_000, "rate limited"),
    ];
    for (name, flood, times, reason) in floods {
        let server = TestServer::limited_rooms(quiet(), Quota::per_second(20).burst(40)).await;
        let mut client = nearly_spent(&server).await;
        client.flood(&flood.repeat(10_000), times / 10_000).await;
        let closed = server.closed(0).await;
        assert_eq!(closed.intended_code, Some(1008), "{name}");
        assert_eq!((refusals(&server), server.closed_count()), (1, 1), "{name}");

        // The same at less than what the server hears out: the reason reaches the peer.
        let mut client = nearly_spent(&server).await;
        client.flood(&flood.repeat(100), 100).await;
        assert_eq!(client.closed_after_replies(1008).await, reason, "{name}");
    }
}

// covers: FR-21
#[tokio::test(start_paused = true)]
async fn an_empty_message_costs_as_much_as_another() {
    let quota = Quota::per_second(20).burst(40);
    // Empty, and no credentials either: nothing looks at it before it has been paid for.
    let server = TestServer::limited_echo(quiet(), quota).await;
    let mut client = server.connect().await;
    client.flood(&wire("81 80 K").repeat(10_000), 100).await;
    assert_eq!(client.closed_after_replies(1008).await, "rate limited");
    drop(client);
    server.closed(0).await;
    assert_eq!((refusals(&server), server.probe.calls()), (1, 40));
}

// covers: FR-21
#[tokio::test(start_paused = true)]
async fn control_frames_are_forgiven_with_time() {
    let quota = Quota::per_second(10).burst(5);
    let server = TestServer::echo(quiet().control_frames(quota)).await;
    let mut client = server.connect().await;
    // As many as there are, for as long as one likes.
    for _ in 0..100 {
        client.send(frame(0x8a, "").repeat(5)).await;
        sleep(Duration::from_millis(500)).await;
    }
    client.send(frame(0x8a, "").repeat(5)).await;
    client.assert_silent().await;
    sleep(Duration::from_secs(3_600)).await;
    client.send(frame(0x8a, "").repeat(6)).await;
    assert_eq!(client.assert_closed(1008).await, "too many control frames");

    // A silence in which nothing was to be forgiven earns nothing.
    let mut client = server.connect().await;
    sleep(Duration::from_secs(3_600)).await;
    client.send(frame(0x8a, "").repeat(5)).await;
    client.assert_silent().await;
    client.send(frame(0x8a, "").repeat(5)).await;
    assert_eq!(client.assert_closed(1008).await, "too many control frames");
}
