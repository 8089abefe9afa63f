//! The future of the layers that check a message and hand it on.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    close::Close,
    layers::{Failure, HandlerResult, Reply, ready_on_call::Waiting},
    opaque::opaque_debug,
};

pin_project! {
    /// Response future of the layers: the answer of the service `S` to what a layer handed on, or the
    /// layer's own.
    ///
    /// `A` says what the layer makes of the service's answer: nothing, unless it is named.
    pub struct ResponseFuture<S, Request, R, A = Unchanged>
    where
        S: Service<Request>,
    {
        #[pin]
        kind: Kind<S, Request, R, A>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<S, Request, R, A>
    where
        S: Service<Request>,
    {
        Waiting { waiting: Waiting<S, Request>, answer: Option<A> },
        // The call is dropped before `answer`, which may tell of its end.
        Called { #[pin] call: S::Future, answer: A },
        Boxed { future: BoxAnswer<R> },
        Ready { answer: Option<HandlerResult<R>> },
    }
}

type BoxAnswer<R> = Pin<Box<dyn Future<Output = HandlerResult<R>> + Send>>;

/// What a layer makes of the answer `Inner` of the service behind it.
pub(crate) trait Answer<Inner, R> {
    /// Called once at most.
    fn answer(&mut self, inner: HandlerResult<Inner>) -> HandlerResult<R>;
}

/// The answer is the service's.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unchanged;

impl<R> Answer<R, R> for Unchanged {
    #[inline]
    fn answer(&mut self, inner: HandlerResult<R>) -> HandlerResult<R> {
        inner
    }
}

impl<S: Service<Request>, Request, R, A> ResponseFuture<S, Request, R, A> {
    pub(crate) fn called(call: S::Future, answer: A) -> Self {
        Self { kind: Kind::Called { call, answer } }
    }

    pub(crate) fn waiting(waiting: Waiting<S, Request>, answer: A) -> Self {
        Self { kind: Kind::Waiting { waiting, answer: Some(answer) } }
    }

    pub(crate) fn boxed(future: BoxAnswer<R>) -> Self {
        Self { kind: Kind::Boxed { future } }
    }

    pub(crate) fn ready(answer: HandlerResult<R>) -> Self {
        Self { kind: Kind::Ready { answer: Some(answer) } }
    }

    pub(crate) fn refused(failure: impl Into<Failure<R>>) -> Self {
        Self::ready(Err(failure.into()))
    }
}

impl<S, Request, Inner, R, A> Future for ResponseFuture<S, Request, R, A>
where
    S: Service<Request, Response = Reply<Inner>>,
    S::Error: Into<Failure<Inner>>,
    A: Answer<Inner, R>,
{
    type Output = HandlerResult<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut this = self.as_mut().project();
            let next = match this.kind.as_mut().project() {
                KindProjection::Waiting { waiting, answer } => {
                    let called = ready!(waiting.poll(cx));
                    // Polled after completion: the message was given up.
                    let Some((called, mut answer)) = called.zip(answer.take()) else {
                        return Poll::Ready(Err(Close::HANDLER_FAILED.into()));
                    };
                    match called {
                        Ok(call) => Kind::Called { call, answer },
                        Err(error) => return Poll::Ready(answer.answer(Err(error.into()))),
                    }
                }
                KindProjection::Called { call, answer } => {
                    let inner = ready!(call.poll(cx)).map_err(Into::into);
                    return Poll::Ready(answer.answer(inner));
                }
                KindProjection::Boxed { future } => return future.as_mut().poll(cx),
                // Polled after completion: the answer was given, there is none left.
                KindProjection::Ready { answer } => {
                    return Poll::Ready(answer.take().unwrap_or(Ok(Reply::none())));
                }
            };
            this.kind.set(next);
        }
    }
}

opaque_debug! { [S: Service<Request>, Request, R, A] ResponseFuture<S, Request, R, A>; }
