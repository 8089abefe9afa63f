//! Tell a function what became of each message.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    close::Close,
    connection::Connection,
    foreign,
    layers::{
        Failure, HandlerResult, Inbound, Reply,
        binding::Binding,
        future::{Answer, ResponseFuture},
        ready_on_call::ReadyOnCall,
    },
    opaque::opaque_debug,
};

/// Layer that applies [`Observe`].
///
/// The layer stands anywhere in a stack, whatever the message and its proof are: outside of all others
/// it sees every message, behind a layer those that the layer has handed on. The function is called once
/// for each message, when it is known what became of it. It sees no content, and says nothing that the
/// peer gets; it must not block, and if it panics, nothing comes of it.
///
/// It belongs to one connection, as the other layers do
/// ([module docs](crate::layers#a-stack-belongs-to-one-connection)).
///
/// # Example: metrics
///
/// ```
/// use tower::ServiceBuilder;
/// use tower_websocket::{Quota, RateLimitLayer, layers::ObserveLayer};
///
/// # fn histogram(_: &'static str, _: f64, _: &'static str) {}
/// let messages = ServiceBuilder::new()
///     .layer(ObserveLayer::new(|observed| {
///         let seconds = observed.elapsed().as_secs_f64();
///         histogram("websocket_message_seconds", seconds, observed.outcome().as_str());
///     }))
///     .layer(RateLimitLayer::per_connection(Quota::per_second(20)));
/// # let _ = messages;
/// ```
#[must_use]
pub struct ObserveLayer<F> {
    observe: Arc<F>,
}

/// Hands each message on, and tells what became of it.
///
/// See [`ObserveLayer`].
pub struct Observe<S, F> {
    inner: ReadyOnCall<S>,
    binding: Binding,
    observe: Arc<F>,
}

/// What became of a message.
#[derive(Debug)]
pub struct Observed<'a> {
    connection: &'a Connection,
    outcome: &'a MessageOutcome,
    elapsed: Duration,
}

/// What a message ended in.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MessageOutcome {
    /// It was handled, with or without an answer.
    Handled,
    /// It was answered with [`Failure::Reply`].
    Refused,
    /// It closes the connection.
    Closed(Close),
    /// It was given up: its time was over, its handler panicked, or its connection ended before.
    Dropped,
}

impl<F: Fn(&Observed<'_>)> ObserveLayer<F> {
    /// Tells `observe` of each message.
    pub fn new(observe: F) -> Self {
        Self { observe: Arc::new(observe) }
    }
}

impl Observed<'_> {
    /// Whose message it was.
    pub fn connection(&self) -> &Connection {
        self.connection
    }

    /// What it ended in.
    pub fn outcome(&self) -> &MessageOutcome {
        self.outcome
    }

    /// How long that took: the wait for a layer or a service to be ready included.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }
}

impl MessageOutcome {
    /// One word, for a metric's label: `handled`, `refused`, `closed` or `dropped`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Handled => "handled",
            Self::Refused => "refused",
            Self::Closed(_) => "closed",
            Self::Dropped => "dropped",
        }
    }

    fn of<R>(result: &HandlerResult<R>) -> Self {
        match result {
            Ok(_) => Self::Handled,
            Err(Failure::Reply(_)) => Self::Refused,
            Err(Failure::Close(reason)) => Self::Closed(reason.clone()),
        }
    }
}

impl<S, F> Layer<S> for ObserveLayer<F> {
    type Service = Observe<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        let (inner, binding) = (ReadyOnCall::new(inner), Binding::default());
        Observe { inner, binding, observe: Arc::clone(&self.observe) }
    }
}

impl<S, F, M, P, R> Service<Inbound<M, P>> for Observe<S, F>
where
    S: Service<Inbound<M, P>, Response = Reply<R>>,
    S::Error: Into<Failure<R>>,
    F: Fn(&Observed<'_>),
{
    type Response = Reply<R>;
    type Error = Failure<R>;
    type Future = ResponseFuture<S, Inbound<M, P>, R, Observing<F>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, inbound: Inbound<M, P>) -> Self::Future {
        // The inner service may be waiting for a message of the connection's, and is not there for another.
        if let Err(close) = self.binding.admit("observe", inbound.connection()) {
            return ResponseFuture::refused(close);
        }
        let observation = Observation {
            observe: Arc::clone(&self.observe),
            connection: inbound.connection().clone(),
            since: Instant::now(),
            outcome: MessageOutcome::Dropped,
        };
        self.inner.call(inbound, Observing(Some(observation)))
    }
}

/// Tells what became of a message when it is dropped, which is when that is known.
struct Observation<F: Fn(&Observed<'_>)> {
    observe: Arc<F>,
    connection: Connection,
    since: Instant,
    outcome: MessageOutcome,
}

impl<F: Fn(&Observed<'_>)> Drop for Observation<F> {
    fn drop(&mut self) {
        let Self { observe, connection, since, outcome } = self;
        let observed = Observed { connection, outcome, elapsed: since.elapsed() };
        // Code of the application, possibly while a connection's task unwinds.
        let _ = foreign::run(|| observe(&observed));
    }
}

/// The answer is the service's, and `F` is told of it.
pub struct Observing<F: Fn(&Observed<'_>)>(Option<Observation<F>>);

impl<F: Fn(&Observed<'_>), R> Answer<R, R> for Observing<F> {
    fn answer(&mut self, inner: HandlerResult<R>) -> HandlerResult<R> {
        if let Some(mut observation) = self.0.take() {
            observation.outcome = MessageOutcome::of(&inner);
        }
        inner
    }
}

impl<F> Clone for ObserveLayer<F> {
    fn clone(&self) -> Self {
        Self { observe: Arc::clone(&self.observe) }
    }
}

opaque_debug! {
    [F] ObserveLayer<F>;
    [S, F] Observe<S, F>;
    [F: Fn(&Observed<'_>)] Observing<F>;
}

#[cfg(test)]
#[path = "tests/observe.rs"]
mod tests;
