//! A task that is dropped, with its runtime or by a panic: what it still says; and destructors of the
//! application's that panic: no ghost is left, and nobody else pays.

use std::{
    future::{Future, pending, ready},
    num::NonZeroUsize,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::FutureExt;
use tower::service_fn;
use tower_service::Service;

use super::{
    ending::stuck,
    support::{Served, echo, frame, quiet, text},
};
use crate::{
    close::Close,
    layers::{Anonymous, Failure, Inbound, Reply},
    message::Message,
    testing::Records,
};

/// Panics when it is dropped.
struct Panics;

impl Drop for Panics {
    fn drop(&mut self) {
        panic!("in a destructor");
    }
}

impl AsRef<[u8]> for Panics {
    fn as_ref(&self) -> &[u8] {
        &[0; 1000]
    }
}

/// A stack that panics when it is dropped, as do its calls, which never end.
struct Stack(Panics);

struct Call(Panics);

impl Service<Inbound<Message, Anonymous>> for Stack {
    type Response = Reply<Message>;
    type Error = Failure<Message>;
    type Future = Call;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Inbound<Message, Anonymous>) -> Call {
        Call(Panics)
    }
}

impl Future for Call {
    type Output = Result<Reply<Message>, Failure<Message>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        std::pin::pin!(pending()).poll(cx)
    }
}

/// The connection's task is dropped: nothing of it is left, whatever its destructors do.
fn assert_no_ghost(served: Served) -> Records {
    let (connection, budget) = (served.connection.clone(), served.budget.clone());
    let permit = served.permit();
    let (_, records) = served.abort();
    let late = connection.push(Message::text("late"));
    assert!(late.is_err(), "it takes messages");
    assert_eq!((budget.used(), permit.strong_count()), (0, 0));
    records
}

// covers: XX-04
#[tokio::test(start_paused = true)]
async fn a_task_that_is_dropped_takes_everything_with_it_whatever_its_destructors_do() {
    // Two destructors in one piece of drop glue would end the process.
    let mut served = Served::new(quiet(), Stack(Panics));
    served.send(text("a")).await;
    assert_eq!(assert_no_ghost(served).closed().rule, "aborted");
    // Before it was ever run.
    let records = assert_no_ghost(Served::new(quiet(), Stack(Panics)));
    assert!(records.all_closed().is_empty());
    // While it ends.
    let mut served = Served::new(quiet(), Stack(Panics));
    served.send(text("a")).await;
    served.connection.close(Close::FORBIDDEN);
    served.settle().await;
    assert_eq!(served.peer.close_code(), Some(4403));
    assert_eq!(assert_no_ghost(served).closed().rule, "forbidden");
}

// covers: XX-04
#[tokio::test(start_paused = true)]
async fn who_pushes_one_too_many_does_not_pay_for_the_payloads_that_are_dropped() {
    let mut served = echo(quiet());
    served.settle().await;
    served.peer.room(0);
    for _ in 0..100 {
        let payload = Message::binary(Bytes::from_owner(Panics));
        served.connection.outbound().push(payload).unwrap();
    }
    while served.connection.push(Message::binary(vec![0; 60_000])).is_ok() {}
    served.settle().await;
    served.peer.room(None);
    served.settle().await;
    assert_eq!(served.peer.close_code(), Some(1013));
    assert_eq!(assert_no_ghost(served).closed().rule, "slow_consumer");
}

// covers: XX-04
#[tokio::test(start_paused = true)]
async fn a_payload_that_panics_when_it_has_gone_out_costs_its_connection_and_leaves_no_ghost() {
    let mut served = echo(quiet());
    served.settle().await;
    let payload = Message::binary(Bytes::from_owner(Panics));
    served.connection.outbound().push(payload).unwrap();
    // What tokio does with the panic of a task.
    let turn = AssertUnwindSafe(served.settle()).catch_unwind().await;
    assert!(turn.is_err());
    assert_eq!(assert_no_ghost(served).closed().rule, "aborted");
}

