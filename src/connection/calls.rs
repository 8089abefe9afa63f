//! Call the connection's stack: the only place where a message reaches the application's code.
//!
//! There is one message at a time: in the slot until the stack is ready for it, then in the call until
//! that is answered. Readiness is asked for only when there is a message. Whatever is called, polled,
//! converted or dropped here may panic: that is a failure of this connection and of nothing else.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    close::CloseReason,
    handle::Connection,
    message::{Anonymous, Failure, Inbound, Message, Reply},
};

/// What a call ends in.
pub(crate) type Outcome = Result<Reply<Message>, Failure<Message>>;

pin_project! {
    /// A stack and the message it is about.
    pub(crate) struct Calls<S>
    where
        S: Service<Inbound<Message, Anonymous>>,
    {
        // The connection's own; gone once the connection ends.
        stack: Option<S>,
        // The one message being handled.
        #[pin]
        call: Option<S::Future>,
        call_began: Option<Instant>,
        // The one message that was read and for which the stack is not ready yet.
        slot: Option<Message>,
    }
}

impl<S> Calls<S>
where
    S: Service<Inbound<Message, Anonymous>, Response = Reply<Message>>,
    S::Error: Into<Failure<Message>>,
{
    pub(crate) fn new(stack: S) -> Self {
        Self { stack: Some(stack), call: None, call_began: None, slot: None }
    }

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

    /// Polls the call in flight. Ready with what it ended in, and the time from when it was first
    /// found pending.
    pub(crate) fn poll_call(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Poll<(Outcome, Duration)> {
        let mut this = self.project();
        let Some(call) = this.call.as_mut().as_pin_mut() else {
            return Poll::Ready((Ok(Reply::none()), Duration::ZERO));
        };
        // The error's conversion may be the application's code as well.
        let polled = catch_unwind(AssertUnwindSafe(|| call.poll(cx).map_err(Into::into)));
        let result = match polled {
            Ok(Poll::Pending) => {
                this.call_began.get_or_insert(now);
                return Poll::Pending;
            }
            Ok(Poll::Ready(result)) => result,
            Err(_panic) => Err(CloseReason::HandlerFailed.into()),
        };
        let began = this.call_began.take().unwrap_or(now);
        let dropped = catch_unwind(AssertUnwindSafe(|| this.call.set(None)));
        let result = match dropped {
            Ok(()) => result,
            Err(_panic) => Err(CloseReason::HandlerFailed.into()),
        };
        Poll::Ready((result, now.saturating_duration_since(began)))
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
        let called = catch_unwind(AssertUnwindSafe(|| {
            ready!(stack.poll_ready(cx)).map_err(Into::into)?;
            if let Some(message) = this.slot.take() {
                let inbound = Inbound::new(message, Anonymous::claim(), connection.clone());
                this.call.set(Some(stack.call(inbound)));
            }
            Poll::Ready(Ok(()))
        }));
        let called = called.unwrap_or(Poll::Ready(Err(CloseReason::HandlerFailed.into())));
        if let Poll::Ready(Err(_)) = called {
            *this.slot = None;
        }
        called
    }

    /// Drops the call, the message and the stack. If the destructors panic, the connection ends all
    /// the same.
    pub(crate) fn abandon(self: Pin<&mut Self>) {
        let mut this = self.project();
        *this.slot = None;
        let _ = catch_unwind(AssertUnwindSafe(|| this.call.set(None)));
        let stack = this.stack.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(stack)));
    }
}
