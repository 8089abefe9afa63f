//! Every end: what still goes out, what is dropped at once, and how long it may take.

use std::{
    future::{pending, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::oneshot;
use tower::service_fn;

use super::support::{Served, echo, frame, ping, quiet, text};
use crate::{
    close::{Close, CloseReason},
    driver::{Authentication, ConnectionConfig},
    layers::{Anonymous, Failure, Inbound, Reply},
    message::Message,
    outbound::SendError,
};

type Answer = Result<Reply<Message>, Failure<Message>>;

/// Says when it is dropped, by the number of those that are left.
#[derive(Clone)]
pub(super) struct Alive(Arc<()>);

impl Alive {
    pub(super) fn left(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

/// A payload of a kilobyte, more or less.
struct Payload(#[expect(dead_code, reason = "counts")] Alive);

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &[0; 1000]
    }
}

/// A connection whose handler never answers, and what is left of stack and call.
pub(super) fn stuck(config: ConnectionConfig) -> (Served, Alive) {
    let alive = Alive(Arc::new(()));
    let held = alive.clone();
    let served = Served::new(
        config,
        service_fn(move |_: Inbound<Message, Anonymous>| {
            let held = held.clone();
            async move {
                let answer = pending::<Answer>().await;
                drop(held);
                answer
            }
        }),
    );
    (served, alive)
}

// covers: DL-20
#[tokio::test(start_paused = true)]
async fn a_graceful_end_lets_the_call_finish_and_the_queue_go_out() {
    let (done, wait) = oneshot::channel::<&'static str>();
    let mut wait = Some(wait);
    let mut served = Served::new(
        quiet(),
        service_fn(move |_: Inbound<Message, Anonymous>| {
            let wait = wait.take().unwrap();
            async move { Answer::Ok(Reply::one(Message::text(wait.await.unwrap()))) }
        }),
    );
    served.send([text("a"), text("never handled")].concat()).await;
    served.peer.room(0);
    for n in 0..50 {
        served.connection.push(Message::text(n.to_string())).unwrap();
    }
    served.connection.close(Close::GOING_AWAY);
    served.wait(1000).await;
    served.connection.push(Message::text("late")).unwrap();
    served.peer.room(None);
    served.wait(1000).await;
    assert!(served.peer.frames().iter().all(|(opcode, _)| *opcode == 1));
    done.send("reply").unwrap();
    served.settle().await;
    let mut expected: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    expected.extend(["late".to_owned(), "reply".to_owned()]);
    assert_eq!(served.peer.texts(), expected);
    assert_eq!(served.peer.close_code(), Some(1001));
}

// covers: DL-20
#[tokio::test(start_paused = true)]
async fn a_graceful_end_waits_for_a_stuck_handler_no_longer_than_it_may() {
    let (mut served, alive) = stuck(quiet());
    served.send(text("a")).await;
    assert_eq!(alive.left(), 2);
    served.connection.close(Close::NORMAL);
    served.wait(4999).await;
    assert_eq!((alive.left(), served.peer.frames().len()), (2, 0));
    served.wait(1).await;
    assert_eq!((alive.left(), served.peer.close_code()), (0, Some(1000)));
    served.wait(4999).await;
    assert!(!served.done);
    served.wait(1).await;
    assert!(served.done);
}

/// A stuck connection with a hundred messages of a kilobyte, of which the socket takes none.
pub(super) async fn stuck_with_a_queue() -> (Served, Alive) {
    let (mut served, alive) = stuck(quiet());
    served.send(text("a")).await;
    served.peer.room(0);
    for _ in 0..100 {
        let payload = Bytes::from_owner(Payload(alive.clone()));
        served.connection.outbound().push(Message::binary(payload)).unwrap();
    }
    served.settle().await;
    assert_eq!(alive.left(), 2 + 100, "none is begun");
    (served, alive)
}

pub(super) fn assert_refused(served: &Served) {
    let late = served.connection.push(Message::text("late"));
    assert_eq!(late, Err(SendError::Closed(Message::text("late"))));
}

// covers: DL-20
#[tokio::test(start_paused = true)]
async fn a_fault_drops_call_stack_and_queue_at_once_and_jumps_ahead() {
    let (mut served, alive) = stuck_with_a_queue().await;
    // More than the queue holds is a fault that the driver finds.
    while served.connection.push(Message::binary(vec![0; 60_000])).is_ok() {}
    served.settle().await;
    assert_eq!(alive.left(), 0);
    assert_refused(&served);
    served.peer.room(None);
    served.settle().await;
    assert_eq!(served.peer.close_code(), Some(1013));
    assert_eq!(served.peer.frames().len(), 1);
}

// covers: AU-05, AU-06, MS-02
// holds: I4
#[tokio::test(start_paused = true)]
async fn after_the_end_began_nothing_is_handed_to_the_stack() {
    let called = Arc::new(AtomicUsize::new(0));
    let calls = Arc::clone(&called);
    let mut served = Served::new(
        quiet(),
        service_fn(move |_: Inbound<Message, Anonymous>| {
            calls.fetch_add(1, Ordering::SeqCst);
            ready(Answer::Err(Failure::Close(Close::because(CloseReason::AuthFailed))))
        }),
    );
    served.send(text("a").repeat(10)).await;
    for _ in 0..10 {
        served.send([text("b"), ping(b"p")].concat()).await;
    }
    assert_eq!(called.load(Ordering::SeqCst), 1);
    assert_eq!(served.peer.close_code(), Some(4403));
    assert_eq!(served.peer.frames().len(), 1, "no pong either");
    assert_eq!(served.peer.unread(), 0, "all of it is read, and thrown away");
}

// covers: FR-28, P2-07
#[tokio::test(start_paused = true)]
async fn a_peers_close_is_answered_once_and_nothing_behind_it_is_handled() {
    for (payload, answer) in [(&b"\x03\xe8bye"[..], Some(1000)), (b"\x0f\xa0", Some(4000))] {
        let mut served = echo(quiet());
        served.send([text("a"), frame(0x88, payload), text("b")].concat()).await;
        assert!(!served.peer.texts().contains(&"b".to_owned()));
        assert_eq!(served.peer.close_code(), answer);
        assert!(served.done && served.peer.socket().shut_down);
        let closed = served.records.closed();
        assert_eq!((closed.rule, closed.received_code), ("peer_closed", answer));
        assert!(closed.flushed);
    }
    let mut served = echo(quiet());
    served.send(frame(0x88, b"")).await;
    assert_eq!(served.peer.frames(), [(8, Vec::new())]);
}

// covers: FR-28, FR-30
#[tokio::test(start_paused = true)]
async fn what_has_come_behind_the_peers_close_does_not_reset_the_connection() {
    for behind in [1, 100] {
        let mut served = echo(quiet());
        served.peer.send([text("a"), frame(0x88, b"\x03\xe8")].concat());
        for _ in 0..behind {
            served.peer.send(ping(b""));
        }
        served.settle().await;
        assert_eq!((served.peer.close_code(), served.done), (Some(1000), true));
        // A socket that is dropped with something unread is reset, and the answer is lost.
        assert_eq!(served.peer.unread(), 0);
        assert_eq!(served.records.closed().rule, "peer_closed");
    }
}

// covers: FR-28, P2-07
#[tokio::test(start_paused = true)]
async fn a_close_that_finds_something_unwritten_is_answered_in_our_words_behind_it() {
    for room in [None, Some(0)] {
        let mut served = echo(quiet());
        served.peer.room(room);
        served.send([text("a"), ping(b"ping"), frame(0x88, b"\x03\xe8bye")].concat()).await;
        served.peer.room(None);
        served.settle().await;
        let [data, pong] = [(1, b"a".to_vec()), (10, b"ping".to_vec())];
        let mut frames = served.peer.frames();
        assert_eq!(frames.pop(), Some((8, b"\x03\xe8".to_vec())));
        frames.sort();
        assert_eq!(frames, [data, pong]);
        assert!(served.done && served.records.closed().flushed);
    }
}

// covers: FR-25
#[tokio::test(start_paused = true)]
async fn a_close_code_that_may_not_be_sent_is_answered_with_a_protocol_error() {
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        let mut served = echo(quiet());
        served.send(frame(0x88, code.to_be_bytes())).await;
        assert_eq!(served.peer.close_code(), Some(1002), "{code}");
        assert_eq!(served.records.closed().received_code, Some(code));
    }
}

// covers: DL-04
#[tokio::test(start_paused = true)]
async fn a_peer_that_never_says_goodbye_is_left_after_the_close_timeout() {
    for chatty in [false, true] {
        let mut served = echo(quiet());
        served.settle().await;
        served.connection.close(Close::FORBIDDEN);
        served.settle().await;
        assert!(served.peer.socket().shut_down);
        for _ in 0..4 {
            if chatty {
                served.send(text("still here")).await;
            }
            served.wait(1000).await;
        }
        served.wait(999).await;
        assert!(!served.done);
        served.wait(1).await;
        assert!(served.done);
        let closed = served.records.closed();
        assert_eq!((closed.intended_code, closed.flushed), (Some(4403), true));
        assert_eq!(closed.duration, Duration::from_secs(5));
    }
}

// covers: FR-30
#[tokio::test(start_paused = true)]
async fn what_the_peer_had_under_way_is_heard_out_up_to_a_limit() {
    for (megabytes, heard) in [(8, true), (16, true), (17, false)] {
        let mut served = echo(quiet());
        served.settle().await;
        served.connection.close(Close::FORBIDDEN);
        served.settle().await;
        for _ in 0..megabytes {
            served.send(vec![0; 1024 * 1024]).await;
        }
        assert_eq!(served.done, !heard, "{megabytes}");
        served.peer.end();
        served.settle().await;
        assert!(served.done);
        assert_eq!(served.peer.close_code(), Some(4403));
    }
}

// covers: FR-30
#[tokio::test(start_paused = true)]
async fn a_peer_that_writes_before_it_reads_is_heard_before_the_close_frame_is_out() {
    let mut served = echo(quiet());
    served.settle().await;
    served.peer.room(0);
    served.connection.close(Close::FORBIDDEN);
    served.send(vec![0; 1024 * 1024]).await;
    assert_eq!(served.peer.unread(), 0);
    // It is done with sending; the close frame may still reach it.
    served.peer.end();
    served.settle().await;
    assert!(!served.done);
    served.peer.room(None);
    served.settle().await;
    assert!(served.done);
    assert_eq!(served.peer.close_code(), Some(4403));
}

// covers: FR-31
#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_without_a_close_is_lost_wherever_it_ends() {
    let stream = [frame(0x01, b"ab"), ping(b""), frame(0x80, b"cd")].concat();
    for cut in 0..stream.len() {
        let mut served = echo(quiet());
        served.peer.send(&stream[..cut]);
        served.peer.end();
        served.settle().await;
        assert!(served.done, "{cut}");
        assert!(served.peer.texts().is_empty(), "{cut}");
        assert!(served.peer.frames().iter().all(|(opcode, _)| *opcode == 10), "{cut}");
        let closed = served.records.closed();
        assert_eq!((closed.rule, closed.intended_code), ("lost", None), "{cut}");
    }
}

// covers: AU-03
#[tokio::test(start_paused = true)]
async fn silence_is_closed_at_the_authentication_deadline() {
    let echo = |inbound: Inbound<Message, Anonymous>| ready(Answer::Ok(inbound.message.into()));
    let mut served = Served::with(quiet(), Authentication::Required, service_fn(echo));
    served.wait(4999).await;
    assert!(served.peer.frames().is_empty());
    served.wait(1).await;
    assert_eq!(served.peer.close_code(), Some(4401));
    served.peer.end();
    served.settle().await;
    assert_eq!(served.records.closed().rule, "auth.timeout");
}

// covers: LG-12
#[tokio::test(start_paused = true)]
async fn a_task_that_is_dropped_leaves_one_record_with_what_it_did() {
    let mut served = echo(quiet());
    served.send(text("a")).await;
    let (_, records) = served.abort();
    let closed = records.closed();
    assert_eq!((closed.rule, closed.intended_code, closed.flushed), ("aborted", Some(1001), true));
    assert_eq!((closed.bytes_in, closed.bytes_out), (7, 3 + 2 + 2 + 10));
    assert_eq!((closed.messages_in, closed.messages_out), (1, 1));

    let mut served = echo(quiet());
    served.settle().await;
    served.connection.close(Close::FORBIDDEN);
    served.settle().await;
    let (_, records) = served.abort();
    let closed = records.closed();
    assert_eq!(
        (closed.rule, closed.intended_code, closed.flushed),
        ("forbidden", Some(4403), true)
    );
}
