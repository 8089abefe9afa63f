//! Bound what all connections together can make the server hold.
//!
//! Each connection has bounds of its own, and their product with the number of connections is far
//! more than any machine has: most connections hold nothing most of the time. A [`MemoryBudget`] is
//! the bound on the sum. It is charged for what waits to be written to peers, for the messages that
//! peers have begun, and for those being handled.
//!
//! 1. Up to the *soft mark* nothing happens.
//! 2. Above it new handshakes get `503`, and the connection that holds most is closed with 1013; again
//!    with each further 128th of the budget.
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
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use slab::Slab;

use crate::outbound::OutboundQueue;

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
    accounts: Mutex<Slab<Entry>>,
}

struct Entry {
    balance: Arc<Balance>,
    queue: Weak<OutboundQueue>,
}

#[derive(Debug, Default)]
struct Balance {
    held: AtomicUsize,
    /// Was told to close once; that it still holds something is a matter of time.
    evicted: AtomicBool,
}

/// What one connection holds of the budget. Dropping it gives everything back.
pub(crate) struct Account {
    shared: Arc<Shared>,
    key: usize,
    balance: Arc<Balance>,
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

    /// An account for the connection with this queue.
    pub(crate) fn open(&self, queue: Weak<OutboundQueue>) -> Account {
        let balance = Arc::<Balance>::default();
        let entry = Entry { balance: Arc::clone(&balance), queue };
        let key = self.shared.accounts().insert(entry);
        Account { shared: Arc::clone(&self.shared), key, balance }
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
        self.balance.held.fetch_sub(bytes, Ordering::Relaxed);
        self.shared.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Closes the largest holder if the budget is tight. No lock of a queue may be held.
    pub(crate) fn relieve(&self) {
        let shared = &self.shared;
        let used = shared.used.load(Ordering::Relaxed);
        if used <= shared.soft {
            shared.relieve_above.store(shared.soft, Ordering::Relaxed);
            return;
        }
        let above = shared.relieve_above.load(Ordering::Relaxed);
        let step = shared.limit / STEPS;
        if used <= above
            || shared
                .relieve_above
                .compare_exchange(above, used + step, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        let largest = {
            let accounts = shared.accounts();
            let here = accounts.iter().map(|(_, entry)| entry);
            let here = here.filter(|it| !it.balance.evicted.load(Ordering::Relaxed));
            here.max_by_key(|it| it.balance.held.load(Ordering::Relaxed)).map(|entry| {
                entry.balance.evicted.store(true, Ordering::Relaxed);
                entry.queue.clone()
            })
        };
        // Outside of the lock: this may be the last owner of the queue, and so of its account.
        if let Some(queue) = largest.and_then(|it| it.upgrade()) {
            queue.evict();
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.shared.accounts().try_remove(self.key);
        self.shared.used.fetch_sub(self.balance.held.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Shared {
    /// Held to add or remove an entry, or to look for the largest. No other lock is taken under it.
    fn accounts(&self) -> MutexGuard<'_, Slab<Entry>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
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
