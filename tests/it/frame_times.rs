//! A frame and a message have their time, from their first byte to their last.

use std::time::Duration;

use tokio::time::{Instant, interval, sleep};

use super::{
    support::{TestServer, quiet},
    support_client::{PONG, TEXT, frame, text, wire},
};

/// A peer that sends one of `pieces` a second is closed after ten; its last message is not handled.
async fn assert_too_slow(name: &str, pieces: Vec<Vec<u8>>) {
    let server = TestServer::echo(quiet()).await;
    let mut client = server.connect().await;
    // Not the connection's age counts.
    sleep(Duration::from_secs(100)).await;
    let start = Instant::now();
    let mut second = interval(Duration::from_secs(1));
    let (mut pieces, mut echoes) = (pieces.into_iter(), 0);
    let close = loop {
        tokio::select! {
            biased;
            frame = client.next() => match frame.unwrap() {
                frame if frame.opcode == TEXT => echoes += 1,
                frame => break frame,
            },
            _ = second.tick() => client.send(pieces.next().unwrap_or_default()).await,
        }
    };
    assert_eq!(client.assert_was_close(&close, 1008).await, "message too slow", "{name}");
    assert_eq!(start.elapsed(), Duration::from_secs(10), "{name}");
    assert_eq!(server.probe.calls(), echoes, "{name}");
}

// covers: FR-18
#[tokio::test(start_paused = true)]
async fn a_message_has_its_time_from_the_first_byte_to_the_last() {
    let fragments = std::iter::once(frame(TEXT, "a")).chain(vec![frame(0, "a"); 60]);
    let mut header = wire("82 fe ea60 K");
    header.extend([b'a'; 60]);
    let bytes = header.chunks(1).map(Vec::from);
    let stimuli: [(&str, Vec<Vec<u8>>); 2] =
        [("fragments", fragments.collect()), ("bytes of a frame", bytes.collect())];
    for (name, pieces) in stimuli {
        assert_too_slow(name, pieces).await;
    }
}

// covers: FR-18
#[tokio::test(start_paused = true)]
async fn a_message_that_is_done_in_time_leaves_no_deadline_behind() {
    let server = TestServer::echo(quiet()).await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        client.send(frame(TEXT, "a")).await;
        sleep(Duration::from_secs(9)).await;
        client.send(frame(0x80, "b")).await;
        client.assert_text("ab").await;
    }
    sleep(Duration::from_secs(100)).await;
    client.assert_silent().await;
}

// covers: FR-33
#[tokio::test(start_paused = true)]
async fn a_control_frame_has_its_time_as_a_message_has() {
    let ping = [wire("89 fd K"), vec![b'a'; 125]].concat();
    let stimuli: [(&str, Vec<Vec<u8>>); 5] = [
        ("the first byte of a ping", vec![wire("89")]),
        ("the first byte of a pong", vec![wire("8a")]),
        ("a close without its code", vec![wire("88 82 K 03")]),
        ("a ping, a byte a second", ping.chunks(1).map(Vec::from).collect()),
        ("one behind a message", vec![[text("a"), wire("89 81 K")].concat()]),
    ];
    for (name, pieces) in stimuli {
        assert_too_slow(name, pieces).await;
    }
}

// covers: FR-33
#[tokio::test(start_paused = true)]
async fn control_frames_that_are_done_in_time_leave_no_deadline_behind() {
    let server = TestServer::echo(quiet()).await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        // Whole ones do not add up, not even where one ends and the next begins in the same segment.
        client.send(wire("89")).await;
        sleep(Duration::from_secs(9)).await;
        client.send(wire("80 K 8a")).await;
        sleep(Duration::from_secs(9)).await;
        client.send(wire("80 K")).await;
    }
    sleep(Duration::from_secs(100)).await;
    client.send(text("a")).await;
    for _ in 0..3 {
        assert_eq!(client.next().await.unwrap().opcode, PONG);
    }
    client.assert_text("a").await;
}
