//! What is held for a peer, to the byte, and what happens when it does not read.

use std::{num::NonZeroUsize, time::Duration};

use super::support::{Served, echo, ping, quiet, text};
use crate::{
    close::Close,
    driver::ConnectionConfig,
    message::Message,
    outbound::{Dropped, ENTRY_OVERHEAD, SendError},
    quota::Quota,
};

fn bytes(bytes: usize) -> NonZeroUsize {
    NonZeroUsize::new(bytes).unwrap()
}

/// No limit on pings but the headroom.
fn many_pings() -> ConnectionConfig {
    quiet().control_frames(Quota::per_second(u32::MAX))
}

fn held(served: &Served) -> usize {
    let (queued, in_flight, _) = served.connection.outbound().counted();
    queued + in_flight
}

// covers: DL-01
#[tokio::test(start_paused = true)]
async fn what_is_held_is_what_the_socket_has_not_taken_to_the_byte() {
    let mut served = echo(many_pings());
    served.settle().await;
    served.peer.room(0);
    // Sizes with both forms of a short header, and in all more than two chunks.
    let sizes: Vec<usize> = (0..60).map(|n| (n * 37) % 1400).collect();
    let framed = |size: &usize| size + if *size < 126 { 2 } else { 4 };
    for size in &sizes {
        served.connection.push(Message::binary(vec![b'x'; *size])).unwrap();
    }
    let (mut taken, mut pongs) = (0, 0);
    for step in (0..400usize).cycle() {
        if step % 3 == 0 && step < 300 {
            served.peer.send(ping(&[b'p'; 40]));
            pongs += 42;
        }
        let room = [1, 0, 7, 333, 2, 1000, 126][step % 7];
        served.peer.room(room);
        served.settle().await;
        taken += room;
        let (queued, in_flight, messages) = served.connection.outbound().counted();
        let (encoded, waiting) = sizes.split_at(sizes.len() - messages);
        let charge: usize = waiting.iter().map(|size| size + ENTRY_OVERHEAD).sum();
        assert_eq!(queued, charge, "step {step}");
        let all = encoded.iter().map(framed).sum::<usize>() + pongs;
        let written = served.peer.socket().written.len();
        assert_eq!(in_flight, all - written, "step {step}");
        assert_eq!(written, taken.min(written), "step {step}");
        if held(&served) == 0 && step > 300 {
            break;
        }
    }
    assert_eq!(served.peer.frames().len(), 60 + 100);
}

// covers: DL-05
#[tokio::test(start_paused = true)]
async fn bytes_that_the_socket_takes_while_reading_are_progress() {
    let mut served = echo(quiet().write_timeout(Duration::from_secs(10)));
    served.settle().await;
    served.peer.room(0);
    served.connection.push(Message::binary(vec![0; 10_000])).unwrap();
    // The engine tries to write whenever it has a pong to send, which is while it reads.
    for _ in 0..10 {
        served.send(ping(b"")).await;
        served.wait(3000).await;
        served.peer.room(1);
        served.settle().await;
        assert_eq!(served.records.all_closed().len(), 0);
        assert!(served.connection.push(Message::text("")).is_ok());
    }
    served.wait(10_000).await;
    assert!(matches!(served.connection.push(Message::text("")), Err(SendError::Closed(_))));
    served.wait(5000).await;
    assert_eq!(served.records.closed().rule, "write.timeout");
}

// covers: DL-19
#[tokio::test(start_paused = true)]
async fn of_a_peer_that_does_not_read_no_more_is_read() {
    let mut served = echo(quiet().max_outbound_bytes(bytes(64 * 1024)));
    served.settle().await;
    served.peer.room(0);
    let message = "x".repeat(1000);
    for _ in 0..500 {
        served.send(text(&message)).await;
        assert!(held(&served) <= 34 * 1024);
    }
    assert!(served.peer.unread() > 400 * 1000);
    served.peer.room(None);
    served.settle().await;
    assert_eq!(served.peer.texts(), vec![message; 500]);
}

// covers: DL-19
#[tokio::test(start_paused = true)]
async fn tiny_replies_stop_reading_before_there_are_too_many() {
    let mut served = echo(quiet().max_outbound_messages(bytes(64)));
    served.settle().await;
    served.peer.room(0);
    // More than one chunk, which is encoded and no longer a number of messages.
    let sent: Vec<String> = (0..4000).map(|n| format!("{n:010}")).collect();
    served.send(sent.iter().flat_map(|it| text(it)).collect::<Vec<u8>>()).await;
    served.peer.room(None);
    served.settle().await;
    assert_eq!(served.peer.texts(), sent);
}

// covers: DL-19
#[tokio::test(start_paused = true)]
async fn a_queue_that_is_never_empty_does_not_keep_a_peer_from_being_read() {
    let mut served = echo(quiet().max_outbound_bytes(bytes(128 * 1024)));
    served.settle().await;
    served.peer.room(0);
    served.send(text(&"x".repeat(1000)).repeat(200)).await;
    let unread = served.peer.unread();
    assert!(unread > 0);
    // Less than what is held, so that there is never nothing.
    for _ in 0..50 {
        served.connection.push(Message::text("pushed")).unwrap();
        served.peer.room(1000);
        served.settle().await;
        assert!(held(&served) > 0);
    }
    assert!(served.peer.unread() < unread);
}

