//! Where deadlines, grace and a slow stack meet.
use super::{
    state_operation::{Operation::*, Run},
    support::{Served, echo, frame, quiet, text},
};
use crate::{
    close::Close,
    driver::ConnectionConfig,
    layers::{Anonymous, Failure, Inbound, Reply},
    message::Message,
};
use std::{
    future::{pending, ready},
    task::{Context, Poll},
    time::Duration,
};
use tower::service_fn;
use tower_service::Service;
type Answer = Result<Reply<Message>, Failure<Message>>;

struct NeverReady;
impl Service<Inbound<Message, Anonymous>> for NeverReady {
    type Response = Reply<Message>;
    type Error = Failure<Message>;
    type Future = std::future::Ready<Answer>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Pending
    }
    fn call(&mut self, _: Inbound<Message, Anonymous>) -> Self::Future {
        ready(Ok(Reply::none()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_is_never_ready_has_a_deadline_too() {
    let mut served = Served::new(ConnectionConfig::new(), NeverReady);
    served.send(text("a")).await;
    served.peer.end();
    for _ in 0..3600 {
        served.settle().await;
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    served.settle().await;
    assert!(served.done, "an hour after its peer has gone");
}

#[test]
fn a_peer_whose_messages_wait_unread_is_not_idle() {
    let config = ConnectionConfig::new().idle_timeout(Duration::from_secs(10));
    let run = Run::new(config).apply_all(&[
        Authenticated(None),
        Message,
        CallPending,
        Reads(false),
        Wait(15_000),
        CallFinished,
        Reads(true),
        Message,
    ]);
    assert_eq!(run.rule(), None);
}

#[tokio::test(start_paused = true)]
async fn a_fault_right_after_a_grace_still_cuts_it_short() {
    let mut served =
        Served::new(quiet(), service_fn(|_: Inbound<Message, Anonymous>| pending::<Answer>()));
    served.send(text("a")).await;
    served.connection.close(Close::NORMAL);
    served.connection.close(Close::FORBIDDEN);
    served.settle().await;
    assert!(served.connection.push(Message::text("a")).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_large_message_slower_than_the_pong_timeout_is_life() {
    // message_timeout raised above pong_timeout: the pong stands behind the message on the wire.
    let run = Run::new(ConnectionConfig::new().message_timeout(Duration::from_secs(60)));
    let run = run.apply_all(&[
        Authenticated(None),
        Wait(29_000),
        Partial(Some(1)),
        Wait(1000),
        Ping,
        Output { pending: false, taken: 1 },
        Wait(15_000),
        Partial(None),
        Message,
        Pong(0),
    ]);
    assert_eq!(run.rule(), None);
}

#[tokio::test(start_paused = true)]
async fn a_kept_slice_of_a_peers_buffer_is_copied_when_the_buffer_has_moved_on() {
    let big = bytes::Bytes::from(vec![0; 16 * 1024]);
    let at = big.as_ptr();
    let kept = big.slice(..1);
    drop(big);
    assert_ne!(Message::Binary(kept).detached().as_bytes().as_ptr(), at);
}

/// Says no, after a while.
#[derive(Default)]
struct NoAfterAll(u32);

impl Service<Inbound<Message, Anonymous>> for NoAfterAll {
    type Response = Reply<Message>;
    type Error = Failure<Message>;
    type Future = std::future::Ready<Answer>;
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0 += 1;
        if self.0 % 2 == 1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Err(Failure::Reply(Message::text("no"))))
    }
    fn call(&mut self, _: Inbound<Message, Anonymous>) -> Self::Future {
        ready(Ok(Reply::none()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_the_stack_would_not_take_has_no_deadline_any_more() {
    let mut served = Served::new(quiet(), NoAfterAll::default());
    served.send(text("a")).await;
    assert_eq!(served.peer.texts(), ["no"]);
    served.wait(31_000).await;
    served.send(text("a")).await;
    assert_eq!(served.peer.texts().len(), 2);
}

// covers: FR-28
#[tokio::test(start_paused = true)]
async fn a_reply_to_what_came_before_the_goodbye_is_sent() {
    let mut served = echo(quiet());
    served.send([text("a"), frame(0x88, b"\x03\xe8")].concat()).await;
    assert_eq!(served.peer.texts(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_ping_may_be_longer_than_a_message() {
    let limit = std::num::NonZeroUsize::MIN;
    let mut served = echo(quiet().max_message_size(limit));
    served.send(frame(0x89, [b'p'; 125])).await;
    assert_eq!(served.peer.frames(), [(0x0a, vec![b'p'; 125])]);
    served.send(text("ab")).await;
    assert_eq!(served.peer.close_code(), Some(1009));
}

// covers: DL-12
// holds: I3
#[tokio::test(start_paused = true)]
async fn what_was_read_is_charged_until_it_is_handled_and_no_longer() {
    let mut served = echo(quiet());
    let message = text(&"x".repeat(60_000));
    let (half, rest) = message.split_at(40_000);
    served.send(half).await;
    assert!(served.budget.used() >= 40_000, "{}", served.budget.used());
    served.send(rest).await;
    assert_eq!(served.peer.texts().len(), 1);
    // The buffers that it made grow are kept for a moment, for the next one.
    assert!(served.budget.used() >= 60_000, "{}", served.budget.used());
    served.wait(1000).await;
    assert_eq!(served.budget.used(), 0);
    // Nor is what no handler sees.
    served.send(frame(0x8a, [0; 125]).repeat(40)).await;
    assert_eq!((served.done, served.budget.used()), (false, 0));
}

// covers: DL-23
// holds: I3
#[tokio::test(start_paused = true)]
async fn a_peer_that_is_always_behind_is_charged_for_what_waits_and_not_for_all_it_was_ever_sent() {
    let mut served = echo(quiet());
    served.settle().await;
    served.peer.room(15_000);
    let message = || Message::binary(vec![b'x'; 60_000]);
    for _ in 0..4 {
        served.connection.push(message()).unwrap();
    }
    served.settle().await;
    // Each time the socket takes half a message, and never all that was written ahead for it.
    for step in 0..1000 {
        served.peer.room(30_000);
        served.settle().await;
        if step % 2 == 0 {
            served.connection.push(message()).unwrap();
        }
        let (queued, in_flight, _) = served.connection.outbound().counted();
        let (used, held) = (served.budget.used(), queued + in_flight);
        assert!(used <= 2 * held.max(100_000), "{step}: {used} for {held}");
    }
}

/// Takes one message, and then none.
#[derive(Default)]
struct TakesOne(bool);

impl Service<Inbound<Message, Anonymous>> for TakesOne {
    type Response = Reply<Message>;
    type Error = Failure<Message>;
    type Future = std::future::Ready<Answer>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.0 { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
    fn call(&mut self, _: Inbound<Message, Anonymous>) -> Self::Future {
        self.0 = true;
        ready(Ok(Reply::none()))
    }
}

// covers: DL-23
#[tokio::test(start_paused = true)]
async fn a_small_message_that_waits_for_its_stack_is_charged_with_the_buffer_that_it_is_part_of() {
    let mut served = Served::new(quiet(), TakesOne::default());
    served.send([text(&"x".repeat(60_000)), text("y")].concat()).await;
    assert!(served.budget.used() >= 60_000);
    served.wait(5000).await;
    assert!(served.budget.used() >= 60_000, "{}", served.budget.used());
}
