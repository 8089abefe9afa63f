//! Refuse messages that come faster than a quota.

use std::{
    fmt,
    future::Future,
    num::{NonZeroU32, NonZeroUsize},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    close::CloseReason,
    message::{
        Failure, Inbound, Message, PerAddress, PerConnection, PerUser, Quota, RateKey, Reply,
        on_demand::{OnDemand, OnDemandFuture},
        rate_meter::{Measured, Meter, MeterTable},
    },
};

/// Layer that applies [`RateLimit`].
///
/// The layer stands anywhere in a stack, more than once if need be, and charges each message before
/// anything behind it has looked at it: in front of [`DecodeLayer`](crate::DecodeLayer), malformed
/// messages count as well. The bucket belongs to the connection, the user or the client address; it
/// is charged one for each message, its bytes, or what a function says. Over the quota the connection
/// closes with 1008 `rate limited`, or the peer gets a reply of yours, or it waits: the message is
/// handed on, and nothing more is read until its cost is paid, so TCP slows the peer down.
///
/// A message that costs nothing passes whatever the bucket holds: behind the decoder, a cost can tell
/// messages apart. One that costs more than the whole burst is always over the quota. With
/// [`PayloadBytes`] let the burst be at least the message limit.
///
/// # Example
///
/// ```
/// use tower_websocket::{Quota, RateLimitLayer};
///
/// let each = RateLimitLayer::per_connection(Quota::per_second(20).burst(40));
/// # let _ = each;
/// ```
///
/// # Example: bytes of a user, with an answer instead of the close
///
/// ```
/// use tower_websocket::{Message, PayloadBytes, Quota, RateLimitLayer};
///
/// let bytes = RateLimitLayer::per_user(Quota::per_second(64 * 1024).burst(256 * 1024))
///     .cost(PayloadBytes::new())
///     .reply_with(|| Message::text(r#"{"type":"error","code":"slow_down"}"#));
/// # let _ = bytes;
/// ```
///
/// # Example: what comes back after a reconnect is free
///
/// ```
/// use tower_websocket::{Quota, RateLimitLayer, room::service::ClientMessage};
///
/// // Behind the decoder. Joins have a bound of their own: the number of rooms.
/// let chats = RateLimitLayer::per_user(Quota::per_second(20).burst(40)).cost(
///     |message: &ClientMessage| match message {
///         ClientMessage::Join { .. } => 0,
///         _ => 1,
///     },
/// );
/// # let _ = chats;
/// ```
#[must_use]
#[derive(Debug)]
pub struct RateLimitLayer<K, C = OneEach, E = CloseOnExcess> {
    key: Arc<K>,
    cost: C,
    excess: E,
    table: Arc<MeterTable>,
    quota: Quota,
}

/// What a message is charged.
pub trait Cost<M> {
    /// The charge for `message`. What costs zero passes, also when the bucket is empty.
    fn cost(&self, message: &M) -> u32;
}

/// Each message costs one.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct OneEach;

/// A message costs the bytes of its payload.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct PayloadBytes;

/// What happens to a message over the quota.
pub trait OnExcess<R> {
    /// The failure it ends in, or `None` to hand it on and wait until it is paid for.
    fn on_excess(&self) -> Option<Failure<R>>;
}

/// Close the connection with 1008 `rate limited`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct CloseOnExcess;

/// Hand the message on, then read nothing until it is paid for.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct WaitOnExcess;

impl RateLimitLayer<PerConnection> {
    /// `quota` for each connection.
    pub fn per_connection(quota: Quota) -> Self {
        Self::new(PerConnection, quota)
    }
}

impl RateLimitLayer<PerUser> {
    /// `quota` for each user, on however many connections. Behind
    /// [`RequireAuthLayer`](crate::RequireAuthLayer) only: who is not authenticated has no user.
    pub fn per_user(quota: Quota) -> Self {
        Self::new(PerUser, quota)
    }
}

impl RateLimitLayer<PerAddress> {
    /// `quota` for each client address.
    pub fn per_address(quota: Quota) -> Self {
        Self::new(PerAddress, quota)
    }
}

