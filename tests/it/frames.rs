//! What no frame may be is refused from its header, and a connection that was refused is over.

use super::{
    support::{TestServer, quiet},
    support_client::{BINARY, TEXT, close, frame, masked, wire},
};

const PROTOCOL: &str = "protocol error";

/// Each of the `stimuli` ends a connection with `code` and `reason`, and none of it is handled.
async fn assert_refused(stimuli: &[&str], code: u16, reason: &str) {
    let server = TestServer::echo(quiet()).await;
    for (nth, stimulus) in stimuli.iter().enumerate() {
        let mut client = server.connect().await;
        client.send(wire(stimulus)).await;
        assert_eq!(client.assert_closed(code).await, reason, "{stimulus}");
        drop(client);
        let closed = server.closed(nth).await;
        assert_eq!((closed.intended_code, closed.messages_in), (Some(code), 0), "{stimulus}");
    }
    assert_eq!(server.probe.calls(), 0);
}

// covers: FR-01
#[tokio::test(start_paused = true)]
async fn empty_fragments_count() {
    let server = TestServer::echo(quiet()).await;
    let mut client = server.connect().await;
    client.send([wire("01 80 K"), wire("00 80 K").repeat(63)].concat()).await;
    client.assert_silent().await;
    // The first byte of a header is enough.
    client.send(wire("00")).await;
    assert_eq!(client.assert_closed(1008).await, "too many fragments");

    let mut client = server.connect().await;
    client.send([wire("01 80 K"), wire("00 80 K").repeat(62), wire("80 80 K")].concat()).await;
    client.assert_text("").await;
}

// covers: FR-02
#[tokio::test(start_paused = true)]
async fn a_declared_length_is_refused_before_it_is_believed() {
    let stimuli = [
        "82 ff 0000200000000000 K",
        "82 ff 0000000001000000 K",
        "82 ff 0000000000010001 K",
        "81 ff 7fffffffffffffff K",
        // All of it that matters.
        "82 ff 00000000 0002",
    ];
    assert_refused(&stimuli, 1009, "message too large").await;
    assert_refused(&["82 ff ffffffffffffffff K", "82 ff 80"], 1002, PROTOCOL).await;
}

// covers: FR-05
#[tokio::test(start_paused = true)]
async fn a_frame_without_a_mask_is_refused() {
    assert_refused(&["81 02 7b7d", "89 00", "88 00", "88 02 03e8", "81 02"], 1002, PROTOCOL).await;
}

// covers: FR-10
#[tokio::test(start_paused = true)]
async fn reserved_bits_and_opcodes_are_refused() {
    let mut stimuli = Vec::new();
    for first in [0xc1, 0xa1, 0x91, 0xf1, 0xc9, 0xc8]
        .into_iter()
        .chain(0x83..=0x87)
        .chain(0x8b..=0x8f)
        .chain(0x03..=0x07)
    {
        for tail in ["80 K", "ff 0000000000100000 K", ""] {
            stimuli.push(format!("{first:02x} {tail}"));
            // And inside a fragmented message.
            stimuli.push(format!("01 81 K 61 {first:02x} {tail}"));
        }
    }
    let stimuli: Vec<_> = stimuli.iter().map(String::as_str).collect();
    assert_refused(&stimuli, 1002, PROTOCOL).await;
}

// covers: FR-12
#[tokio::test(start_paused = true)]
async fn a_control_frame_is_short_and_whole() {
    let long = format!("89 fe 007e K {}", "61".repeat(126));
    let stimuli = [
        &*long,
        "89 fe",
        "89 ff 0000000000100000 K",
        "8a fe 0100 K",
        "88 fe 007e K",
        "09 80 K 80 80 K",
        "0a 80 K",
        "08 80 K",
    ];
    assert_refused(&stimuli, 1002, PROTOCOL).await;
}

// covers: FR-14
#[tokio::test(start_paused = true)]
async fn fragments_come_in_order() {
    let stimuli = [
        "80 81 K 61",
        "00 81 K 61",
        "01 81 K 61 81 81 K 62",
        "01 81 K 61 02 81 K 62",
        "01 81 K 61 81",
        "00",
    ];
    assert_refused(&stimuli, 1002, PROTOCOL).await;
}

