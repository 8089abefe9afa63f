//! Count against a quota: one bucket for a connection, a user or an address.
//!
//! The algorithm is governor's GCRA on tokio's clock, which is monotonic: setting the system's clock
//! back or forward gives nobody a burst. Buckets that several connections share live in a table with
//! a cap. An entry goes when no connection uses it and it is full again; so a peer that reconnects
//! finds the bucket it left. When the table is full, unknown keys share one bucket until the next
//! sweep: an attacker with a million addresses limits itself.

use std::{
    collections::{HashMap, hash_map::RandomState},
    fmt,
    hash::BuildHasher,
    num::NonZeroU32,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use governor::{
    RateLimiter,
    clock::Clock as _,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use crate::{
    clock, connection::Connection, layers::Authenticated, principal::Principal, quota::Network,
};

/// So much in a time, and so much at once.
///
/// Zero is nothing, not "no limit": with a rate or a burst of zero, whatever costs anything is over
/// the quota.
#[must_use]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    rate: u32,
    per: Duration,
    burst: u32,
}

/// Each connection has a bucket of its own.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct PerConnection;

/// All connections of a user share a bucket. Users are told apart by tenant and id.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct PerUser;

/// All connections of a client address share a bucket: an IPv4 address, or an IPv6 /56, which is the
/// least that RFC 6177 gives a subscriber. Connections whose address is not known share one.
///
/// A subscriber that has a /48 has 256 of those. How many connections it may spread over them is bounded
/// by [`Admission::max_connections_per_peer`](crate::Admission::max_connections_per_peer): four times
/// as many as one address may have.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct PerAddress;

/// Who shares a bucket.
pub trait RateKey<P>: Send + Sync + 'static {
    /// The bucket's key for a message with `proof` on `connection`; `None` for a bucket of the
    /// connection's own. It is asked once for each connection.
    fn key(&self, proof: &P, connection: &Connection) -> Option<RateKeyValue>;
}

/// The key of a shared bucket: a keyed hash, so that nobody can choose to share another's.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RateKeyValue(u64);

/// A bucket, or a share of one.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    bucket: Arc<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    /// None where the quota is zero: governor has no bucket that stays empty.
    limiter: Option<Limiter>,
    burst: u32,
    /// Whose turn it is among those who wait, first come, first served. Made when somebody has to:
    /// most never do.
    line: OnceLock<Box<Semaphore>>,
}

/// What a meter says of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Measured {
    Within,
    /// Not before this much time has passed; `None` if it costs more than a whole burst.
    Exceeded(Option<Duration>),
}

/// The shared buckets of a layer.
pub(crate) struct MeterTable {
    quota: Quota,
    max_entries: usize,
    inner: Mutex<Inner>,
}

struct Inner {
    meters: HashMap<RateKeyValue, Meter>,
    /// For keys that find the table full.
    overflow: Meter,
    /// How many entries there may be before it is worth looking for idle ones again.
    sweep_at: usize,
    swept: Option<Instant>,
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<StdInstant>>;
type StdInstant = std::time::Instant;

/// A table this small is not worth a look.
const FEW: usize = 1024;

/// tokio's clock, which tests can pause.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TokioClock;

impl Quota {
    /// `count` each second, and as many at once.
    pub const fn per_second(count: u32) -> Self {
        Self::per(count, Duration::from_secs(1))
    }

    /// `count` each minute, and as many at once.
    pub const fn per_minute(count: u32) -> Self {
        Self::per(count, Duration::from_secs(60))
    }

    /// At most `count` at once: what may be used up in a moment after a pause.
    pub const fn burst(mut self, count: u32) -> Self {
        self.burst = count;
        self
    }

    const fn per(count: u32, per: Duration) -> Self {
        Self { rate: count, per, burst: count }
    }

    /// How long one takes to be there again; for ever, if there are none.
    pub(crate) fn interval(self) -> Duration {
        self.per.checked_div(self.rate).map_or(Duration::MAX, |it| it.max(Duration::from_nanos(1)))
    }

    /// How many there are after a pause.
    pub(crate) const fn at_once(self) -> u32 {
        self.burst
    }

    fn meter(self) -> Meter {
        let rates = NonZeroU32::new(self.rate).zip(NonZeroU32::new(self.burst));
        let Some((rate, burst)) = rates else {
            return Meter::new(None, 0);
        };
        let interval = self.interval();
        // governor counts a whole burst in nanoseconds: one that takes a century never ends anyway.
        let longest = CENTURY.as_nanos() / interval.as_nanos();
        let longest = u32::try_from(longest).ok().and_then(NonZeroU32::new);
        let burst = longest.map_or(burst, |it| burst.min(it));
        let quota = governor::Quota::with_period(interval)
            .unwrap_or(governor::Quota::per_second(rate))
            .allow_burst(burst);
        let limiter = RateLimiter::direct_with_clock(quota, TokioClock);
        Meter::new(Some(limiter), burst.get())
    }
}

impl Meter {
    fn new(limiter: Option<Limiter>, burst: u32) -> Self {
        Self { bucket: Arc::new(Bucket { limiter, burst, line: OnceLock::new() }) }
    }

