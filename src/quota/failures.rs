//! Count failures, and know which keys have failed too often.
//!
//! Failures spend, everything else only looks: a key that never fails is never counted, and one that has
//! failed too often is told how long to wait. What is over the quota is a debt, so that many tries at the same moment
//! gain nothing in the long run. The table has a cap. When it is full, those go that are nearest to being
//! forgotten anyway and may still try; and when none in it may, those that are not in it share one bucket:
//! to refuse them all would hand an attacker with that many addresses a switch.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Network,
    amount::Quota,
    meter::{Measured, Meter},
    table::RateKeyValue,
};

/// How often each of `K` has failed.
pub(crate) struct Failures<K> {
    /// How long one takes to be forgiven.
    interval: Duration,
    /// How long as many take as there may be at once.
    capacity: Duration,
    max_entries: usize,
    inner: Mutex<Inner<K>>,
}

/// How often logins from each address have failed, at one endpoint.
pub(crate) struct FailedLogins(Failures<Network>);

struct Inner<K> {
    entries: HashMap<K, Entry>,
    /// There is no room, and no key in it may try.
    all_blocked: bool,
    /// For those who are not in it then.
    strangers: Meter,
    swept: Instant,
    /// How many entries there may be before it is worth looking for forgiven ones again.
    sweep_at: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    /// When nothing is owed any more.
    even_at: Instant,
    /// What was tried last: the same again is a program with a stale secret, and no guess.
    tried: [u64; 4],
}

/// What a failure costs, in quarters of a whole one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// Something was tried, and was wrong.
    Tried(RateKeyValue),
    /// A place was held for as long as there is, and nothing was tried.
    Waited,
}

impl<K: Copy + Eq + Hash> Failures<K> {
    /// `quota` for each of at most `max_entries`.
    pub(crate) fn new(quota: Quota, max_entries: usize) -> Self {
        let interval = quota.interval().min(LONGEST);
        let burst = if quota.rate == 0 { 0 } else { quota.at_once() };
        let inner = Inner {
            entries: HashMap::new(),
            all_blocked: false,
            strangers: Meter::of(STRANGERS),
            swept: Instant::now(),
            sweep_at: FEW.min(max_entries),
        };
        let capacity = interval.saturating_mul(burst);
        Self { interval, capacity, max_entries, inner: Mutex::new(inner) }
    }

    /// How long those have to wait who go by `keys`, each with how many times the quota it may have.
    pub(crate) fn wait(
        &self,
        keys: impl Iterator<Item = (K, u32)>,
        now: Instant,
    ) -> Option<Duration> {
        let inner = self.inner();
        keys.filter_map(|(key, multiple)| {
            let even_at = inner.entries.get(&key).map_or(now, |it| it.even_at);
            self.over(even_at, multiple, now)
        })
        .max()
    }

    /// The same for who comes now, which takes from what strangers share where there is no more room.
    pub(crate) fn enter(
        &self,
        keys: impl Iterator<Item = (K, u32)> + Clone,
        now: Instant,
    ) -> Option<Duration> {
        if let Some(wait) = self.wait(keys.clone(), now) {
            return Some(wait);
        }
        let mut inner = self.inner();
        inner.sweep_now_and_then(self, now);
        let known = |(key, _)| inner.entries.contains_key(&key);
        if !inner.all_blocked || keys.take(1).any(known) {
            return None;
        }
        match inner.strangers.take(NonZeroU32::MIN) {
            Measured::Within => None,
            Measured::Exceeded(wait) => Some(wait.unwrap_or(LONGEST)),
        }
    }

    /// Counts a failure for each of `keys`, the narrowest first.
    pub(crate) fn count(
        &self,
        keys: impl Iterator<Item = (K, u32)> + Clone,
        failure: Failure,
        now: Instant,
    ) {
        let mut inner = self.inner();
        let tried = match failure {
            Failure::Tried(what) => Some(what.hashed()),
            Failure::Waited => None,
        };
        let narrowest = keys.clone().next().and_then(|it| inner.entries.get(&it.0));
        if let (Some(tried), Some(entry)) = (tried, narrowest)
            && entry.tried.contains(&tried)
        {
            return;
        }
        inner.sweep_now_and_then(self, now);
        let quarters = if tried.is_some() { 4 } else { 1 };
        for (key, multiple) in keys {
            let room = inner.entries.len() < self.max_entries;
            let entry = match inner.entries.get_mut(&key) {
                Some(entry) => entry,
                None if room => inner.entries.entry(key).or_insert(Entry::new(now)),
                None => continue,
            };
            let cost = self.interval / multiple.saturating_mul(4).max(1) * quarters;
            let most = now.checked_add(self.capacity.saturating_add(DEBT));
            let after = entry.even_at.max(now).checked_add(cost);
            entry.even_at = after.into_iter().chain(most).min().unwrap_or(now);
            if let Some(tried) = tried {
                entry.tried.rotate_right(1);
                entry.tried[0] = tried;
            }
        }
    }

