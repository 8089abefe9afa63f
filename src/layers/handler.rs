//! Handle messages with state of the connection's own.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use tokio_util::sync::ReusableBoxFuture;
use tower_service::Service;

use crate::{
    close::Close,
    foreign::Caught,
    layers::{Failure, HandlerResult, Inbound, Reply, binding::Binding},
    opaque::opaque_debug,
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
/// use tower_websocket::{Anonymous, Failure, Handler, HandlerResult, Inbound, Message, Reply};
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
///     ) -> HandlerResult {
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
    ) -> impl Future<Output = HandlerResult<Self::Reply>> + Send;
}

/// The service that a [`Handler`] is to the layers around it.
///
/// The handler moves into the future of each call and comes back when it is done. All calls share
/// one allocation.
pub struct HandlerService<H, M, P>
where
    H: Handler<M, P>,
{
    binding: Binding,
    shared: Arc<SharedState<H, H::Reply>>,
}

/// Where the handler is, between the calls and in one.
enum State<H, R> {
    /// Between two messages.
    Idle(Idle<H, R>),
    /// In a call's future. The task that waits for it to be back is woken.
    Calling(Option<Waker>),
    /// Dropped with a call's future, half way through a message.
    Gone,
}

struct Idle<H, R> {
    handler: Caught<H>,
    /// The last call's allocation.
    call: Option<CallBox<H, R>>,
}

type SharedState<H, R> = Mutex<State<H, R>>;
type CallBox<H, R> = ReusableBoxFuture<'static, (Caught<H>, HandlerResult<R>)>;

impl<H, M, P> HandlerService<H, M, P>
where
    H: Handler<M, P>,
{
    /// A service that calls `handler`.
    pub fn new(handler: H) -> Self {
        let idle = Idle { handler: Caught::new(handler), call: None };
        Self { binding: Binding::default(), shared: Arc::new(Mutex::new(State::Idle(idle))) }
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

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match &mut *lock(&self.shared) {
            State::Idle(_) => Poll::Ready(Ok(())),
            // Asked for the next message while one is being handled: a `Buffer` does that, and would
            // fail everybody for an error.
            State::Calling(waiting) => {
                *waiting = Some(cx.waker().clone());
                Poll::Pending
            }
            State::Gone => Poll::Ready(Err(Close::HANDLER_FAILED.into())),
        }
    }

    fn call(&mut self, inbound: Inbound<M, P>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        if let Err(reason) = self.binding.admit("handler", inbound.connection()) {
            return HandlerFuture { kind: Kind::Refused(reason), shared };
        }
        let state = {
            let mut state = lock(&self.shared);
            match &*state {
                State::Idle(_) => std::mem::replace(&mut *state, State::Calling(None)),
                State::Calling(_) | State::Gone => State::Gone,
            }
        };
        let State::Idle(Idle { mut handler, call }) = state else {
            // Called without being ready.
            return HandlerFuture { kind: Kind::Refused(Close::HANDLER_FAILED), shared };
        };
        let future = async move {
            let result = match handler.get_mut() {
                Some(handler) => handler.handle(inbound).await,
                None => Err(Close::HANDLER_FAILED.into()),
            };
            (handler, result)
        };
        let call = match call {
            Some(mut reused) => {
                reused.set(future);
                reused
            }
            None => ReusableBoxFuture::new(future),
        };
        HandlerFuture { kind: Kind::Call(call), shared }
    }
}

/// The answer of [`HandlerService`].
pub struct HandlerFuture<H, R> {
    kind: Kind<H, R>,
    shared: Arc<SharedState<H, R>>,
}

enum Kind<H, R> {
    Call(CallBox<H, R>),
    Refused(Close),
    Done,
}

impl<H: 'static, R: 'static> Future for HandlerFuture<H, R> {
    type Output = HandlerResult<R>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let (handler, result) = match &mut this.kind {
            Kind::Call(call) => ready!(call.poll(cx)),
            Kind::Refused(reason) => return Poll::Ready(Err(reason.clone().into())),
            // Polled after completion: the answer was given, there is none left.
            Kind::Done => return Poll::Ready(Ok(Reply::none())),
        };
        let Kind::Call(call) = std::mem::replace(&mut this.kind, Kind::Done) else {
            return Poll::Ready(result);
        };
        set(&this.shared, State::Idle(Idle { handler, call: Some(call) }));
        Poll::Ready(result)
    }
}

impl<H, R> Drop for HandlerFuture<H, R> {
    fn drop(&mut self) {
        if let Kind::Call(_) = self.kind {
            set(&self.shared, State::Gone);
        }
    }
}

/// The handler is back, or will not be; who waits for it finds out.
fn set<H, R>(shared: &SharedState<H, R>, state: State<H, R>) {
    let former = std::mem::replace(&mut *lock(shared), state);
    if let State::Calling(Some(waiting)) = former {
        waiting.wake();
    }
}

opaque_debug! {
    [H: Handler<M, P>, M, P] HandlerService<H, M, P>;
    [H, R] HandlerFuture<H, R>;
}

/// Held to move the handler in or out. The handler itself runs outside of it.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
