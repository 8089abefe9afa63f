//! Call the connection's stack: the only place where a message reaches the application's code.
//!
//! There is one message at a time: in the slot until the stack is ready for it, then in the call until
//! that is answered. Readiness is asked for only when there is a message. Whatever is called, polled,
//! converted or dropped here may panic: that is a failure of this connection and of nothing else.
//!
//! The stack's type ends here, so that the driver is compiled once for all of them.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use crate::{
    close::Close,
    connection::Connection,
    foreign,
    layers::{Anonymous, HandlerResult, Inbound, MessageStack, Reply},
    message::Message,
};

/// What a call ends in.
pub(crate) type Outcome = HandlerResult;

/// A stack and the message it is about.
pub(crate) struct Calls {
    /// The connection's own; gone once the connection ends.
    stack: Option<Box<dyn Stack + Send>>,
    slot: Slot,
}

/// Where the one message is.
enum Slot {
    /// There is none.
    Empty,
    /// It was read, and the stack is not ready for it yet.
    Waiting(Message),
    /// It is being handled.
    Calling,
}

impl Calls {
    pub(crate) fn new<S>(stack: S) -> Self
    where
        S: MessageStack + Send + 'static,
        S::Future: Send,
    {
        Self { stack: Some(Box::new(Called { stack, call: None })), slot: Slot::Empty }
    }

    pub(crate) fn is_calling(&self) -> bool {
        matches!(self.slot, Slot::Calling)
    }

    /// Whether a message waits for the stack.
    pub(crate) fn has_message(&self) -> bool {
        matches!(self.slot, Slot::Waiting(_))
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.stack.is_none()
    }

    /// This is the next message.
    pub(crate) fn put(&mut self, message: Message) {
        self.slot = Slot::Waiting(message);
    }

    /// Calls the stack with the message, once it is ready for it, and polls the call. Ready with what that
    /// ended in.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, connection: &Connection) -> Poll<Outcome> {
        match &mut self.stack {
            Some(stack) => stack.poll(cx, &mut self.slot, connection),
            None => Poll::Ready(Ok(Reply::none())),
        }
    }

    /// Whether the last outcome is that of a call, and not of a stack that was never ready. Forgets the
    /// message.
    pub(crate) fn take_called(&mut self) -> bool {
        let called = self.is_calling();
        self.slot = Slot::Empty;
        called
    }

    /// The turn is over: what calls need is given back, unless one is under way.
    #[inline]
    pub(crate) fn rest(&mut self) {
        if let (Some(stack), Slot::Empty) = (&mut self.stack, &self.slot) {
            stack.rest();
        }
    }

    /// Drops the message, the call and the stack. If the destructors panic, the connection ends all
    /// the same.
    pub(crate) fn abort(&mut self) {
        self.slot = Slot::Empty;
        if let Some(mut stack) = self.stack.take() {
            stack.drop_call();
            foreign::discard([stack]);
        }
    }
}

impl Drop for Calls {
    // The task may be dropped in the middle of a call, as at the end of a runtime.
    fn drop(&mut self) {
        self.abort();
    }
}

/// A stack of whatever type. One method for a whole call, because most end as soon as they begin.
trait Stack {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        slot: &mut Slot,
        connection: &Connection,
    ) -> Poll<Outcome>;

    /// There is no call, and none is about to begin.
    fn rest(&mut self);

    /// Drops the call in flight, apart from the stack: of two destructors in one piece of drop glue,
    /// both may panic, and end the process.
    fn drop_call(&mut self);
}

struct Called<S: MessageStack> {
    stack: S,
    /// The one message being handled, in a place that serves all calls of a turn. A connection that is
    /// quiet has none: it is about as large as all else that it has.
    call: Option<Pin<Box<Option<S::Future>>>>,
}

impl<S: MessageStack> Stack for Called<S> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        slot: &mut Slot,
        connection: &Connection,
    ) -> Poll<Outcome> {
        let Self { stack, call } = self;
        let call = call.get_or_insert_with(|| Box::pin(None));
        let failed = || Err(Close::HANDLER_FAILED.into());
        // The error's conversion may be the application's code as well.
        let result = foreign::run(|| {
            if let Slot::Waiting(_) = slot {
                ready!(stack.poll_stack(cx)).map_err(Into::into)?;
                if let Slot::Waiting(message) = std::mem::replace(slot, Slot::Calling) {
                    let inbound = Inbound::new(message, Anonymous::claim(), connection.clone());
                    call.set(Some(stack.call_stack(inbound)));
                }
            }
            match call.as_mut().as_pin_mut() {
                Some(call) => call.poll(cx).map_err(Into::into),
                None => Poll::Ready(Ok(Reply::none())),
            }
        });
        let result = match result {
            Some(Poll::Pending) => return Poll::Pending,
            Some(Poll::Ready(result)) => result,
            None => failed(),
        };
        // Apart from what it ended in: of two destructors that panic, the second ends the process.
        let dropped = foreign::run(|| call.set(None));
        Poll::Ready(if dropped.is_some() { result } else { failed() })
    }

    fn rest(&mut self) {
        self.call = None;
    }

    fn drop_call(&mut self) {
        if let Some(call) = &mut self.call {
            let _ = foreign::run(|| call.set(None));
        }
    }
}
