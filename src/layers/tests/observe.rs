//! What became of messages, as a function is told.

use std::{
    future::{pending, poll_fn},
    panic::AssertUnwindSafe,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use tower::{Service as _, service_fn};

use super::*;
use crate::{layers::Anonymous, message::Message, testing::TestConnection};

type Seen = Arc<Mutex<Vec<(MessageOutcome, Duration)>>>;

fn observing(seen: &Seen) -> ObserveLayer<impl Fn(&Observed<'_>) + use<>> {
    let seen = Arc::clone(seen);
    ObserveLayer::new(move |observed| {
        let told = (observed.outcome().clone(), observed.elapsed());
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(told);
    })
}

async fn handle(inbound: Inbound<Message, Anonymous>) -> HandlerResult {
    tokio::time::sleep(Duration::from_millis(7)).await;
    match inbound.message.as_text() {
        Some("refuse") => Err(Failure::Reply(inbound.message)),
        Some("close") => Err(Close::INVALID_MESSAGE.into()),
        Some("never") => pending().await,
        Some("panic") => panic!("the handler's own"),
        _ => Ok(Reply::one(inbound.message)),
    }
}

#[tokio::test(start_paused = true)]
async fn each_message_is_told_of_once_with_what_it_ended_in_and_how_long_that_took() {
    let seen = Seen::default();
    let mut stack = observing(&seen).layer(service_fn(handle));
    let peer = TestConnection::new();
    for text in ["hello", "refuse", "close", "never", "panic"] {
        let inbound = peer.inbound(Message::text(text), Anonymous::claim());
        poll_fn(|cx| stack.poll_ready(cx)).await.unwrap();
        let call = stack.call(inbound);
        let call = tokio::time::timeout(Duration::from_millis(20), call);
        drop(AssertUnwindSafe(call).catch_unwind().await);
    }
    let (seven, twenty) = (Duration::from_millis(7), Duration::from_millis(20));
    let expected = [
        (MessageOutcome::Handled, seven),
        (MessageOutcome::Refused, seven),
        (MessageOutcome::Closed(Close::INVALID_MESSAGE), seven),
        (MessageOutcome::Dropped, twenty),
        (MessageOutcome::Dropped, seven),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

// covers: XX-01
#[tokio::test]
async fn a_function_that_panics_changes_nothing() {
    let layer = ObserveLayer::new(|_| panic!("the function is broken"));
    let echo =
        async |inbound: Inbound<Message, Anonymous>| Ok::<_, Close>(Reply::one(inbound.message));
    let mut stack = layer.layer(service_fn(echo));
    let peer = TestConnection::new();
    let inbound = peer.inbound(Message::text("hello"), Anonymous::claim());
    assert_eq!(stack.call(inbound).await, Ok(Reply::one(Message::text("hello"))));
}