impl<K> RateLimitLayer<K> {
    /// `quota` for each of what `key` tells apart.
    pub fn new(key: K, quota: Quota) -> Self {
        let table = Arc::new(MeterTable::new(quota, MAX_BUCKETS));
        Self { key: Arc::new(key), cost: OneEach, excess: CloseOnExcess, table, quota }
    }
}

impl<K, C, E> RateLimitLayer<K, C, E> {
    /// Charges what `cost` says, a `Fn(&M) -> u32` or [`PayloadBytes`]. Default: one.
    pub fn cost<D>(self, cost: D) -> RateLimitLayer<K, D, E> {
        let Self { key, excess, table, quota, .. } = self;
        RateLimitLayer { key, cost, excess, table, quota }
    }

    /// Answers a message over the quota with `make`'s, instead of closing.
    pub fn reply_with<F>(self, make: F) -> RateLimitLayer<K, C, F> {
        let Self { key, cost, table, quota, .. } = self;
        RateLimitLayer { key, cost, excess: make, table, quota }
    }

    /// Slows the peer down instead of closing.
    ///
    /// The time that the next message waits counts as its handler's: a debt that takes longer than
    /// [`handler_timeout`](crate::ConnectionConfig::handler_timeout) to pay closes with 1011.
    pub fn wait(self) -> RateLimitLayer<K, C, WaitOnExcess> {
        let Self { key, cost, table, quota, .. } = self;
        RateLimitLayer { key, cost, excess: WaitOnExcess, table, quota }
    }

    /// At most so many shared buckets. Default 100,000: about 16 MB. More cost memory that peers can
    /// claim; fewer let strangers share a bucket sooner.
    pub fn max_buckets(mut self, buckets: NonZeroUsize) -> Self {
        self.table = Arc::new(MeterTable::new(self.quota, buckets.get()));
        self
    }
}

impl<K, C: Clone, E: Clone, S> Layer<S> for RateLimitLayer<K, C, E> {
    type Service = RateLimit<S, K, C, E>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit { inner: OnDemand::new(inner), layer: self.clone(), meter: None, debt: None }
    }
}

/// Charges each message, and hands on what is within the quota.
///
/// See [`RateLimitLayer`].
#[derive(Debug)]
pub struct RateLimit<S, K, C = OneEach, E = CloseOnExcess> {
    inner: OnDemand<S>,
    layer: RateLimitLayer<K, C, E>,
    /// Looked up at the first message; who sends does not change after that.
    meter: Option<Meter>,
    debt: Option<Debt>,
}

/// A message that was handed on and is not paid for.
#[derive(Debug)]
struct Debt {
    cost: NonZeroU32,
    until: Pin<Box<Sleep>>,
}

impl<S, K, C, E> RateLimit<S, K, C, E> {
    /// Ready once nothing is owed.
    fn poll_debt(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let (Some(debt), Some(meter)) = (&mut self.debt, &self.meter) {
            ready!(debt.until.as_mut().poll(cx));
            // Others may have emptied the bucket meanwhile.
            match meter.take(debt.cost) {
                Measured::Exceeded(Some(wait)) => debt.until = Box::pin(sleep(wait)),
                Measured::Within | Measured::Exceeded(None) => self.debt = None,
            }
        }
        Poll::Ready(())
    }

    /// Charges a message; the failure if it is not to be handed on.
    fn charge<M, P, R>(&mut self, inbound: &Inbound<M, P>) -> Result<(), Failure<R>>
    where
        K: RateKey<P>,
        C: Cost<M>,
        E: OnExcess<R>,
    {
        let layer = &self.layer;
        let connection = inbound.connection();
        let meter = self
            .meter
            .get_or_insert_with(|| layer.table.meter(layer.key.key(inbound.proof(), connection)));
        let Some(cost) = NonZeroU32::new(layer.cost.cost(&inbound.message)) else {
            return Ok(());
        };
        let Measured::Exceeded(wait) = meter.take(cost) else {
            return Ok(());
        };
        let (observed, limit) = (cost.get().into(), meter.limit().into());
        connection.refuse("rate_limit", "message.rate", Some(observed), Some(limit));
        match (layer.excess.on_excess(), wait) {
            (Some(failure), _) => Err(failure),
            (None, Some(wait)) => {
                self.debt = Some(Debt { cost, until: Box::pin(sleep(wait)) });
                Ok(())
            }
            // Never paid for, however long it waits.
            (None, None) => Err(CloseReason::RateLimited.into()),
        }
    }
}

