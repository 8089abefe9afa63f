//! Bound what all connections together can make the server hold.
//!
//! Each connection has bounds of its own, and their product with the number of connections is far
//! more than any machine has: most connections hold nothing most of the time. A [`MemoryBudget`] is
//! the bound on the sum. It is charged for what waits to be written to peers, for the messages that
//! peers have begun or sent ahead, for those being handled, and for the buffers that large ones made
//! grow, until they are given back after a second: with what is held it agrees within a factor of two.
//!
//! 1. Up to the *soft mark* nothing happens.
//! 2. Above it new handshakes get `503`, and the connection that holds most is closed with 1013; again
//!    with each further 128th of the budget, unless what the connections that are closing still hold
//!    is enough.
//! 3. The budget itself is never passed: what would pass it is not queued, or not read, and that
//!    connection is closed with 1013.
//!
//! A message to a room is charged once for each member, although the members share its bytes, so the
//! memory really held is less. What a connection costs while it is idle is not charged: the cap on
//! connections bounds that.
//!
//! # Example
//!
//! ```
//! use std::num::NonZeroUsize;
//! use tower_websocket::MemoryBudget;
//!
//! const BYTES: NonZeroUsize = NonZeroUsize::new(256 * 1024 * 1024).unwrap();
//!
//! let budget = MemoryBudget::new(BYTES);
//! assert_eq!(budget.used(), 0);
//! // For every endpoint of the process: `layer.memory_budget(budget.clone())`.
//! ```

use std::{
    collections::HashMap,
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use crate::outbound::dropped::Dropped;

/// A bound on what all connections of one or several endpoints hold. Clones share it.
///
/// See the [module docs](self) for the rule.
#[must_use]
#[derive(Clone)]
pub struct MemoryBudget {
    shared: Arc<Shared>,
}

struct Shared {
    limit: usize,
    soft: usize,
    used: AtomicUsize,
    /// When `used` is above this, the largest holder goes.
    relieve_above: AtomicUsize,
    accounts: Mutex<Accounts>,
}

/// The accounts that are open, by a number of their own.
#[derive(Default)]
struct Accounts {
    entries: HashMap<u64, Entry>,
    next: u64,
}

struct Entry {
    balance: Arc<Balance>,
    queue: Weak<dyn Evict>,
}

#[derive(Debug, Default)]
struct Balance {
    held: AtomicUsize,
    /// The connection is closing: that it still holds something is a matter of time.
    leaving: AtomicBool,
}

/// What is given up when its holder is the largest.
pub(crate) trait Evict: Send + Sync {
    /// Gives it up because the process needs the memory. What was held goes to `dropped`.
    fn evict(&self, dropped: &mut Dropped);
}

/// What one connection holds of the budget: its queue and its input charge the same account, so that
/// the largest holder is the largest connection. Dropping it gives everything back.
pub(crate) struct Account {
    shared: Arc<Shared>,
    /// Its place among the accounts, until it is closed.
    key: Mutex<Option<u64>>,
    balance: Arc<Balance>,
}

/// What a connection's input holds of its account. Dropping it gives that back.
#[derive(Debug)]
pub(crate) struct Charge {
    account: Arc<Account>,
    held: usize,
}

impl MemoryBudget {
    /// A budget of so many bytes, with its soft mark at three quarters: the last quarter is what
    /// connections may still claim while the largest holder is being closed.
    pub fn new(bytes: NonZeroUsize) -> Self {
        let limit = bytes.get();
        let soft = limit - limit / 4;
        Self {
            shared: Arc::new(Shared {
                limit,
                soft,
                used: AtomicUsize::new(0),
                relieve_above: AtomicUsize::new(soft),
                accounts: Mutex::default(),
            }),
        }
    }

    /// Bytes charged now.
    pub fn used(&self) -> usize {
        self.shared.used.load(Ordering::Relaxed)
    }

    /// Whether so much is charged that no more connections should be let in.
    pub fn is_tight(&self) -> bool {
        self.used() > self.shared.soft
    }

    /// Sheds the largest holder if it is tight. No lock of a holder may be held. What was held goes to
    /// `dropped`.
    pub(crate) fn relieve(&self, dropped: &mut Dropped) {
        self.shared.relieve(dropped);
    }

    /// An account for a connection with this queue, or a room with this log.
    pub(crate) fn open(&self, queue: Weak<dyn Evict>) -> Account {
        let balance = Arc::<Balance>::default();
        let entry = Entry { balance: Arc::clone(&balance), queue };
        let key = Mutex::new(Some(self.shared.accounts().insert(entry)));
        Account { shared: Arc::clone(&self.shared), key, balance }
    }

    /// An account for what cannot be given up: it is charged, and never shed.
    pub(crate) fn open_fixed(&self) -> Account {
        Account { shared: Arc::clone(&self.shared), key: Mutex::new(None), balance: Arc::default() }
    }
}

impl Account {
    /// Charges `bytes`, unless that would pass the budget.
    pub(crate) fn try_grow(&self, bytes: usize) -> bool {
        let shared = &self.shared;
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= shared.limit);
        let grown = shared.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        if grown.is_ok() {
            self.balance.held.fetch_add(bytes, Ordering::Relaxed);
        }
        grown.is_ok()
    }

    pub(crate) fn shrink(&self, bytes: usize) {
        let shared = &self.shared;
        self.balance.held.fetch_sub(bytes, Ordering::Relaxed);
        let used = shared.used.fetch_sub(bytes, Ordering::Relaxed).saturating_sub(bytes);
        if used <= shared.soft && shared.relieve_above.load(Ordering::Relaxed) != shared.soft {
            shared.relieve_above.store(shared.soft, Ordering::Relaxed);
        }
    }

    /// The connection is about to end: closing it again would relieve nobody.
    pub(crate) fn leave(&self) {
        self.balance.leaving.store(true, Ordering::Relaxed);
    }

    /// It was shed and goes on, as a room does: it may be the largest again.
    pub(crate) fn stay(&self) {
        self.balance.leaving.store(false, Ordering::Relaxed);
    }

    /// The connection has ended; who kept a handle on it keeps the account out of the others' way.
    pub(crate) fn close(&self) {
        let key = self.key.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(key) = key {
            self.shared.accounts().remove(key);
        }
    }

    /// Whether so much is charged by all that somebody may have to go.
    pub(crate) fn is_tight(&self) -> bool {
        self.shared.used.load(Ordering::Relaxed) > self.shared.soft
    }

    /// What it is a part of.
    pub(crate) fn budget(&self) -> MemoryBudget {
        MemoryBudget { shared: Arc::clone(&self.shared) }
    }

    /// The same as [`MemoryBudget::relieve`].
    pub(crate) fn relieve(&self, dropped: &mut Dropped) {
        self.shared.relieve(dropped);
    }
}

