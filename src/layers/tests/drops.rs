//! Destructors of the application's that panic, among what the layers hold: none ends the process.
//!
//! Two that panic in one piece of drop glue, or one while another panic goes by, would: then this test
//! binary is gone.

use std::{
    future::{pending, poll_fn},
    panic::AssertUnwindSafe,
    task::{Context, Poll},
};

use futures_util::FutureExt;
use tower::{ServiceBuilder, service_fn};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    foreign,
    layers::{
        Anonymous, Decode, DecodeError, DecodeLayer, Encode, EncodeError, Failure, Handler,
        HandlerResult, HandlerService, Inbound, ObserveLayer, Reply,
    },
    message::Message,
    testing::TestConnection,
};

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("in a destructor of the application's");
    }
}

/// Reads anything, and writes it or not.
#[derive(Clone, Copy)]
struct Codec {
    writes: bool,
}

impl Decode<()> for Codec {
    fn decode(&self, _: &Message) -> Result<(), DecodeError> {
        Ok(())
    }
}

impl Encode<Bomb> for Codec {
    fn encode(&self, _: &Bomb) -> Result<Message, EncodeError> {
        if self.writes { Ok(Message::text("written")) } else { Err(EncodeError::new()) }
    }
}

fn bombs() -> Reply<Bomb> {
    Reply::many([Bomb, Bomb, Bomb])
}

fn inbound<M>(message: M) -> Inbound<M, Anonymous> {
    TestConnection::new().inbound(message, Anonymous::claim())
}

// covers: XX-04
#[tokio::test]
async fn an_answer_of_which_every_part_panics_is_written_or_not() {
    for writes in [true, false] {
        let handler = service_fn(async |_: Inbound<(), Anonymous>| Ok::<_, Failure<Bomb>>(bombs()));
        let mut stack = DecodeLayer::<(), _>::new(Codec { writes }).anonymous().layer(handler);
        let answer = AssertUnwindSafe(stack.call(inbound(Message::text("a"))));
        drop(answer.catch_unwind().await);
    }
}

// covers: XX-04
#[test]
fn an_answer_that_nobody_wants_is_dropped_whole() {
    assert_eq!(foreign::run(|| drop(bombs())), Some(()));
    // The first panics where it is read; the others are dropped while that goes by.
    let _ = foreign::run(|| drop(bombs().try_map(|_: Bomb| Err::<(), _>(()))));
}

/// Never ready, and a bomb.
struct Never(Bomb);

impl Service<Inbound<Bomb, Anonymous>> for Never {
    type Response = Reply<Message>;
    type Error = Failure<Message>;
    type Future = std::future::Pending<HandlerResult>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Pending
    }

    fn call(&mut self, _: Inbound<Bomb, Anonymous>) -> Self::Future {
        pending()
    }
}

// covers: XX-04
#[tokio::test]
async fn a_message_that_waits_for_a_service_is_dropped_apart_from_it() {
    let mut stack = ObserveLayer::new(|_| ()).layer(Never(Bomb));
    let mut call = Box::pin(stack.call(inbound(Bomb)));
    assert!((&mut call).now_or_never().is_none());
    assert_eq!(foreign::run(|| drop(call)), Some(()));
}

/// Waits with its message in its hands.
struct Slow(Bomb);

impl Handler<Bomb, Anonymous> for Slow {
    type Reply = Message;

    async fn handle(&mut self, _inbound: Inbound<Bomb, Anonymous>) -> HandlerResult {
        pending().await
    }
}

// covers: XX-04
#[tokio::test]
async fn a_handler_that_is_given_up_is_dropped_apart_from_its_message() {
    let mut stack = ServiceBuilder::new().service(HandlerService::new(Slow(Bomb)));
    let mut call = Box::pin(stack.call(inbound(Bomb)));
    assert!((&mut call).now_or_never().is_none());
    let _ = foreign::run(|| drop(call));
    assert!(poll_fn(|cx| stack.poll_ready(cx)).await.is_err(), "it is gone");
}