// covers: XX-04
#[tokio::test(start_paused = true)]
async fn payloads_that_panic_and_wait_for_the_socket_cost_their_connection_and_leave_no_ghost() {
    // The task is dropped while they wait; or the first of them panics when it has been written.
    let mut served = echo(quiet());
    served.settle().await;
    served.peer.room(0);
    served.connection.push(Message::binary(vec![0; 60_000])).unwrap();
    for _ in 0..3 {
        let payload = Message::binary(Bytes::from_owner(Panics));
        served.connection.outbound().push(payload).unwrap();
    }
    served.settle().await;
    assert_eq!(assert_no_ghost(served).closed().rule, "aborted");
    let mut served = echo(quiet());
    served.settle().await;
    for _ in 0..3 {
        let payload = Message::binary(Bytes::from_owner(Panics));
        served.connection.outbound().push(payload).unwrap();
    }
    let turn = AssertUnwindSafe(served.settle()).catch_unwind().await;
    assert!(turn.is_err());
    assert_eq!(assert_no_ghost(served).closed().rule, "aborted");
}

// covers: XX-04
#[tokio::test(start_paused = true)]
async fn an_answer_of_which_every_message_panics_costs_its_connection_and_leaves_no_ghost() {
    let config = quiet().max_outbound_messages(NonZeroUsize::new(2).unwrap());
    let answer = |_: Inbound<Message, Anonymous>| {
        let messages = (0..5).map(|_| Message::binary(Bytes::from_owner(Panics)));
        ready(Ok::<_, Failure<Message>>(Reply::many(messages)))
    };
    let mut served = Served::new(config, service_fn(answer));
    served.send(text("a")).await;
    assert_eq!(served.peer.close_code(), Some(1013));
    assert_eq!(assert_no_ghost(served).closed().rule, "slow_consumer");
}

// covers: HS-28
#[tokio::test(start_paused = true)]
async fn a_task_that_is_dropped_says_why_in_one_write_behind_whole_frames_only() {
    let abort = |served: Served| {
        let writes = served.peer.socket().writes;
        let (peer, records) = served.abort();
        let closed = records.closed();
        assert_eq!(closed.bytes_out, peer.socket().written.len() as u64);
        let told = (closed.rule, closed.intended_code, closed.flushed);
        let writes = peer.socket().writes - writes;
        (told, peer.frames().last().cloned(), writes)
    };
    let going_away = Some((8, b"\x03\xe9going away".to_vec()));

    // Also while the handler works, which is over with it.
    let (mut served, alive) = stuck(quiet());
    served.send(text("a")).await;
    assert_eq!(abort(served), (("aborted", Some(1001), true), going_away.clone(), 1));
    assert_eq!(alive.left(), 0);

    // The socket has no room for it, or for a part.
    for room in [0, 5] {
        let mut served = echo(quiet());
        served.settle().await;
        served.peer.room(room);
        assert_eq!(abort(served).0, ("aborted", Some(1001), false));
    }

    // Half a frame is in the way; or one that waits for its turn.
    for room in [2, 0] {
        let mut served = echo(quiet());
        served.peer.room(room);
        served.send(text("a")).await;
        served.peer.room(None);
        let (told, _, writes) = abort(served);
        assert_eq!((told, writes), (("aborted", Some(1001), false), 0));
    }

    // The peer has hung up, or the connection has ended otherwise: once is enough.
    let mut served = echo(quiet());
    served.peer.end();
    served.settle().await;
    assert_eq!(abort(served), (("lost", None, false), None, 0));
    let mut served = echo(quiet());
    served.send(frame(0x88, b"\x03\xe8")).await;
    assert_eq!(
        abort(served),
        (("peer_closed", Some(1000), true), Some((8, b"\x03\xe8".to_vec())), 0)
    );
}

// covers: HS-28, DL-26
#[tokio::test(start_paused = true)]
async fn a_task_that_is_dropped_says_what_it_was_to_say() {
    // The close that nobody has looked at yet.
    let mut served = echo(quiet());
    served.settle().await;
    served.connection.close(Close::FORBIDDEN);
    let (peer, records) = served.abort();
    assert_eq!((peer.close_code(), records.closed().rule), (Some(4403), "forbidden"));

    // The close that waits for the handler: the application's, and the peer's own.
    let (mut served, _) = stuck(quiet());
    served.send(text("a")).await;
    served.connection.close(Close::NORMAL);
    served.settle().await;
    let (peer, records) = served.abort();
    assert_eq!((peer.close_code(), records.closed().rule), (Some(1000), "normal"));
    let (mut served, _) = stuck(quiet());
    served.send(text("a")).await;
    served.connection.close(Close::GOING_AWAY);
    served.settle().await;
    served.connection.close(Close::FORBIDDEN);
    let (peer, records) = served.abort();
    assert_eq!((peer.close_code(), records.closed().rule), (Some(1001), "going_away"));
}
