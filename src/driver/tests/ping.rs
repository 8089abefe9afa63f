//! How a ping gets into a socket that may hold something unsent.

use std::time::Duration;

use super::support::{Served, echo};
use crate::{driver::ConnectionConfig, message::Message};

const UNSENT: u32 = 64 * 1024;

fn pinging() -> ConnectionConfig {
    let second = Duration::from_secs(1);
    ConnectionConfig::new().ping_interval(second).write_timeout(4 * second).pong_timeout(4 * second)
}

fn limits(served: &Served) -> Vec<u32> {
    std::mem::take(&mut served.peer.socket().limits)
}

fn written(served: &Served) -> usize {
    served.peer.socket().written.len()
}

// covers: DL-24
#[tokio::test(start_paused = true)]
async fn a_ping_is_taken_when_nothing_is_unsent_before_it() {
    let mut served = echo(pinging());
    served.settle().await;
    assert_eq!(limits(&served), [UNSENT], "from the beginning");
    served.wait(1000).await;
    assert_eq!(served.peer.frames().len(), 1);
    assert_eq!(limits(&served), [1, UNSENT], "for the ping, and then as before");
}

// covers: DL-24
#[tokio::test(start_paused = true)]
async fn a_ping_that_finds_something_unsent_goes_in_byte_by_byte() {
    let mut served = echo(pinging());
    served.settle().await;
    served.peer.room(0);
    served.wait(1000).await;
    assert_eq!(limits(&served), [UNSENT, 1, UNSENT]);
    // Behind it waits something else, which does not get past it.
    served.connection.push(Message::text("a")).unwrap();
    let mut limit = UNSENT;
    for byte in 1..10 {
        served.wait(3000).await;
        served.peer.room(1);
        served.settle().await;
        limit = if byte == 9 { 1 } else { limit / 2 };
        assert_eq!((written(&served), limits(&served)), (byte, vec![limit]));
    }
    // Each byte was a sign of life: no deadline of the four seconds has passed in nine times three.
    served.peer.room(1);
    served.settle().await;
    assert_eq!((written(&served), limits(&served)), (10, vec![UNSENT]));
    served.peer.room(None);
    served.settle().await;
    assert_eq!(served.peer.texts(), ["a"]);
    // And from here the pong is due.
    served.wait(3999).await;
    assert_eq!(served.peer.frames().len(), 2);
    served.wait(1).await;
    assert_eq!(served.peer.close_code(), Some(1011));
}

// covers: DL-24
#[tokio::test(start_paused = true)]
async fn what_stands_before_a_ping_is_written_as_ever() {
    let mut served = echo(pinging());
    served.settle().await;
    served.peer.room(100);
    served.connection.push(Message::text("x".repeat(1000))).unwrap();
    served.wait(1000).await;
    assert_eq!(limits(&served), [UNSENT], "the ping is not at its turn");
    served.peer.room(904);
    served.settle().await;
    assert_eq!(served.peer.texts().len(), 1);
    assert_eq!(limits(&served), [1, UNSENT]);
    served.peer.room(None);
    served.settle().await;
    assert_eq!(limits(&served).last(), Some(&UNSENT));
    assert_eq!(served.peer.frames().len(), 2);
}

// covers: DL-24, DL-02
#[tokio::test(start_paused = true)]
async fn a_close_that_finds_half_a_ping_does_not_wait_for_a_socket_without_anything_unsent() {
    let mut served = echo(pinging());
    served.settle().await;
    served.peer.room(3);
    served.wait(1000).await;
    served.connection.close(crate::close::Close::FORBIDDEN);
    served.settle().await;
    assert_eq!(limits(&served).last(), Some(&UNSENT));
    served.peer.room(None);
    served.settle().await;
    assert_eq!(served.peer.close_code(), Some(4403));
}

// covers: DL-24
#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_can_ask_what_is_unsent_is_offered_a_ping_as_anything_else() {
    let mut served = echo(pinging());
    served.peer.socket().encrypted = true;
    served.settle().await;
    served.peer.room(0);
    served.wait(1000).await;
    for _ in 0..10 {
        served.peer.room(1);
        served.wait(100).await;
    }
    assert!(served.records.all_closed().is_empty());
    assert_eq!((served.peer.frames().len(), written(&served)), (1, 10));
}