impl<S, K, C, E, M, P, R> Service<Inbound<M, P>> for RateLimit<S, K, C, E>
where
    S: Service<Inbound<M, P>, Response = Reply<R>>,
    S::Error: Into<Failure<R>>,
    K: RateKey<P>,
    C: Cost<M>,
    E: OnExcess<R>,
{
    type Response = Reply<R>;
    type Error = Failure<R>;
    type Future = RateLimitFuture<S, M, P, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_debt(cx).map(Ok)
    }

    fn call(&mut self, inbound: Inbound<M, P>) -> Self::Future {
        let kind = match self.charge(&inbound) {
            Ok(()) => Kind::Inner { future: self.inner.call(inbound) },
            Err(failure) => Kind::Refused { failure: Some(failure) },
        };
        RateLimitFuture { kind }
    }
}

impl<K, C: Clone, E: Clone> Clone for RateLimitLayer<K, C, E> {
    fn clone(&self) -> Self {
        Self {
            key: Arc::clone(&self.key),
            cost: self.cost.clone(),
            excess: self.excess.clone(),
            table: Arc::clone(&self.table),
            quota: self.quota,
        }
    }
}

impl PayloadBytes {
    /// The cost of a message is its payload's length in bytes.
    pub const fn new() -> Self {
        Self
    }
}

impl<M> Cost<M> for OneEach {
    fn cost(&self, _: &M) -> u32 {
        1
    }
}

impl Cost<Message> for PayloadBytes {
    fn cost(&self, message: &Message) -> u32 {
        u32::try_from(message.len()).unwrap_or(u32::MAX)
    }
}

impl<M, F: Fn(&M) -> u32> Cost<M> for F {
    fn cost(&self, message: &M) -> u32 {
        self(message)
    }
}

impl<R> OnExcess<R> for CloseOnExcess {
    fn on_excess(&self) -> Option<Failure<R>> {
        Some(CloseReason::RateLimited.into())
    }
}

impl<R> OnExcess<R> for WaitOnExcess {
    fn on_excess(&self) -> Option<Failure<R>> {
        None
    }
}

impl<R, F: Fn() -> R> OnExcess<R> for F {
    fn on_excess(&self) -> Option<Failure<R>> {
        Some(Failure::Reply(self()))
    }
}

pin_project! {
    /// The answer of [`RateLimit`].
    pub struct RateLimitFuture<S, M, P, R>
    where
        S: Service<Inbound<M, P>>,
    {
        #[pin]
        kind: Kind<S, M, P, R>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<S, M, P, R>
    where
        S: Service<Inbound<M, P>>,
    {
        Inner { #[pin] future: OnDemandFuture<S, Inbound<M, P>> },
        Refused { failure: Option<Failure<R>> },
    }
}

impl<S, M, P, R> Future for RateLimitFuture<S, M, P, R>
where
    S: Service<Inbound<M, P>, Response = Reply<R>>,
    S::Error: Into<Failure<R>>,
{
    type Output = Result<Reply<R>, Failure<R>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProjection::Inner { future } => future.poll(cx),
            // Polled after completion: the answer was given, there is none left.
            KindProjection::Refused { failure } => {
                Poll::Ready(failure.take().map_or(Ok(Reply::none()), Err))
            }
        }
    }
}

impl<S: Service<Inbound<M, P>>, M, P, R> fmt::Debug for RateLimitFuture<S, M, P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitFuture").finish_non_exhaustive()
    }
}

/// A bucket is about 160 bytes with its place in the table.
const MAX_BUCKETS: usize = 100_000;
