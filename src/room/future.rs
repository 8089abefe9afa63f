//! The future of [`InRooms`](crate::room::InRooms).

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::message::{Failure, Reply, on_demand::OnDemandFuture};

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
        Inner { #[pin] future: OnDemandFuture<S, M> },
        Boxed { future: Pin<Box<dyn Future<Output = Result<Reply<R>, Failure<R>>> + Send>> },
        Ready { answer: Option<Result<Reply<R>, Failure<R>>> },
    }
}

impl<S: Service<M>, M, R> ResponseFuture<S, M, R> {
    pub(super) fn inner(future: OnDemandFuture<S, M>) -> Self {
        Self { state: State::Inner { future } }
    }

    pub(super) fn boxed(
        future: impl Future<Output = Result<Reply<R>, Failure<R>>> + Send + 'static,
    ) -> Self {
        Self { state: State::Boxed { future: Box::pin(future) } }
    }

    pub(super) fn ready(answer: Result<Reply<R>, Failure<R>>) -> Self {
        Self { state: State::Ready { answer: Some(answer) } }
    }
}

impl<S, M, R> Future for ResponseFuture<S, M, R>
where
    S: Service<M, Response = Reply<R>>,
    S::Error: Into<Failure<R>>,
{
    type Output = Result<Reply<R>, Failure<R>>;

    #[expect(clippy::expect_used, reason = "a future polled after completion may panic")]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Inner { future } => future.poll(cx),
            StateProjection::Boxed { future } => future.as_mut().poll(cx),
            StateProjection::Ready { answer } => {
                Poll::Ready(answer.take().expect(AFTER_COMPLETION))
            }
        }
    }
}

impl<S: Service<M>, M, R> fmt::Debug for ResponseFuture<S, M, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

const AFTER_COMPLETION: &str = "ResponseFuture polled after completion";
