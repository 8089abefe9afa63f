//! Keep handles by a key, in shares with a lock each.
//!
//! A lock is held for a look, a change or a bounded number of clones, never while a handle is dropped: the
//! last one takes what waits for its peer with it, which may be the application's.

use std::{
    array,
    collections::BTreeMap,
    ops::{Bound, RangeInclusive},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::connection::Connection;

/// Handles, sorted by `K`. A tree, because its memory goes as its entries go, and because what belongs
/// together stands together.
pub(super) struct Index<K> {
    shards: [Mutex<BTreeMap<K, Connection>>; SHARDS],
}

/// Few, since each lock is held for less than a microsecond at a time.
const SHARDS: usize = 16;

/// What decides where an entry is.
pub(super) trait Key: Copy + Ord {
    fn share(self) -> u64;

    /// The connection's number.
    fn serial(self) -> u64;
}

impl Key for u64 {
    fn share(self) -> u64 {
        self
    }

    fn serial(self) -> u64 {
        self
    }
}

/// All of one user or session are in one place.
impl Key for (u64, u64) {
    fn share(self) -> u64 {
        self.0
    }

    fn serial(self) -> u64 {
        self.1
    }
}

impl<K: Key> Index<K> {
    fn shard_of(key: K) -> usize {
        usize::try_from(key.share() % SHARDS as u64).unwrap_or(0)
    }

    pub(super) fn insert(&self, key: K, connection: Connection) {
        let former = self.shard(Self::shard_of(key)).insert(key, connection);
        drop(former);
    }

    pub(super) fn remove(&self, key: K) {
        let removed = self.shard(Self::shard_of(key)).remove(&key);
        drop(removed);
    }

    /// Adds what is behind `last` and older than `until`, in whatever shard, until there are `most` in `page`. Returns which was
    /// the last, if there are.
    pub(super) fn fill(
        &self,
        page: &mut Vec<Connection>,
        mut last: Option<K>,
        until: u64,
        most: usize,
    ) -> Option<K> {
        for shard in last.map_or(0, Self::shard_of)..SHARDS {
            let room = most.saturating_sub(page.len());
            let from = last.take().map_or(Bound::Unbounded, Bound::Excluded);
            let entries = self.shard(shard);
            let old = entries.range((from, Bound::Unbounded)).filter(|(it, _)| it.serial() < until);
            for (key, connection) in old.take(room) {
                page.push(connection.clone());
                last = Some(*key);
            }
            if page.len() >= most {
                return last;
            }
            last = None;
        }
        None
    }

    /// Up to `most` of `range`, behind `last`.
    pub(super) fn within(
        &self,
        range: RangeInclusive<K>,
        last: Option<K>,
        most: usize,
    ) -> Vec<(K, Connection)> {
        let from = last.map_or(Bound::Included(*range.start()), Bound::Excluded);
        let shard = self.shard(Self::shard_of(*range.start()));
        let found = shard.range((from, Bound::Included(*range.end()))).take(most);
        found.map(|(key, connection)| (*key, connection.clone())).collect()
    }

    /// Takes out the first of `range` that are `counted`, until `max` remain.
    pub(super) fn take_oldest(
        &self,
        range: RangeInclusive<K>,
        max: usize,
        counted: impl Fn(&Connection) -> bool,
        moved: impl Fn(K, &Connection),
    ) -> Vec<Connection> {
        let mut shard = self.shard(Self::shard_of(*range.start()));
        let found = shard.range(range).filter(|(_, it)| counted(it)).map(|(key, _)| *key);
        let found: Vec<K> = found.collect();
        let over = found.len().saturating_sub(max);
        let take = |key| {
            let connection = shard.remove(&key)?;
            moved(key, &connection);
            Some(connection)
        };
        found.into_iter().take(over).filter_map(take).collect()
    }

    /// Takes out `key` if more than `max` of `range` are `counted`.
    pub(super) fn take_if_over(
        &self,
        key: K,
        range: RangeInclusive<K>,
        max: usize,
        counted: impl Fn(&Connection) -> bool,
    ) -> Option<Connection> {
        let mut shard = self.shard(Self::shard_of(key));
        let count = shard.range(range).filter(|(_, it)| counted(it)).take(max + 1).count();
        if count > max { shard.remove(&key) } else { None }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        (0..SHARDS).map(|it| self.shard(it).len()).sum()
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "shard_of is below SHARDS, and so is what counts up to it"
    )]
    fn shard(&self, shard: usize) -> MutexGuard<'_, BTreeMap<K, Connection>> {
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self { shards: array::from_fn(|_| Mutex::default()) }
    }
}
