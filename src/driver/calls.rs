//! Call the connection's stack: the only place where a message reaches the application's code.
//!
//! There is one message at a time: in the slot until the stack is ready for it, then in the call until
//! that is answered. Readiness is asked for only when there is a message. Whatever is called, polled,
//! converted or dropped here may panic: that is a failure of this connection and of nothing else.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

use crate::{
    close::Close,
    connection::Connection,
    foreign,
    layers::{Anonymous, Failure, HandlerResult, Inbound, MessageStack, Reply},
    message::Message,
};

/// What a call ends in.
pub(crate) type Outcome = HandlerResult;

pin_project! {
    /// A stack and the message it is about.
    pub(crate) struct Calls<S>
    where
        S: MessageStack,
    {
        // The connection's own; gone once the connection ends.
        stack: Option<S>,
        // The one message being handled.
        #[pin]
        call: Option<S::Future>,
        // The one message that was read and for which the stack is not ready yet.
        slot: Option<Message>,
    }

    impl<S> PinnedDrop for Calls<S>
    where
        S: MessageStack,
    {
        // The task may be dropped in the middle of a call, as at the end of a runtime.
        fn drop(this: Pin<&mut Self>) {
            this.abandon();
        }
    }
}

impl<S> Calls<S>
where
    S: MessageStack,
{
    pub(crate) fn new(stack: S) -> Self {
        Self { stack: Some(stack), call: None, slot: None }
    }

    /// Drops the call, the message and the stack. If the destructors panic, the connection ends all
    /// the same.
    pub(crate) fn abandon(self: Pin<&mut Self>) {
        let mut this = self.project();
        *this.slot = None;
        let _ = foreign::run(|| this.call.set(None));
        foreign::discard(this.stack.take());
    }
}

impl<S> Calls<S>
where
    S: MessageStack,
{
    pub(crate) fn is_calling(&self) -> bool {
        self.call.is_some()
    }

    /// Whether a message waits for the stack.
    pub(crate) fn has_message(&self) -> bool {
        self.slot.is_some()
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.stack.is_none()
    }

    /// This is the next message.
    pub(crate) fn put(self: Pin<&mut Self>, message: Message) {
        *self.project().slot = Some(message);
    }

    /// Polls the call in flight. Ready with what it ended in.
    pub(crate) fn poll_call(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let mut this = self.project();
        let Some(call) = this.call.as_mut().as_pin_mut() else {
            return Poll::Ready(Ok(Reply::none()));
        };
        // The error's conversion may be the application's code as well.
        let failed = || Err(Close::HANDLER_FAILED.into());
        let result = match foreign::run(|| call.poll(cx).map_err(Into::into)) {
            Some(Poll::Pending) => return Poll::Pending,
            Some(Poll::Ready(result)) => result,
            None => failed(),
        };
        let dropped = foreign::run(|| this.call.set(None));
        Poll::Ready(if dropped.is_some() { result } else { failed() })
    }

    /// Makes the stack ready for the message in the slot, and calls it. On a failure the message is
    /// gone.
    pub(crate) fn poll_slot(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        connection: &Connection,
    ) -> Poll<Result<(), Failure<Message>>> {
        let mut this = self.project();
        let Some(stack) = this.stack.as_mut() else {
            return Poll::Ready(Ok(()));
        };
        let called = foreign::run(|| {
            ready!(stack.poll_stack(cx)).map_err(Into::into)?;
            if let Some(message) = this.slot.take() {
                let inbound = Inbound::new(message, Anonymous::claim(), connection.clone());
                this.call.set(Some(stack.call_stack(inbound)));
            }
            Poll::Ready(Ok(()))
        });
        let called = called.unwrap_or(Poll::Ready(Err(Close::HANDLER_FAILED.into())));
        if let Poll::Ready(Err(_)) = called {
            *this.slot = None;
        }
        called
    }
}
