//! Keep which rooms there are, and whose memberships they are made of.
//!
//! Two kinds of lock, never held together: the directory's, to find or to make a room, and each
//! room's own (`state/`). A room stays in the directory while somebody holds a [`RoomLease`] of it; the
//! lease is taken before the room is looked into and dropped after it was left, so that a join never
//! meets a room that is being removed, and nobody has to try again.

use std::{
    collections::{HashMap, VecDeque, hash_map},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    capacity,
    quota::clock,
    room::{
        config::RoomLimits,
        join_refused::JoinRefused,
        name::RoomKey,
        pace::UsersPace,
        publisher::Publisher,
        shares::{Holder, Shares},
    },
};

/// What a directory has: rooms, that is, of which it knows no more than this.
pub(super) trait Listed: Sized {
    fn key(&self) -> &RoomKey;

    /// The directory that it is in.
    fn directory(&self) -> &Directory<Self>;

    /// How long it is to be kept when nobody is in it, if at all.
    fn kept_for(&self) -> Option<Duration>;
}

pub(super) struct Directory<T> {
    limits: RoomLimits,
    /// Members of all rooms. Nothing is decided by it.
    members: AtomicUsize,
    books: Mutex<Books<T>>,
}

/// Which rooms there are, and whose memberships.
struct Books<T> {
    rooms: HashMap<RoomKey, Entry<T>>,
    shares: Shares,
    /// Rooms that nobody is in and that are kept for a while, those first whose time is over first.
    kept: VecDeque<(Instant, RoomKey)>,
}

struct Entry<T> {
    room: Arc<T>,
    /// Members, joins under way, and pins. Counted under the directory's lock only.
    leases: usize,
    /// Without leases: how long it is kept.
    until: Option<Instant>,
}

/// Keeps a room in the directory, and is a part of its holder's share. Must not be dropped under a
/// room's lock.
pub(super) struct RoomLease<T: Listed> {
    room: Arc<T>,
    publisher: Arc<Publisher>,
}

/// Keeps a room in the directory, whoever is in it. Must not be dropped under a room's lock.
pub(super) struct RoomPin<T: Listed> {
    directory: Arc<Directory<T>>,
    key: RoomKey,
}

impl<T> Directory<T> {
    pub(super) fn new(limits: RoomLimits) -> Self {
        let (rooms, shares, kept) = (HashMap::new(), Shares::default(), VecDeque::new());
        let books = Books { rooms, shares, kept };
        Self { limits, members: AtomicUsize::new(0), books: Mutex::new(books) }
    }

    pub(super) fn limits(&self) -> &RoomLimits {
        &self.limits
    }

    /// How many rooms there are.
    pub(super) fn len(&self) -> usize {
        self.lock().rooms.len()
    }

    /// How many members all of them have.
    pub(super) fn members(&self) -> usize {
        self.members.load(Ordering::Relaxed)
    }

    /// A room has a member more.
    pub(super) fn count_joined(&self) {
        self.members.fetch_add(1, Ordering::Relaxed);
    }

    /// A room has so many members less.
    pub(super) fn count_left(&self, members: usize) {
        self.members.fetch_sub(members, Ordering::Relaxed);
    }

    /// The room `key`, if it exists. Neither lock is held when this returns.
    pub(super) fn find(&self, key: &RoomKey) -> Option<Arc<T>> {
        // Dropped when the lock is free again.
        let _gone;
        let mut books = self.lock();
        _gone = books.sweep(clock::now());
        books.rooms.get(key).map(|entry| Arc::clone(&entry.room))
    }

    /// The keys of all rooms.
    pub(super) fn keys(&self) -> Vec<RoomKey> {
        self.lock().rooms.keys().cloned().collect()
    }

    /// All rooms.
    pub(super) fn all(&self) -> Vec<Arc<T>> {
        self.lock().rooms.values().map(|entry| Arc::clone(&entry.room)).collect()
    }

    #[cfg(test)]
    pub(super) fn shares_are_given_back(&self) -> bool {
        self.lock().shares.is_empty()
    }

    /// Held to look up, insert or remove one room: never across an await, never while a room's lock
    /// is held or taken. No code of the application's runs under it.
    fn lock(&self) -> MutexGuard<'_, Books<T>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Listed> Directory<T> {
    /// A lease of the room `key`, which `make` makes if there is none, for a connection that may be in
    /// `rooms_each` rooms; and the pace at which its user publishes.
    pub(super) fn lease(
        &self,
        key: &RoomKey,
        publisher: Arc<Publisher>,
        rooms_each: NonZeroUsize,
        make: impl FnOnce() -> T,
    ) -> Result<(RoomLease<T>, Arc<UsersPace>), JoinRefused> {
        // Dropped when the lock is free again.
        let (mut gone, _gone);
        let mut books = self.lock();
        gone = books.sweep(clock::now());
        books.shares.check(self.limits.shares(rooms_each), &publisher.holder)?;
        let taken = books.take(key, self.limits.rooms, make, &mut gone);
        _gone = gone;
        let room = taken?;
        let pace = books.shares.take(&publisher.holder);
        Ok((RoomLease { room, publisher }, pace))
    }

