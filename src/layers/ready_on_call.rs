//! Make an inner service ready only for a message that will reach it.
//!
//! A service that is ready may hold something for the call that follows: tower's `ConcurrencyLimit`
//! takes its permit in `poll_ready`. A layer that polls its inner service ready, and then answers the
//! message itself, leaves that permit with a connection that may say nothing for hours; a handful of
//! such connections would hold every permit there is. [`ReadyOnCall`] asks for readiness inside the call,
//! once the layer has decided to hand the message on.
//!
//! Nearly always the service is ready, and the call is made on the spot. If it is not, the service
//! moves into the call's future to wait there, and comes back when it has been called.
//!
//! A future that is dropped before that, by a timeout layer for instance, takes the service with it,
//! and closes the connection with 1013: the service stands in line for something, gets it when
//! it is not wanted any more, and would keep it until the peer says something again. There is no other way
//! to leave the line.
//!
//! A layer that lets a message wait for something of its own puts a [`Gate`] before all that: the
//! service waits behind it without having asked for anything, and who is dropped there leaves nothing
//! behind.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use tower_service::Service;

use crate::{
    close::Close,
    connection::Connection,
    foreign,
    layers::{
        Failure, Inbound, Reply,
        future::{Answer, ResponseFuture},
    },
};

/// An inner service that is made ready in the call.
pub(crate) struct ReadyOnCall<S> {
    /// None while it waits inside a call's future.
    service: Option<S>,
    /// Where it comes back to.
    returned: Option<Slot<S>>,
}

type Slot<S> = Arc<Mutex<Option<S>>>;

/// Ready when the message may go on.
pub(crate) type Gate = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<S> ReadyOnCall<S> {
    pub(crate) fn new(service: S) -> Self {
        Self { service: Some(service), returned: None }
    }

    /// Makes the service ready, and calls it with `request`. What it says goes by `answer`.
    pub(crate) fn call<M, P, Inner, R, A>(
        &mut self,
        request: Inbound<M, P>,
        mut answer: A,
    ) -> ResponseFuture<S, Inbound<M, P>, R, A>
    where
        S: Service<Inbound<M, P>, Response = Reply<Inner>>,
        S::Error: Into<Failure<Inner>>,
        A: Answer<Inner, R>,
    {
        let Some(service) = self.get() else {
            return ResponseFuture::ready(answer.answer(Err(Close::HANDLER_FAILED.into())));
        };
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => ResponseFuture::called(service.call(request), answer),
            Poll::Ready(Err(error)) => ResponseFuture::ready(answer.answer(Err(error.into()))),
            // No task will be woken; the future's first poll, right after this, asks again.
            Poll::Pending => ResponseFuture::waiting(self.wait(None, request), answer),
        }
    }

    /// The same, once `gate` is ready.
    pub(crate) fn call_behind<M, P, R, A>(
        &mut self,
        gate: Gate,
        request: Inbound<M, P>,
        answer: A,
    ) -> ResponseFuture<S, Inbound<M, P>, R, A>
    where
        S: Service<Inbound<M, P>>,
    {
        match self.get() {
            Some(_) => ResponseFuture::waiting(self.wait(Some(gate), request), answer),
            None => ResponseFuture::refused(Close::HANDLER_FAILED),
        }
    }

    /// The service, wherever it was left. None if there are two calls at once and the first one still
    /// waits, which the driver never does.
    fn get(&mut self) -> Option<&mut S> {
        if let Some(slot) = self.returned.take() {
            self.service = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        self.service.as_mut()
    }

    /// The service moves out, to wait.
    fn wait<M, P>(
        &mut self,
        gate: Option<Gate>,
        request: Inbound<M, P>,
    ) -> Waiting<S, Inbound<M, P>> {
        let slot = Slot::default();
        self.returned = Some(Arc::clone(&slot));
        let connection = request.connection().clone();
        let service = self.service.take();
        Waiting { gate, service, request: Some(request), slot, connection }
    }
}

impl<S: fmt::Debug> fmt::Debug for ReadyOnCall<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyOnCall").field("service", &self.service).finish_non_exhaustive()
    }
}

/// A service that waits to be ready, and then goes back.
pub(crate) struct Waiting<S, Request> {
    /// None once it is open: the service is asked whether it is ready.
    gate: Option<Gate>,
    /// None once it waits no longer.
    service: Option<S>,
    request: Option<Request>,
    slot: Slot<S>,
    connection: Connection,
}

impl<S: Service<Request>, Request> Waiting<S, Request> {
    /// The call, or the error of a service that does not get ready; none if it was polled to its end.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<S::Future, S::Error>>> {
        if let Some(gate) = &mut self.gate {
            ready!(gate.as_mut().poll(cx));
            self.gate = None;
        }
        let Some(service) = &mut self.service else {
            return Poll::Ready(None);
        };
        let ready = ready!(service.poll_ready(cx));
        let called = ready.map(|()| self.request.take().map(|request| service.call(request)));
        self.give_back();
        Poll::Ready(called.transpose())
    }
}

impl<S, Request> Waiting<S, Request> {
    fn give_back(&mut self) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = self.service.take();
    }
}

impl<S, Request> Drop for Waiting<S, Request> {
    fn drop(&mut self) {
        if self.gate.is_some() {
            self.give_back();
        } else if self.service.is_some() {
            self.connection.close(Close::OVERLOADED);
        }
        // Both are the application's: of two that panic in one piece of drop glue, the second would end
        // the process.
        foreign::discard(self.request.take());
        foreign::discard(self.service.take());
    }
}
