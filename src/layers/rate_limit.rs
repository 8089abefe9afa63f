//! Refuse messages that come faster than a quota.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

use crate::{
    close::Close,
    layers::{
        Failure, Inbound, PerAddress, PerConnection, PerUser, RateKey, Reply,
        binding::Binding,
        cost::{Cost, OneEach, PayloadBytes},
        excess::{CloseOnExcess, OnExcess, WaitOnExcess},
        future::{ResponseFuture, Unchanged},
        ready_on_call::{Gate, ReadyOnCall},
    },
    quota::{Measured, Meter, MeterTable, Quota},
};

/// Layer that applies [`RateLimit`].
///
/// The layer stands anywhere in a stack, more than once if need be, and charges each message before
/// anything behind it has looked at it: in front of [`DecodeLayer`](crate::DecodeLayer), malformed
/// messages count as well. The bucket belongs to the connection, the user or the client address; it
/// is charged one for each message, its bytes, or what a function says. Over the quota the connection
/// closes with 1008 `rate limited`, or the peer gets a reply of yours, or it waits: the message is
/// handed on when the quota allows it, and nothing more is read until then, so TCP slows the peer down.
/// Nothing is ever handed on before it is paid for, so there are no debts: hanging up and coming back, or
/// doing so on many connections, gains nothing.
///
/// A message that costs nothing passes whatever the bucket holds: behind the decoder, a cost can tell
/// messages apart. One that costs more than the whole burst is always over the quota. With
/// [`cost_bytes`](RateLimitLayer::cost_bytes) let the burst be at least the message limit.
///
/// Clones share the buckets, whatever is set on which of them.
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
/// use tower_websocket::{Message, Quota, RateLimitLayer};
///
/// let bytes = RateLimitLayer::per_user(Quota::per_second(64 * 1024).burst(256 * 1024))
///     .cost_bytes()
///     .reply_with(|| Message::text(r#"{"type":"error","code":"slow_down"}"#));
/// # let _ = bytes;
/// ```
///
/// # Example: what comes back after a reconnect has a quota of its own
///
/// ```
/// use tower_websocket::{Quota, RateLimitLayer, service::ClientMessage};
///
/// fn if_join(message: &ClientMessage) -> u32 {
///     matches!(message, ClientMessage::Join(_)).into()
/// }
///
/// // Behind the decoder, one after the other. What is free for all of them has no bound: a join that is
/// // refused has asked the policy, and may be sent again.
/// let chats = RateLimitLayer::per_user(Quota::per_second(20).burst(40))
///     .cost(|message: &ClientMessage| 1 - if_join(message));
/// let joins = RateLimitLayer::per_user(Quota::per_second(100).burst(200)).cost(if_join).wait();
/// # let _ = (chats, joins);
/// ```
#[must_use]
#[derive(Debug)]
pub struct RateLimitLayer<K, C = OneEach, E = CloseOnExcess> {
    key: Arc<K>,
    cost: C,
    excess: E,
    table: Arc<MeterTable>,
}

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
        Self { key: Arc::new(key), cost: OneEach, excess: CloseOnExcess, table }
    }
}

impl<K, C, E> RateLimitLayer<K, C, E> {
    /// Charges what `cost` says of a message. Default: one.
    pub fn cost<M, F>(self, cost: F) -> RateLimitLayer<K, F, E>
    where
        F: Fn(&M) -> u32 + Clone + Send + Sync + 'static,
    {
        self.with_cost(cost)
    }

    /// Charges the bytes of a message's payload. An empty one costs one: free, it could be sent without
    /// end.
    pub fn cost_bytes(self) -> RateLimitLayer<K, PayloadBytes, E> {
        self.with_cost(PayloadBytes)
    }

    /// Answers a message over the quota with `make`'s, instead of closing.
    pub fn reply_with<R, F>(self, make: F) -> RateLimitLayer<K, C, F>
    where
        F: Fn() -> R + Clone + Send + Sync + 'static,
    {
        self.with_excess(make)
    }