// covers: FR-03
#[tokio::test(start_paused = true)]
async fn pings_of_a_peer_that_does_not_read_are_held_within_the_bound() {
    let mut served = echo(many_pings());
    served.settle().await;
    served.peer.room(0);
    for _ in 0..100 {
        served.send(ping(&[0; 125]).repeat(100)).await;
    }
    // One chunk, one message and half of the headroom, and then what one turn reads.
    assert!(held(&served) < (16 + 80 + 32 + 5) * 1024, "{}", held(&served));
    assert!(served.peer.unread() > 100 * 1024);
    served.connection.close(Close::FORBIDDEN);
    served.settle().await;
    served.peer.room(None);
    served.settle().await;
    assert_eq!(served.peer.close_code(), Some(4403));
}

// covers: DL-02
#[tokio::test(start_paused = true)]
async fn a_close_frame_behind_a_full_buffer_is_not_lost() {
    let mut served = echo(many_pings());
    served.settle().await;
    served.peer.room(0);
    let full = (0..).find_map(|_| served.connection.push(Message::text("xxx")).err());
    assert_eq!(full, Some(SendError::Full(Message::text("xxx"))));
    served.settle().await;
    served.peer.room(None);
    served.settle().await;
    assert_eq!(served.peer.close_code(), Some(1013));
    served.peer.end();
    served.settle().await;
    let closed = served.records.closed();
    assert_eq!((closed.rule, closed.intended_code), ("slow_consumer", Some(1013)));
    assert!(closed.flushed && served.done);
}

// covers: DL-01, DL-02
#[tokio::test(start_paused = true)]
async fn the_buffer_has_room_for_a_close_frame_at_its_fullest() {
    // One byte short of a chunk, then the largest message, then all the pongs there is room for.
    let mut served = echo(many_pings());
    served.settle().await;
    served.peer.room(0);
    served.connection.push(Message::binary(vec![1; 16 * 1024 - 5])).unwrap();
    served.settle().await;
    served.connection.push(Message::binary(vec![2; 64 * 1024])).unwrap();
    served.settle().await;
    for _ in 0..20 {
        served.send(ping(&[0; 125]).repeat(100)).await;
    }
    served.connection.close(Close::FORBIDDEN);
    served.settle().await;
    served.peer.room(None);
    served.settle().await;
    assert_eq!(served.peer.close_code(), Some(4403));
}

// covers: DL-01
#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_is_gone_after_the_close_timeout() {
    let mut served = echo(quiet());
    served.settle().await;
    served.peer.room(0);
    while served.connection.push(Message::binary(vec![0; 1024])).is_ok() {}
    served.wait(4999).await;
    assert!(!served.done);
    served.wait(1).await;
    assert!(served.done);
    let closed = served.records.closed();
    assert_eq!((closed.rule, closed.flushed), ("slow_consumer", false));
    assert!(closed.queued_peak <= 1024 * 1024);
}

// covers: DL-21
#[tokio::test(start_paused = true)]
async fn a_push_over_the_outbound_limit_is_told_to_whoever_pushes_and_costs_the_peer_nothing() {
    let mut served = echo(quiet().max_outbound_message_size(bytes(1000)));
    served.settle().await;
    let too_large = Message::binary(vec![0; 1001]);
    for push in [1, 2] {
        served.connection.push(Message::binary(vec![0; 1000])).unwrap();
        let refused = Err(SendError::TooLarge(too_large.clone()));
        assert_eq!(served.connection.push(too_large.clone()), refused, "{push}");
        let mut dropped = Dropped::default();
        let queued = served.connection.outbound().push_own(too_large.clone(), &mut dropped);
        assert_eq!(queued, refused.map(|()| 0), "{push}");
    }
    served.settle().await;
    assert_eq!((served.peer.frames().len(), served.peer.close_code()), (2, None));
    assert_eq!(held(&served), 0);
    served.connection.close(Close::NORMAL);
    served.settle().await;
    assert_eq!(served.connection.push(too_large.clone()), Err(SendError::TooLarge(too_large)));
}

// covers: DL-21
#[tokio::test(start_paused = true)]
async fn a_reply_over_the_outbound_limit_ends_the_connection_of_who_asked_in_its_turn() {
    let mut served = echo(quiet().max_outbound_message_size(bytes(1000)));
    served.settle().await;
    // Nothing is written: what is too large is found before the queue and not behind it.
    served.peer.room(0);
    served.send(text(&"x".repeat(1001))).await;
    assert_eq!(served.connection.push(Message::text("late")), {
        Err(SendError::Closed(Message::text("late")))
    });
    served.peer.room(None);
    served.settle().await;
    assert_eq!(served.peer.close_code(), Some(1011));
}

// covers: DL-16
#[tokio::test(start_paused = true)]
async fn a_ping_has_one_chunk_and_one_message_ahead_at_most() {
    let config = ConnectionConfig::new().ping_interval(Duration::from_secs(2));
    let mut served = echo(config);
    served.settle().await;
    served.peer.room(0);
    for _ in 0..200 {
        served.connection.push(Message::binary(vec![0; 1000])).unwrap();
    }
    served.wait(2000).await;
    served.peer.room(None);
    served.settle().await;
    let ahead = served.peer.frames().into_iter().take_while(|(opcode, _)| *opcode != 9);
    let ahead: usize = ahead.map(|(_, payload)| payload.len() + 4).sum();
    assert!(ahead <= 16 * 1024 + 1004, "{ahead}");
    assert_eq!(served.peer.frames().len(), 201);
}

// covers: DL-18
#[tokio::test(start_paused = true)]
async fn a_socket_that_takes_a_byte_at_a_time_gets_everything_in_order() {
    let mut served = echo(quiet());
    served.settle().await;
    served.peer.piece(1);
    let sent: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    served.send(sent.iter().flat_map(|it| text(it)).collect::<Vec<u8>>()).await;
    assert_eq!(served.peer.texts(), sent);
    assert_eq!(held(&served), 0);
}