    /// The room `key`, which `make` makes if there is none, and what keeps it there for the application.
    pub(super) fn pin(
        directory: &Arc<Self>,
        key: &RoomKey,
        make: impl FnOnce() -> T,
    ) -> Result<(Arc<T>, RoomPin<T>), JoinRefused> {
        // Dropped when the lock is free again.
        let (mut gone, _gone);
        let mut books = directory.lock();
        gone = books.sweep(clock::now());
        let taken = books.take(key, directory.limits.rooms, make, &mut gone);
        _gone = gone;
        Ok((taken?, RoomPin { directory: Arc::clone(directory), key: key.clone() }))
    }
}

impl<T: Listed> RoomLease<T> {
    pub(super) fn room(&self) -> &Arc<T> {
        &self.room
    }

    pub(super) fn publisher(&self) -> &Arc<Publisher> {
        &self.publisher
    }
}

impl<T: Listed> Drop for RoomLease<T> {
    fn drop(&mut self) {
        // Dropped when the lock is free again.
        let (key, holder) = (self.room.key(), &self.publisher.holder);
        let kept_for = self.room.kept_for();
        let _gone = self.room.directory().lock().give_back(key, holder, kept_for);
    }
}

impl<T: Listed> Drop for RoomPin<T> {
    fn drop(&mut self) {
        // Dropped when the lock is free again.
        let _gone = self.directory.lock().release(&self.key, None);
    }
}

impl<T> Books<T> {
    /// One lease more of the room `key`, which `make` makes if there is none; there may be `most`. What has to go
    /// for it goes to `gone`.
    fn take(
        &mut self,
        key: &RoomKey,
        most: NonZeroUsize,
        make: impl FnOnce() -> T,
        gone: &mut Vec<Entry<T>>,
    ) -> Result<Arc<T>, JoinRefused> {
        if self.rooms.len() >= most.get() && !self.rooms.contains_key(key) {
            gone.extend(self.forget_first());
        }
        let known = self.rooms.len();
        let entry = match self.rooms.entry(key.clone()) {
            hash_map::Entry::Occupied(entry) => entry.into_mut(),
            hash_map::Entry::Vacant(entry) => {
                if known >= most.get() {
                    return Err(JoinRefused::RoomsFull);
                }
                entry.insert(Entry { room: Arc::new(make()), leases: 0, until: None })
            }
        };
        entry.leases += 1;
        entry.until = None;
        Ok(Arc::clone(&entry.room))
    }

    /// One lease of the room less, and a part of `holder`'s share. Without leases there is no room, unless it
    /// is `kept_for` those who come back.
    fn give_back(
        &mut self,
        key: &RoomKey,
        holder: &Holder,
        kept_for: Option<Duration>,
    ) -> Option<Entry<T>> {
        self.shares.give_back(holder);
        self.release(key, kept_for)
    }

    /// One lease of the room less.
    fn release(&mut self, key: &RoomKey, kept_for: Option<Duration>) -> Option<Entry<T>> {
        let entry = self.rooms.get_mut(key)?;
        entry.leases -= 1;
        if entry.leases > 0 {
            return None;
        }
        if let Some(until) = kept_for.and_then(|it| clock::now().checked_add(it)) {
            entry.until = Some(until);
            self.kept.push_back((until, key.clone()));
            if self.kept.len() > 2 * self.rooms.len() + KEPT_ROOMS {
                // Who comes and goes leaves a line each time.
                let rooms = &self.rooms;
                let stands = |until: Instant, key: &RoomKey| {
                    rooms.get(key).is_some_and(|it| it.until == Some(until))
                };
                self.kept.retain(|(until, key)| stands(*until, key));
            }
            return None;
        }
        self.remove(key)
    }

    /// Forgets the rooms whose time is over.
    fn sweep(&mut self, now: Instant) -> Vec<Entry<T>> {
        let mut gone = Vec::new();
        while self.kept.front().is_some_and(|(until, _)| *until <= now) {
            gone.extend(self.forget_first());
        }
        gone
    }

    /// Forgets the room that would be the next to be forgotten, if there still is nobody in it.
    fn forget_first(&mut self) -> Option<Entry<T>> {
        while let Some((until, key)) = self.kept.pop_front() {
            if let Some(less) = capacity::smaller(self.kept.len(), self.kept.capacity(), KEPT_ROOMS)
            {
                self.kept.shrink_to(less);
            }
            if self.rooms.get(&key).is_some_and(|entry| entry.until == Some(until)) {
                return self.remove(&key);
            }
        }
        None
    }

    fn remove(&mut self, key: &RoomKey) -> Option<Entry<T>> {
        let gone = self.rooms.remove(key);
        if let Some(less) = capacity::smaller(self.rooms.len(), self.rooms.capacity(), KEPT_ROOMS) {
            self.rooms.shrink_to(less);
        }
        gone
    }
}

/// Room for this many is not given back: growing again costs more than it saves.
const KEPT_ROOMS: usize = 1024;
