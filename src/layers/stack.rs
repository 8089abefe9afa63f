//! Say what a connection asks of the layers that its messages go through.

use std::{
    future::Future,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{Anonymous, Failure, Inbound, Reply};
use crate::message::Message;

/// A stack that takes what a connection gives: a [`Message`] of a peer that has shown nothing yet.
///
/// Every [`Service`] of `Inbound<Message, Anonymous>` that answers with a `Reply<Message>`, and whose
/// error is or becomes a [`Failure`], is one. There is nothing to implement. What is not one is told of at
/// the layer or handler that does not fit: [`Reads`](super::Reads), [`RateKey`](super::RateKey).
pub trait MessageStack {
    /// What a call ends in if it fails.
    type Error: Into<Failure<Message>>;

    /// A message on its way.
    type Future: Future<Output = Result<Reply<Message>, Self::Error>>;

    #[doc(hidden)]
    fn poll_stack(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>>;

    #[doc(hidden)]
    fn call_stack(&mut self, inbound: Inbound<Message, Anonymous>) -> Self::Future;
}

impl<S> MessageStack for S
where
    S: Service<Inbound<Message, Anonymous>, Response = Reply<Message>>,
    S::Error: Into<Failure<Message>>,
{
    type Error = S::Error;
    type Future = S::Future;

    fn poll_stack(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.poll_ready(cx)
    }

    fn call_stack(&mut self, inbound: Inbound<Message, Anonymous>) -> S::Future {
        self.call(inbound)
    }
}