    /// Takes `cost` out of the bucket, or nothing.
    pub(crate) fn take(&self, cost: NonZeroU32) -> Measured {
        let Some(limiter) = &self.bucket.limiter else {
            return Measured::Exceeded(None);
        };
        match limiter.check_n(cost) {
            Ok(Ok(())) => Measured::Within,
            Ok(Err(not_until)) => {
                Measured::Exceeded(Some(not_until.wait_time_from(TokioClock.now())))
            }
            Err(_insufficient_capacity) => Measured::Exceeded(None),
        }
    }

    /// The same, if nobody waits for the bucket: who came before goes first.
    pub(crate) fn take_unless_awaited(&self, cost: NonZeroU32) -> Measured {
        // A look, and no turn taken: two who ask at the same moment would be in each other's way.
        let awaited = self.bucket.line.get().is_some_and(|line| line.available_permits() == 0);
        if awaited && cost <= self.burst() {
            return Measured::Exceeded(Some(Duration::ZERO));
        }
        self.take(cost)
    }

    /// Waits until `cost` can be taken out of the bucket, and takes it; for ever if it costs more than
    /// a whole burst.
    ///
    /// Those who wait for one bucket stand in line, and only the first of them has a timer. Who gives
    /// up has taken nothing, so that nothing is owed when a connection ends, and the next one moves up.
    pub(crate) async fn wait_for(self, cost: NonZeroU32) {
        let line = self.bucket.line.get_or_init(|| Box::new(Semaphore::new(1)));
        // Not a lock: it is held to wait, and nobody who does not wait asks for it. It is never closed.
        let _turn = line.acquire().await;
        loop {
            match self.take(cost) {
                Measured::Within => break,
                Measured::Exceeded(Some(wait)) => sleep(wait).await,
                Measured::Exceeded(None) => std::future::pending().await,
            }
        }
    }

    /// The most that can be taken at once; zero where the quota is.
    pub(crate) fn limit(&self) -> u32 {
        self.bucket.burst
    }

    /// The same for who charges at most a whole burst; one where the quota is zero, which is refused.
    pub(crate) fn burst(&self) -> NonZeroU32 {
        NonZeroU32::new(self.bucket.burst).unwrap_or(NonZeroU32::MIN)
    }

    /// Whether forgetting the bucket loses nothing: nobody uses it, and it is full.
    fn is_idle(&self) -> bool {
        let is_full =
            || self.bucket.limiter.is_none() || self.take(self.burst()) == Measured::Within;
        Arc::strong_count(&self.bucket) == 1 && is_full()
    }
}

impl MeterTable {
    pub(crate) fn new(quota: Quota, max_entries: usize) -> Self {
        let overflow = quota.meter();
        let sweep_at = max_entries.min(FEW);
        let inner = Inner { meters: HashMap::new(), overflow, sweep_at, swept: None };
        Self { quota, max_entries, inner: Mutex::new(inner) }
    }

    /// The bucket for `key`; one of its own for none.
    pub(crate) fn meter(&self, key: Option<RateKeyValue>) -> Meter {
        let Some(key) = key else {
            return self.quota.meter();
        };
        // Held for a lookup, or for a sweep once a second; never across an await.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = inner.meters.get(&key) {
            return meter.clone();
        }
        if inner.meters.len() >= inner.sweep_at {
            inner.sweep(self.max_entries);
        }
        if inner.meters.len() >= self.max_entries {
            return inner.overflow.clone();
        }
        inner.meters.entry(key).or_insert_with(|| self.quota.meter()).clone()
    }
}

impl Inner {
    /// Forgets who is gone, at most once a second. The next look is due when there are twice as many
    /// as are left, so that looking costs each newcomer a constant.
    fn sweep(&mut self, max_entries: usize) {
        let now = Instant::now();
        if self.swept.is_some_and(|at| now.duration_since(at) < Duration::from_secs(1)) {
            return;
        }
        self.swept = Some(now);
        self.meters.retain(|_, meter| !meter.is_idle());
        let left = self.meters.len();
        self.meters.shrink_to(2 * left);
        self.sweep_at = (2 * left).clamp(max_entries.min(FEW), max_entries);
    }
}

impl RateKeyValue {
    /// A key made of anything that tells sharers apart.
    pub fn of(what: impl std::hash::Hash) -> Self {
        use std::sync::OnceLock;
        static HASHER: OnceLock<RandomState> = OnceLock::new();
        Self(HASHER.get_or_init(RandomState::new).hash_one(what))
    }
}

impl<P> RateKey<P> for PerConnection {
    fn key(&self, _: &P, _: &Connection) -> Option<RateKeyValue> {
        None
    }
}

impl<U: Principal> RateKey<Authenticated<U>> for PerUser {
    fn key(&self, user: &Authenticated<U>, _: &Connection) -> Option<RateKeyValue> {
        Some(RateKeyValue::of((user.tenant(), user.id())))
    }
}

impl<P> RateKey<P> for PerAddress {
    fn key(&self, _: &P, connection: &Connection) -> Option<RateKeyValue> {
        Some(RateKeyValue::of(connection.peer_addr().map(|peer| Network::subscriber(peer.ip()))))
    }
}

impl governor::clock::Clock for TokioClock {
    type Instant = StdInstant;

    fn now(&self) -> StdInstant {
        clock::now().into_std()
    }
}

impl fmt::Debug for MeterTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeterTable").field("quota", &self.quota).finish_non_exhaustive()
    }
}

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

#[cfg(test)]
#[path = "tests/rate_meter.rs"]
mod tests;