impl Shared {
    /// Sheds the largest holder if the budget is tight. No lock of a holder may be held. What was held
    /// goes to `dropped`.
    fn relieve(&self, dropped: &mut Dropped) {
        let shared = self;
        let used = shared.used.load(Ordering::Relaxed);
        let above = shared.relieve_above.load(Ordering::Relaxed);
        // A budget that was filled in one go is above its last step, too.
        let next = used.saturating_add(shared.limit / STEPS).min(shared.limit - 1);
        let relaxed = Ordering::Relaxed;
        if used <= above
            || shared.relieve_above.compare_exchange(above, next, relaxed, relaxed).is_err()
        {
            return;
        }
        // Outside of the lock: this may be the last owner of the queue, and so of its account.
        if let Some(queue) = shared.largest().and_then(|it| it.upgrade()) {
            queue.evict(dropped);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.close();
        self.shrink(self.balance.held.load(Ordering::Relaxed));
    }
}

impl Charge {
    pub(crate) fn new(account: Arc<Account>) -> Self {
        Self { account, held: 0 }
    }

    /// Bytes charged now.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Charges `held` bytes in all, unless that would pass the budget.
    pub(crate) fn set(&mut self, held: usize) -> bool {
        if held <= self.held {
            self.account.shrink(self.held - held);
        } else if !self.account.try_grow(held - self.held) {
            return false;
        } else {
            self.account.relieve(&mut Dropped::default());
        }
        self.held = held;
        true
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.shrink(self.held);
    }
}

impl Accounts {
    fn insert(&mut self, entry: Entry) -> u64 {
        let key = self.next;
        self.next += 1;
        self.entries.insert(key, entry);
        key
    }

    /// Gives the room of a peak back when three quarters of it are empty.
    fn remove(&mut self, key: u64) {
        self.entries.remove(&key);
        let left = self.entries.len();
        if left < self.entries.capacity() / 4 {
            self.entries.shrink_to(2 * left);
        }
    }
}

impl Shared {
    /// Held to add or remove an entry, or to look for the largest. No other lock is taken under it.
    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to close, which counts as leaving from here on; none if what is held by those
    /// that are leaving will do.
    fn largest(&self) -> Option<Weak<dyn Evict>> {
        let accounts = self.accounts();
        let mut leaving = 0;
        let mut largest = None;
        for entry in accounts.entries.values() {
            let held = entry.balance.held.load(Ordering::Relaxed);
            if entry.balance.leaving.load(Ordering::Relaxed) {
                leaving += held;
            } else if largest.is_none_or(|(most, _)| held > most) {
                largest = Some((held, entry));
            }
        }
        let (_, entry) = largest?;
        if self.used.load(Ordering::Relaxed).saturating_sub(leaving) <= self.soft {
            return None;
        }
        entry.balance.leaving.store(true, Ordering::Relaxed);
        Some(Weak::clone(&entry.queue))
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBudget")
            .field("limit", &self.shared.limit)
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("balance", &self.balance).finish_non_exhaustive()
    }
}

/// How finely the room above the soft mark is given out: a quarter of these, at most, are closed
/// before the budget is reached.
const STEPS: usize = 128;

#[cfg(test)]
#[path = "tests/budget.rs"]
mod tests;
