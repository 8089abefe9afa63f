//! Share buckets: one for a user or an address, whichever of their connections comes.
//!
//! Buckets that several connections share live in a table with a cap. An entry goes when no connection
//! uses it and it is full again; so a peer that reconnects finds the bucket it left. When the table is
//! full, unknown keys share one bucket until the next sweep: an attacker with a million addresses limits
//! itself.

use std::{
    collections::{HashMap, hash_map::RandomState},
    fmt,
    hash::{BuildHasher, Hash},
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{amount::Quota, meter::Meter};

/// The key of a shared bucket: a keyed hash, so that a peer cannot choose to share another's.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RateKeyValue(u64);

/// The shared buckets of a layer.
pub(crate) struct MeterTable {
    quota: Quota,
    inner: Mutex<Inner>,
}

struct Inner {
    max_entries: usize,
    meters: HashMap<RateKeyValue, Meter>,
    /// For keys that find the table full.
    overflow: Meter,
    /// How many entries there may be before it is worth looking for idle ones again.
    sweep_at: usize,
    swept: Option<Instant>,
}

impl MeterTable {
    pub(crate) fn new(quota: Quota, max_entries: usize) -> Self {
        let overflow = Meter::of(quota);
        let sweep_at = max_entries.min(FEW);
        let inner = Inner { max_entries, meters: HashMap::new(), overflow, sweep_at, swept: None };
        Self { quota, inner: Mutex::new(inner) }
    }

    /// At most so many entries from now on. What is there stays until it is idle.
    pub(crate) fn limit(&self, max_entries: usize) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.max_entries = max_entries;
        inner.sweep_at = max_entries.min(FEW);
    }

    /// The bucket for `key`; one of its own for none.
    pub(crate) fn meter(&self, key: Option<RateKeyValue>) -> Meter {
        let Some(key) = key else {
            return Meter::of(self.quota);
        };
        // Held for a lookup, or for a sweep once a second; never across an await.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = inner.meters.get(&key) {
            return meter.clone();
        }
        if inner.meters.len() >= inner.sweep_at {
            inner.sweep();
        }
        if inner.meters.len() >= inner.max_entries {
            return inner.overflow.clone();
        }
        inner.meters.entry(key).or_insert_with(|| Meter::of(self.quota)).clone()
    }
}

impl Inner {
    /// Forgets who is gone, at most once a second. The next look is due when there are twice as many
    /// as are left, so that looking costs each newcomer a constant.
    fn sweep(&mut self) {
        let (max_entries, now) = (self.max_entries, Instant::now());
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
    pub fn of(what: impl Hash) -> Self {
        static HASHER: OnceLock<RandomState> = OnceLock::new();
        Self(HASHER.get_or_init(RandomState::new).hash_one(what))
    }

    /// The hash itself.
    pub(super) fn hashed(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for MeterTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeterTable").field("quota", &self.quota).finish_non_exhaustive()
    }
}

/// A table this small is not worth a look.
const FEW: usize = 1024;

#[cfg(test)]
#[path = "tests/table.rs"]
mod tests;
