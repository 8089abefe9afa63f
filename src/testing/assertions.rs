//! What handlers answer, and what many peers hear.

use std::{convert::Infallible, future::Future, panic::Location};

use super::{
    Received, TestConnection, TestPeer,
    content::{Content, shown},
};
use crate::{
    close::CloseReason,
    layers::{Failure, Reply},
};

/// The messages that a handler answered with, an error reply included.
///
/// # Errors
///
/// The reason, if it closes the connection.
pub fn replies<R, E: Into<Failure<R>>>(answer: Result<Reply<R>, E>) -> Result<Vec<R>, CloseReason> {
    let reply = match answer.map_err(Into::into) {
        Ok(reply) => reply,
        Err(Failure::Reply(message)) => Reply::one(message),
        Err(Failure::Close(close)) => return Err(close.into()),
    };
    let mut messages = Vec::new();
    let Ok(()) = reply.try_for_each(|message| {
        messages.push(message);
        Ok::<_, Infallible>(())
    });
    Ok(messages)
}

/// Expects a handler to have answered with one message, which may be an error reply.
///
/// # Panics
///
/// If it did not.
#[track_caller]
pub fn assert_reply<R: Content, E: Into<Failure<R>>>(
    answer: Result<Reply<R>, E>,
    expected: impl Content,
) {
    let expected = expected.expected();
    match replies(answer).as_deref() {
        Ok([actual]) if expected.matches(&actual.message()) => {}
        Ok(actual) => {
            let actual: Vec<_> = actual.iter().map(|it| shown(&it.message())).collect();
            panic!("expected the reply {}, not {actual:?}", expected.shown());
        }
        Err(reason) => panic!("expected the reply {}, not {reason:?}", expected.shown()),
    }
}

/// Expects a handler to have closed the connection for this reason.
///
/// # Panics
///
/// If it did not.
#[track_caller]
pub fn assert_closed<R, E: Into<Failure<R>>>(
    answer: Result<Reply<R>, E>,
    expected: impl Into<CloseReason>,
) {
    let closed = replies(answer).map(|replies| replies.len());
    assert_eq!(closed, Err(expected.into()), "how many replies there were, or why it closed");
}

/// Expects the next message that was pushed to a [`TestConnection`] to be `expected`.
///
/// # Panics
///
/// If it is not.
#[track_caller]
pub fn assert_push(connection: &mut TestConnection, expected: impl Content) {
    let (expected, actual) = (expected.expected(), connection.pushed());
    if !actual.as_ref().is_some_and(|actual| expected.matches(actual)) {
        let actual = actual.as_ref().map(shown);
        panic!("expected the push {}, not {actual:?}", expected.shown());
    }
}

/// Expects `expected` to be the next thing that each of `peers` hears: [`TestPeer`]s or
/// [`TestConnection`]s.
///
/// # Panics
///
/// If one hears something else, or if there are no peers, which would show nothing.
#[track_caller]
pub fn assert_broadcast<'a, P: Listener + 'a>(
    peers: impl IntoIterator<Item = &'a mut P>,
    expected: impl Content,
) -> impl Future<Output = ()> {
    let (at, expected) = (Location::caller(), expected.expected());
    async move {
        let mut count = 0;
        for (nth, peer) in peers.into_iter().enumerate() {
            count += 1;
            let heard = peer.next_received().await;
            let Some(Received::Message(actual)) = &heard else {
                panic!("{at}: peer {nth}: expected {}, not {heard:?}", expected.shown());
            };
            let (wanted, actual) = (expected.shown(), (expected.matches(actual), shown(actual)));
            assert!(actual.0, "{at}: peer {nth}: expected {wanted}, not {}", actual.1);
        }
        assert!(count > 0, "{at}: there are no peers to hear {}", expected.shown());
    }
}

/// What can be a member of a room.
pub trait Listener: sealed::Listener {}

impl Listener for TestPeer {}
impl Listener for TestConnection {}

mod sealed {
    use super::*;

    #[expect(unnameable_types, reason = "which seals it")]
    pub trait Listener {
        /// What it hears next, if anything.
        fn next_received(&mut self) -> impl Future<Output = Option<Received>>;
    }

    impl Listener for TestPeer {
        async fn next_received(&mut self) -> Option<Received> {
            self.next().await
        }
    }

    impl Listener for TestConnection {
        async fn next_received(&mut self) -> Option<Received> {
            self.pushed().map(Received::Message)
        }
    }
}