// covers: FR-16
#[tokio::test(start_paused = true)]
async fn a_length_has_its_shortest_form() {
    let stimuli = [
        "82 fe 0005 K 6161616161",
        "82 ff 0000000000000005 K 6161616161",
        "89 fe 0005 K 6161616161",
        "89 ff 0000000000000005 K 6161616161",
        "82 ff 8000000000000005 K",
        "82 fe 007d K",
        "82 ff 000000000000ffff K",
    ];
    assert_refused(&stimuli, 1002, PROTOCOL).await;

    // One more than what would be too long a form.
    let server = TestServer::echo(quiet()).await;
    let mut client = server.connect().await;
    for size in [125, 126, 0xffff, 0x1_0000] {
        let message = "a".repeat(size);
        client.send_text(&message).await;
        client.assert_text(&message).await;
    }
}

// covers: FR-31
#[tokio::test(start_paused = true)]
async fn half_a_message_is_no_message() {
    let message = [frame(TEXT, "one "), frame(0, "two "), frame(0x80, "three")].concat();
    let server = TestServer::echo(quiet()).await;
    for offset in 0..message.len() {
        let mut client = server.connect().await;
        client.send(&message[..offset]).await;
        client.half_close().await;
        // Neither an answer nor a close frame: there is no code for this on the wire.
        client.assert_eof().await;
        let closed = server.closed(offset).await;
        assert_eq!((closed.rule, closed.messages_in), ("lost", 0), "{offset}");
        assert_eq!((closed.intended_code, closed.received_code), (None, None), "{offset}");
        assert_eq!(closed.bytes_in, offset as u64);
    }
    assert_eq!(server.probe.calls(), 0);

    let mut client = server.connect().await;
    client.send(message).await;
    client.assert_text("one two three").await;
}

// covers: P2-02
#[tokio::test(start_paused = true)]
async fn control_frames_may_stand_between_fragments() {
    let server = TestServer::echo(quiet()).await;
    let mut client = server.connect().await;
    client.send([frame(TEXT, "one "), frame(0x89, "now"), frame(0x8a, "stray")].concat()).await;
    client.assert_pong(b"now").await;
    client.send([frame(0, ""), frame(0x89, ""), frame(0x80, "two")].concat()).await;
    // It does not wait for the message that it came in the middle of.
    client.assert_pong(b"").await;
    client.assert_text("one two").await;

    client.send([frame(TEXT, "half"), close(1000, b"")].concat()).await;
    client.assert_closed(1000).await;
    assert_eq!(server.probe.calls(), 1);
}

// covers: P2-02
#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_with_what_it_carried() {
    let server = TestServer::echo(quiet()).await;
    let mut client = server.connect().await;
    for size in [0, 1, 124, 125] {
        let payload: Vec<u8> = (0..size).map(|it| 0xff - it).collect();
        client.send(frame(0x89, &payload)).await;
        client.assert_pong(&payload).await;
    }
    // The newest of a burst may stand for all, and comes last.
    client.send((0..10).flat_map(|it| frame(0x89, [it])).collect::<Vec<_>>()).await;
    let mut answered = Vec::new();
    while answered.last() != Some(&9) {
        answered.push(client.next().await.unwrap().payload[0]);
    }
    assert!(answered.is_sorted(), "{answered:?}");
    client.assert_silent().await;
}

// covers: P2-02
#[tokio::test(start_paused = true)]
async fn empty_fragments_and_any_mask_are_legal() {
    let server = TestServer::echo(quiet()).await;
    let mut client = server.connect().await;
    client.send(wire("01 80 K 00 80 K 80 82 K 7b7d")).await;
    client.assert_text("{}").await;
    client.send(wire("01 80 K 80 80 K")).await;
    client.assert_text("").await;
    for key in [[0; 4], [0xff; 4], [1, 2, 3, 4], [0x80, 0, 0, 0x7f]] {
        client.send(masked(0x80 | TEXT, key, "grüße")).await;
        client.assert_text("grüße").await;
        client.send(masked(0x80 | BINARY, key, [0, 0xff, 0x80])).await;
        let echo = client.next().await.unwrap();
        assert_eq!((echo.opcode, &*echo.payload), (BINARY, &[0, 0xff, 0x80][..]));
    }
}
