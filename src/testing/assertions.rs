//! What handlers answer, and what many peers hear.

use std::{convert::Infallible, future::Future, panic::Location};

use super::{
    TestConnection, TestPeer,
    content::{Content, matches, shown},
};
use crate::{
    close::CloseReason,
    message::{Failure, Message, Reply},
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
        Err(Failure::Close(reason)) => return Err(reason),
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
    let expected = expected.message();
    match replies(answer).as_deref() {
        Ok([actual]) if matches(&expected, &actual.message()) => {}
        Ok(actual) => {
            let actual: Vec<_> = actual.iter().map(|it| shown(&it.message())).collect();
            panic!("expected the reply {}, not {actual:?}", shown(&expected));
        }
        Err(reason) => panic!("expected the reply {}, not {reason:?}", shown(&expected)),
    }
}

/// Expects the next message that was pushed to a [`TestConnection`] to be `expected`.
///
/// # Panics
///
/// If it is not.
#[track_caller]
pub fn assert_push(connection: &mut TestConnection, expected: impl Content) {
    let (expected, actual) = (expected.message(), connection.pushed());
    if !actual.as_ref().is_some_and(|actual| matches(&expected, actual)) {
        let actual = actual.as_ref().map(shown);
        panic!("expected the push {}, not {actual:?}", shown(&expected));
    }
}

/// Expects `expected` to be the next thing that each of `peers` hears: [`TestPeer`]s or
/// [`TestConnection`]s.
///
/// # Panics
///
/// If one hears something else.
#[track_caller]
pub fn assert_broadcast<'a, P: Listener + 'a>(
    peers: impl IntoIterator<Item = &'a mut P>,
    expected: impl Content,
) -> impl Future<Output = ()> {
    let (at, expected) = (Location::caller(), expected.message());
    async move {
        for peer in peers {
            peer.assert_hears(at, &expected).await;
        }
    }
}

/// Whoever can be a member of a room.
pub trait Listener: sealed::Listener {}

impl Listener for TestPeer {}
impl Listener for TestConnection {}

mod sealed {
    use super::*;

    #[expect(unnameable_types, reason = "which seals it")]
    pub trait Listener {
        fn assert_hears(
            &mut self,
            at: &'static Location<'static>,
            expected: &Message,
        ) -> impl Future<Output = ()>;
    }

    impl Listener for TestPeer {
        async fn assert_hears(&mut self, at: &'static Location<'static>, expected: &Message) {
            self.expect(at, "the broadcast", expected.clone()).await;
        }
    }

    impl Listener for TestConnection {
        async fn assert_hears(&mut self, at: &'static Location<'static>, expected: &Message) {
            let actual = self.pushed();
            let heard = actual.as_ref().is_some_and(|actual| matches(expected, actual));
            let actual = actual.as_ref().map(shown);
            assert!(heard, "{at}: expected the broadcast {}, not {actual:?}", shown(expected));
        }
    }
}
