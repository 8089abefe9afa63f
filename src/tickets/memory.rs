//! Keep tickets in this process.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use super::{Stored, Taken, TicketError, TicketHash, TicketStore};

/// Tickets in the memory of this process: at most 100,000 at once, and of one user 16.
///
/// What was taken is remembered for the rest of its time, so that who shows it again is seen to; it counts
/// for the first bound. At the defaults that are 3,333 logins a second. Ten thousand tickets take some 4 MB.
pub struct MemoryTickets {
    max: usize,
    max_per_user: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    places: HashMap<TicketHash, Place>,
    /// In the order in which they end, which is that in which they came: all are good for as long.
    order: VecDeque<(Instant, TicketHash)>,
    /// What each user holds, the oldest first.
    users: HashMap<String, Vec<TicketHash>>,
}

/// What became of a ticket whose time is not over.
enum Place {
    Held {
        owner: String,
        entry: Vec<u8>,
    },
    Taken,
    /// Its user has had newer ones since.
    Given,
}

impl MemoryTickets {
    /// The defaults: 100,000 in all, 16 of a user.
    pub fn new() -> Self {
        Self { max: 100_000, max_per_user: 16, inner: Mutex::default() }
    }

    /// At most so many whose time is not over.
    #[must_use]
    pub fn max(mut self, max: NonZeroUsize) -> Self {
        self.max = max.get();
        self
    }

    /// At most so many of one user that were not used: who gets another loses the oldest. Default: 16, every
    /// tab of a browser that starts again.
    #[must_use]
    pub fn max_per_user(mut self, max: NonZeroUsize) -> Self {
        self.max_per_user = max.get();
        self
    }

    /// How many are held, or remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let inner = self.inner();
        assert_eq!(inner.places.len(), inner.order.len());
        let held = inner.places.values().filter(|it| matches!(it, Place::Held { .. })).count();
        assert_eq!(inner.users.values().map(Vec::len).sum::<usize>(), held);
        inner.places.len()
    }

    /// Held for a look at a few entries; never across an await.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TicketStore for MemoryTickets {
    async fn put(&self, ticket: Stored) -> Result<(), TicketError> {
        let Stored { hash, owner, entry, ttl } = ticket;
        let now = Instant::now();
        let mut inner = self.inner();
        inner.sweep(now);
        if inner.places.len() >= self.max {
            return Err(TicketError::Full);
        }
        let ends = now.checked_add(ttl).ok_or(TicketError::Unavailable)?;
        let held = inner.users.entry(owner.clone()).or_default();
        let over = (held.len() + 1).saturating_sub(self.max_per_user);
        let oldest: Vec<TicketHash> = held.drain(..over.min(held.len())).collect();
        held.push(hash);
        for hash in oldest {
            inner.places.insert(hash, Place::Given);
        }
        inner.places.insert(hash, Place::Held { owner, entry });
        inner.order.push_back((ends, hash));
        Ok(())
    }

    async fn take(&self, hash: &TicketHash) -> Result<Taken, TicketError> {
        let mut inner = self.inner();
        inner.sweep(Instant::now());
        let taken = match inner.places.get(hash) {
            None | Some(Place::Given) => return Ok(Taken::Nothing),
            Some(Place::Taken) => return Ok(Taken::Replayed),
            Some(Place::Held { .. }) => inner.places.insert(*hash, Place::Taken),
        };
        let Some(Place::Held { owner, entry }) = taken else { return Ok(Taken::Nothing) };
        inner.give_up(&owner, hash);
        Ok(Taken::Entry(entry))
    }
}

impl Inner {
    /// Forgets those whose time is over.
    fn sweep(&mut self, now: Instant) {
        while let Some((ends, hash)) = self.order.front().copied() {
            if ends > now {
                break;
            }
            self.order.pop_front();
            if let Some(Place::Held { owner, .. }) = self.places.remove(&hash) {
                self.give_up(&owner, &hash);
            }
        }
        // What a flood has grown is given back.
        if self.order.len() < self.order.capacity() / 4 {
            self.order.shrink_to_fit();
            self.places.shrink_to_fit();
            self.users.shrink_to_fit();
        }
    }

    /// `owner` holds this one no more.
    fn give_up(&mut self, owner: &str, hash: &TicketHash) {
        if let Some(held) = self.users.get_mut(owner) {
            held.retain(|it| it != hash);
            if held.is_empty() {
                self.users.remove(owner);
            }
        }
    }
}

impl Default for MemoryTickets {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTickets")
            .field("max", &self.max)
            .field("max_per_user", &self.max_per_user)
            .finish_non_exhaustive()
    }
}
