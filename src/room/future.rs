//! The future of [`InRooms`](crate::room::InRooms).

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::message::{Failure, Reply};

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
        /// The message waits until the inner service is ready for it.
        Waiting { inner: Arc<Mutex<S>>, message: Option<M> },
        Called { #[pin] future: S::Future },
        Boxed { future: Pin<Box<dyn Future<Output = Result<Reply<R>, Failure<R>>> + Send>> },
        Ready { answer: Option<Result<Reply<R>, Failure<R>>> },
    }
}

impl<S: Service<M>, M, R> ResponseFuture<S, M, R> {
    pub(super) fn inner(inner: Arc<Mutex<S>>, message: M) -> Self {
        Self { state: State::Waiting { inner, message: Some(message) } }
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
        let mut state = self.project().state;
        loop {
            let future = match state.as_mut().project() {
                StateProjection::Waiting { inner, message } => {
                    // One message is under way at a time: the lock is never waited for.
                    let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Err(error) = ready!(inner.poll_ready(cx)) {
                        return Poll::Ready(Err(error.into()));
                    }
                    inner.call(message.take().expect(AFTER_COMPLETION))
                }
                StateProjection::Called { future } => return future.poll(cx).map_err(Into::into),
                StateProjection::Boxed { future } => return future.as_mut().poll(cx),
                StateProjection::Ready { answer } => {
                    return Poll::Ready(answer.take().expect(AFTER_COMPLETION));
                }
            };
            state.set(State::Called { future });
        }
    }
}

impl<S: Service<M>, M, R> fmt::Debug for ResponseFuture<S, M, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

const AFTER_COMPLETION: &str = "ResponseFuture polled after completion";
