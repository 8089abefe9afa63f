//! Handle messages with state of the connection's own.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio_util::sync::ReusableBoxFuture;
use tower_service::Service;

use crate::{
    close::CloseReason,
    message::{Failure, Inbound, Reply},
};

/// Handles messages `M` from senders with proof `P`, one at a time.
///
/// The contract of a stack's innermost part is [`tower_service::Service`], and
/// `tower::service_fn` makes one of an `async fn`. But a service's future cannot borrow the service,
/// so code that keeps state between messages implements [`Handler`] instead: its `handle` takes
/// `&mut self`. [`HandlerService`] makes a service of it.
///
/// # Example
///
/// ```
/// use tower_websocket::{Anonymous, Failure, Handler, Inbound, Message, Reply};
///
/// /// Answers each message with its number.
/// #[derive(Default)]
/// struct Count(u64);
///
/// impl Handler<Message, Anonymous> for Count {
///     type Reply = Message;
///
///     async fn handle(
///         &mut self,
///         _: Inbound<Message, Anonymous>,
///     ) -> Result<Reply<Message>, Failure<Message>> {
///         self.0 += 1;
///         Ok(Reply::one(Message::text(self.0.to_string())))
///     }
/// }
/// ```
pub trait Handler<M, P>: Send + 'static {
    /// What the endpoint says.
    type Reply: Send + 'static;

    /// Handles one message; the next one comes when this is done.
    ///
    /// If the future is dropped before that, by a timeout layer for instance, the handler is dropped
    /// with it, and the connection closes with 1011 at the next message: nothing goes on with a state
    /// that was half changed. To survive a timeout, keep the state elsewhere.
    fn handle(
        &mut self,
        inbound: Inbound<M, P>,
    ) -> impl Future<Output = Result<Reply<Self::Reply>, Failure<Self::Reply>>> + Send;
}

/// The service that a [`Handler`] is to the layers around it.
///
/// The handler moves into the future of each call and comes back when it is done. All calls share
/// one allocation.
pub struct HandlerService<H, M, P>
where
    H: Handler<M, P>,
{
    idle: Slot<H, H::Reply>,
}

/// A handler between two messages.
struct Idle<H, R> {
    handler: H,
    /// The last call's allocation.
    call: Option<CallBox<H, R>>,
}

/// Empty while a call is under way.
type Slot<H, R> = Arc<Mutex<Option<Idle<H, R>>>>;
type Outcome<R> = Result<Reply<R>, Failure<R>>;
type CallBox<H, R> = ReusableBoxFuture<'static, (H, Outcome<R>)>;

impl<H, M, P> HandlerService<H, M, P>
where
    H: Handler<M, P>,
{
    /// A service that calls `handler`.
    pub fn new(handler: H) -> Self {
        Self { idle: Arc::new(Mutex::new(Some(Idle { handler, call: None }))) }
    }
}

impl<H, M, P> Service<Inbound<M, P>> for HandlerService<H, M, P>
where
    H: Handler<M, P>,
    M: Send + 'static,
    P: Send + 'static,
{
    type Response = Reply<H::Reply>;
    type Error = Failure<H::Reply>;
    type Future = HandlerFuture<H, H::Reply>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match *lock(&self.idle) {
            Some(_) => Poll::Ready(Ok(())),
            None => Poll::Ready(Err(CloseReason::HandlerFailed.into())),
        }
    }

    fn call(&mut self, inbound: Inbound<M, P>) -> Self::Future {
        let call = lock(&self.idle).take().map(|Idle { mut handler, call }| {
            let future = async move {
                let outcome = handler.handle(inbound).await;
                (handler, outcome)
            };
            match call {
                Some(mut reused) => {
                    reused.set(future);
                    reused
                }
                None => ReusableBoxFuture::new(future),
            }
        });
        HandlerFuture { call, idle: Arc::clone(&self.idle) }
    }
}

impl<H, M, P> fmt::Debug for HandlerService<H, M, P>
where
    H: Handler<M, P>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerService").finish_non_exhaustive()
    }
}

/// The answer of [`HandlerService`].
pub struct HandlerFuture<H, R> {
    /// None if the service was called without being ready.
    call: Option<CallBox<H, R>>,
    idle: Slot<H, R>,
}

impl<H: 'static, R: 'static> Future for HandlerFuture<H, R> {
    type Output = Outcome<R>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let Some(call) = &mut this.call else {
            return Poll::Ready(Err(CloseReason::HandlerFailed.into()));
        };
        let (handler, outcome) = ready!(call.poll(cx));
        *lock(&this.idle) = Some(Idle { handler, call: this.call.take() });
        Poll::Ready(outcome)
    }
}

impl<H, R> fmt::Debug for HandlerFuture<H, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerFuture").finish_non_exhaustive()
    }
}

/// Held to move the handler in or out. The handler itself runs outside of it.
fn lock<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
