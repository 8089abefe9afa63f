//! The future of [`InRooms`](crate::room::InRooms).

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::layers::{Failure, Reply, ready_on_call::ReadyOnCallFuture};

type Answer<R> = Result<Reply<R>, Failure<R>>;
type BoxAnswer<R> = Pin<Box<dyn Future<Output = Answer<R>> + Send>>;

pin_project! {
    /// Response future of [`InRooms`](crate::room::InRooms).
    pub struct ResponseFuture<S, M, R>
    where
        S: Service<M>,
    {
        #[pin]
        state: State<S, M, R>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, M, R>
    where
        S: Service<M>,
    {
        Inner { #[pin] future: ReadyOnCallFuture<S, M> },
        Boxed { future: BoxAnswer<R> },
        Ready { answer: Option<Answer<R>> },
    }
}

impl<S: Service<M>, M, R> ResponseFuture<S, M, R> {
    pub(super) fn inner(future: ReadyOnCallFuture<S, M>) -> Self {
        Self { state: State::Inner { future } }
    }

    pub(super) fn boxed(future: BoxAnswer<R>) -> Self {
        Self { state: State::Boxed { future } }
    }

    pub(super) fn ready(answer: Answer<R>) -> Self {
        Self { state: State::Ready { answer: Some(answer) } }
    }
}

impl<S, M, R> Future for ResponseFuture<S, M, R>
where
    S: Service<M, Response = Reply<R>>,
    S::Error: Into<Failure<R>>,
{
    type Output = Answer<R>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Inner { future } => future.poll(cx),
            StateProjection::Boxed { future } => future.as_mut().poll(cx),
            // Polled after completion: the answer was given, there is none left.
            StateProjection::Ready { answer } => {
                Poll::Ready(answer.take().unwrap_or(Ok(Reply::none())))
            }
        }
    }
}

impl<S: Service<M>, M, R> fmt::Debug for ResponseFuture<S, M, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
