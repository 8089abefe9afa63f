//! Turn the errors of layers into replies, where closing the connection would be too much.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    layers::{Failure, Reply},
    opaque::opaque_debug,
};

/// Layer that applies [`HandleError`].
///
/// A layer of tower's own fails with a boxed error, which closes the connection: a timeout with 1011,
/// a shed load with 1013. [`HandleErrorLayer`] outside of it decides otherwise.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower::{BoxError, ServiceBuilder, timeout::TimeoutLayer};
/// use tower_websocket::{Failure, HandleErrorLayer, Message};
///
/// let layers = ServiceBuilder::new()
///     .layer(HandleErrorLayer::new(|error: BoxError| {
///         if error.is::<tower::timeout::error::Elapsed>() {
///             Failure::Reply(Message::text("that took too long"))
///         } else {
///             Failure::from(error)
///         }
///     }))
///     .layer(TimeoutLayer::new(Duration::from_secs(1)));
/// # let _ = layers;
/// ```
#[must_use]
pub struct HandleErrorLayer<F> {
    handle: Arc<F>,
}

/// Turns its inner service's errors into failures: replies, or other reasons to close.
#[derive(Clone)]
pub struct HandleError<S, F> {
    inner: S,
    handle: Arc<F>,
}

impl<F> HandleErrorLayer<F> {
    /// Calls `handle`, a `Fn(E) -> Failure<R>`, with each error.
    pub fn new(handle: F) -> Self {
        Self { handle: Arc::new(handle) }
    }
}

impl<F> Clone for HandleErrorLayer<F> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<S, F> Layer<S> for HandleErrorLayer<F> {
    type Service = HandleError<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        HandleError { inner, handle: Arc::clone(&self.handle) }
    }
}

impl<S, F, Request, R> Service<Request> for HandleError<S, F>
where
    S: Service<Request, Response = Reply<R>>,
    F: Fn(S::Error) -> Failure<R>,
{
    type Response = Reply<R>;
    type Error = Failure<R>;
    type Future = HandleErrorFuture<S::Future, F>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(|error| (self.handle)(error))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        HandleErrorFuture { inner: self.inner.call(request), handle: Arc::clone(&self.handle) }
    }
}

impl<S: fmt::Debug, F> fmt::Debug for HandleError<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandleError").field("inner", &self.inner).finish_non_exhaustive()
    }
}

pin_project! {
    /// The answer of [`HandleError`].
    pub struct HandleErrorFuture<Inner, F> {
        #[pin]
        inner: Inner,
        handle: Arc<F>,
    }
}

impl<Inner, F, R, E> Future for HandleErrorFuture<Inner, F>
where
    Inner: Future<Output = Result<Reply<R>, E>>,
    F: Fn(E) -> Failure<R>,
{
    type Output = Result<Reply<R>, Failure<R>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(ready!(this.inner.poll(cx)).map_err(|error| (this.handle)(error)))
    }
}

opaque_debug! {
    [F] HandleErrorLayer<F>;
    [Inner, F] HandleErrorFuture<Inner, F>;
}