    /// Slows the peer down instead of closing.
    ///
    /// Messages that wait for one bucket go on in the order in which they came, whichever connections
    /// they came on. The time that one waits counts as its handler's: if it is longer than
    /// [`handler_timeout`](crate::ConnectionConfig::handler_timeout), the connection closes with 1011.
    /// One whose connection ends while it waits is not handed on, and not charged.
    pub fn wait(self) -> RateLimitLayer<K, C, WaitOnExcess> {
        self.with_excess(WaitOnExcess)
    }

    /// At most so many shared buckets, from now on. Default 100,000: below 16 MB. More cost memory that
    /// peers can claim; fewer let strangers share a bucket sooner.
    pub fn max_buckets(self, buckets: NonZeroUsize) -> Self {
        self.table.limit(buckets.get());
        self
    }

    fn with_cost<D>(self, cost: D) -> RateLimitLayer<K, D, E> {
        let Self { key, excess, table, .. } = self;
        RateLimitLayer { key, cost, excess, table }
    }

    fn with_excess<F>(self, excess: F) -> RateLimitLayer<K, C, F> {
        let Self { key, cost, table, .. } = self;
        RateLimitLayer { key, cost, excess, table }
    }
}

impl<K, C: Clone, E: Clone, S> Layer<S> for RateLimitLayer<K, C, E> {
    type Service = RateLimit<S, K, C, E>;

    fn layer(&self, inner: S) -> Self::Service {
        let (inner, binding) = (ReadyOnCall::new(inner), Binding::default());
        RateLimit { inner, layer: self.clone(), binding, meter: None }
    }
}

/// Charges each message, and hands on what is within the quota.
///
/// See [`RateLimitLayer`].
#[derive(Debug)]
pub struct RateLimit<S, K, C = OneEach, E = CloseOnExcess> {
    inner: ReadyOnCall<S>,
    layer: RateLimitLayer<K, C, E>,
    binding: Binding,
    /// Looked up at the first message; who sends does not change after that.
    meter: Option<Meter>,
}

impl<S, K, C, E> RateLimit<S, K, C, E> {
    /// Charges a message; the gate it has to wait at, or the failure if it is not to be handed on.
    fn charge<M, P, R>(&mut self, inbound: &Inbound<M, P>) -> Result<Option<Gate>, Failure<R>>
    where
        K: RateKey<P>,
        C: Cost<M>,
        E: OnExcess<R>,
    {
        let layer = &self.layer;
        let connection = inbound.connection();
        // Whose bucket it is was looked up once, for the connection of the first message.
        let _own = self.binding.admit("rate_limit", connection)?;
        let meter = self
            .meter
            .get_or_insert_with(|| layer.table.meter(layer.key.key(inbound.proof(), connection)));
        let Some(cost) = NonZeroU32::new(layer.cost.cost(&inbound.message)) else {
            return Ok(None);
        };
        let Measured::Exceeded(wait) = meter.take_unless_awaited(cost) else {
            return Ok(None);
        };
        let (observed, limit) = (cost.get().into(), meter.limit().into());
        connection.refuse("rate_limit", "message.rate", Some(observed), Some(limit));
        match (layer.excess.on_excess(), wait) {
            (Some(failure), _) => Err(failure),
            (None, Some(_)) => Ok(Some(Box::pin(meter.clone().wait_for(cost)))),
            // Never within the quota, however long it waits.
            (None, None) => Err(Close::RATE_LIMITED.into()),
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
    type Future = ResponseFuture<S, Inbound<M, P>, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, inbound: Inbound<M, P>) -> Self::Future {
        match self.charge(&inbound) {
            Ok(None) => self.inner.call(inbound, Unchanged),
            Ok(Some(gate)) => self.inner.call_behind(gate, inbound, Unchanged),
            Err(failure) => ResponseFuture::refused(failure),
        }
    }
}

impl<K, C: Clone, E: Clone> Clone for RateLimitLayer<K, C, E> {
    fn clone(&self) -> Self {
        Self {
            key: Arc::clone(&self.key),
            cost: self.cost.clone(),
            excess: self.excess.clone(),
            table: Arc::clone(&self.table),
        }
    }
}

/// Below 16 MB: `tests/table_memory.rs` measures it.
const MAX_BUCKETS: usize = 100_000;
