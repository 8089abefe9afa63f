//! Count against a quota.
//!
//! The algorithm is governor's GCRA on tokio's clock, which is monotonic: setting the system's clock
//! back or forward grants no burst.

use std::{
    num::NonZeroU32,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use governor::{
    RateLimiter,
    clock::Clock as _,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::{sync::Semaphore, time::sleep};

use super::{amount::Quota, clock::TurnClock};

/// A bucket, or a share of one.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    bucket: Arc<Bucket>,
}

#[derive(Debug)]
pub(super) struct Bucket {
    /// None where the quota is zero: governor has no bucket that stays empty.
    limiter: Option<Limiter>,
    burst: u32,
    /// The order of those who wait, first come, first served. Made at the first wait: most never
    /// wait.
    line: OnceLock<Box<Semaphore>>,
}

/// What a meter says of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Measured {
    Within,
    /// Not before this much time has passed; `None` if it costs more than a whole burst.
    Exceeded(Option<Duration>),
}

impl Meter {
    /// A full bucket.
    pub(crate) fn of(quota: Quota) -> Self {
        let rates = NonZeroU32::new(quota.rate).zip(NonZeroU32::new(quota.burst));
        let Some((rate, burst)) = rates else {
            return Self::new(None, 0);
        };
        let interval = quota.interval();
        // governor counts a whole burst in nanoseconds: one that takes a century never ends anyway.
        let longest = CENTURY.as_nanos() / interval.as_nanos();
        let longest = u32::try_from(longest).ok().and_then(NonZeroU32::new);
        let burst = longest.map_or(burst, |it| burst.min(it));
        let quota = governor::Quota::with_period(interval)
            .unwrap_or(governor::Quota::per_second(rate))
            .allow_burst(burst);
        let limiter = RateLimiter::direct_with_clock(quota, TurnClock);
        Self::new(Some(limiter), burst.get())
    }

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
                Measured::Exceeded(Some(not_until.wait_time_from(TurnClock.now())))
            }
            Err(_insufficient_capacity) => Measured::Exceeded(None),
        }
    }

    /// The same, unless the bucket is waited for: who came before goes first.
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
        // Not a lock: it is held to wait, and only asked for in order to wait. It is never closed.
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

    /// Whether forgetting the bucket loses nothing: it is not in use, and full.
    pub(super) fn is_idle(&self) -> bool {
        let is_full =
            || self.bucket.limiter.is_none() || self.take(self.burst()) == Measured::Within;
        Arc::strong_count(&self.bucket) == 1 && is_full()
    }
}

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

type Limiter = RateLimiter<NotKeyed, InMemoryState, TurnClock, NoOpMiddleware<Instant>>;