    /// How long until there is one to spend again, by what is owed until `even_at`.
    fn over(&self, even_at: Instant, multiple: u32, now: Instant) -> Option<Duration> {
        let next = even_at.max(now).checked_add(self.interval / multiple.max(1))?;
        let wait = next.checked_duration_since(now.checked_add(self.capacity)?)?;
        (wait > Duration::ZERO).then_some(wait)
    }

    /// Held for a few lookups, or for a sweep once a second; never across an await.
    fn inner(&self) -> MutexGuard<'_, Inner<K>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.inner().entries.len()
    }
}

impl<K: Copy + Eq + Hash> Inner<K> {
    /// Forgets who owes nothing: when there are twice as many as were left the last time, but at most once
    /// a second; and once a minute.
    fn sweep_now_and_then(&mut self, limits: &Failures<K>, now: Instant) {
        let since = now.saturating_duration_since(self.swept);
        let grown = self.entries.len() >= self.sweep_at && since >= SECOND;
        if grown || since >= MINUTE {
            self.sweep(limits, now);
        }
    }

    fn sweep(&mut self, limits: &Failures<K>, now: Instant) {
        self.swept = now;
        self.entries.retain(|_, it| it.even_at > now);
        if self.entries.len() >= limits.max_entries {
            self.forget_a_quarter(limits, now);
        }
        let left = self.entries.len();
        self.all_blocked = left >= limits.max_entries;
        self.entries.shrink_to(2 * left);
        self.sweep_at = (2 * left).max(FEW).min(limits.max_entries);
    }

    /// Of those who may still try, forgets the quarter that owes least.
    fn forget_a_quarter(&mut self, limits: &Failures<K>, now: Instant) {
        let is_blocked = |it: &Entry| limits.over(it.even_at, 1, now).is_some();
        let mut times: Vec<_> =
            self.entries.values().filter(|it| !is_blocked(it)).map(|it| it.even_at).collect();
        let quarter = times.len() / 4;
        if quarter < times.len() {
            let (_, last, _) = times.select_nth_unstable(quarter);
            let last = *last;
            self.entries.retain(|_, it| is_blocked(it) || it.even_at > last);
        }
    }
}

impl Entry {
    fn new(now: Instant) -> Self {
        Self { even_at: now, tried: [0; 4] }
    }
}

impl FailedLogins {
    pub(crate) fn new(quota: Quota) -> Self {
        Self(Failures::new(quota, ENTRIES))
    }

    /// How long `address` has to wait that comes now.
    pub(crate) fn enter(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        self.0.enter(Network::of(address), now)
    }

    /// The same for one that is in already.
    pub(crate) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        self.0.wait(Network::of(address), now)
    }

    pub(crate) fn count(&self, address: IpAddr, failure: Failure, now: Instant) {
        self.0.count(Network::of(address), failure, now);
    }
}

impl<K> fmt::Debug for Failures<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failures").field("interval", &self.interval).finish_non_exhaustive()
    }
}

impl fmt::Debug for FailedLogins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Keys that are told apart: 20 MB if there are ever so many.
pub(crate) const ENTRIES: usize = 100_000;

/// What all share who find the table full of those who are blocked.
const STRANGERS: Quota = Quota::per_minute(1_000);

/// The most that a key can owe beyond the quota. One that has tried more than that at the same moment is
/// not shut out for a day, where others may have the address by then.
const DEBT: Duration = Duration::from_secs(60 * 60);

/// For quotas that say "hardly ever".
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A table this small is not worth a look.
const FEW: usize = 1024;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
#[path = "tests/failures.rs"]
mod tests;
