//! Count what is open, in all and for each address.
//!
//! All counts of an address are checked and taken together, under one lock: who is refused by one of
//! them holds none of the others. The tables have an entry for what is open and for nothing else, and
//! give their memory back when it closes.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Network;

/// Places, of which no address may have more than its share. Clones are the same places.
///
/// For code that accepts sockets: a server that counts them only in all lets one address have all of
/// them. An IPv6 address is counted by its /64, by its /56, which may have twice as many, and by its
/// /48, which may have four times as many, but never more than half of all: RFC 6177 gives a
/// subscriber a /56 or a /48.
///
/// # Example
///
/// ```
/// use std::num::NonZeroUsize;
///
/// use tower_websocket::upgrade::PeerSlots;
///
/// const ALL: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// const EACH: NonZeroUsize = NonZeroUsize::new(2).unwrap();
///
/// let slots = PeerSlots::new(ALL, EACH);
/// let peer = "192.0.2.1:50000".parse().unwrap();
/// let first = slots.acquire(peer).unwrap();
/// let second = slots.acquire(peer).unwrap();
/// assert!(slots.acquire(peer).is_none());
/// assert!(slots.acquire("192.0.2.2:50000".parse().unwrap()).is_some());
/// drop(first);
/// assert!(slots.acquire(peer).is_some());
/// # drop(second);
/// ```
#[derive(Clone)]
pub struct PeerSlots {
    shared: Arc<Shared>,
}

/// A place. Dropping it is the only way to give it back.
#[must_use]
pub struct PeerSlot {
    shared: Arc<Shared>,
    address: IpAddr,
}

struct Shared {
    limits: Limits,
    counts: Mutex<Counts>,
}

/// How much there is, and how much one address may have of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) all: NonZeroUsize,
    pub(crate) each: NonZeroUsize,
}

/// What is open. As large as that.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    all: usize,
    networks: HashMap<Network, usize>,
}

/// There is no place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Full {
    /// All are taken.
    All,
    /// The address has its share.
    Each,
}

impl PeerSlots {
    /// `all` places, of which one address may have `each`.
    pub fn new(all: NonZeroUsize, each: NonZeroUsize) -> Self {
        let limits = Limits { all, each };
        Self { shared: Arc::new(Shared { limits, counts: Mutex::default() }) }
    }

    /// A place for `peer`; `None` if it has its share or if all are taken.
    #[must_use]
    pub fn acquire(&self, peer: SocketAddr) -> Option<PeerSlot> {
        let mut counts = self.shared.counts();
        let address = peer.ip();
        counts.check(self.shared.limits, Some(address)).ok()?;
        counts.take(Some(address));
        drop(counts);
        Some(PeerSlot { shared: Arc::clone(&self.shared), address })
    }

    /// How many places are taken.
    pub fn taken(&self) -> usize {
        self.shared.counts().all()
    }
}

impl Shared {
    /// Held for a few lookups, never across an await.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limits {
    /// What a network may have that may have `multiple` times what an address may.
    ///
    /// A wide one never has more than half of all, so that there is something for others. But it never
    /// has less than an address may, whatever the operator has set for that.
    fn of(self, multiple: u32) -> usize {
        let each = self.each.get();
        let wide = each.saturating_mul(usize::try_from(multiple).unwrap_or(usize::MAX));
        wide.min(self.all.get() / 2).max(each)
    }
}

impl Counts {
    /// Whether there is a place for `address`. Without one, only the number of all counts.
    ///
    /// Its own share first: who has it hears so, and not that others have taken everything.
    pub(crate) fn check(&self, limits: Limits, address: Option<IpAddr>) -> Result<(), Full> {
        for (network, multiple) in address.into_iter().flat_map(Network::of) {
            if self.networks.get(&network).is_some_and(|taken| *taken >= limits.of(multiple)) {
                return Err(Full::Each);
            }
        }
        if self.all >= limits.all.get() {
            return Err(Full::All);
        }
        Ok(())
    }

    /// Takes the place that [`check`](Self::check) has found.
    pub(crate) fn take(&mut self, address: Option<IpAddr>) {
        self.all += 1;
        for (network, _) in address.into_iter().flat_map(Network::of) {
            *self.networks.entry(network).or_default() += 1;
        }
    }

    /// Gives back what was taken for `address`.
    pub(crate) fn give_back(&mut self, address: Option<IpAddr>) {
        self.all -= 1;
        for (network, _) in address.into_iter().flat_map(Network::of) {
            if let Entry::Occupied(mut entry) = self.networks.entry(network) {
                *entry.get_mut() -= 1;
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        }
        // What a flood has left behind is given back when a quarter is used.
        if self.networks.capacity() > 4 * self.networks.len().max(FEW) {
            self.networks.shrink_to(2 * self.networks.len());
        }
    }

    /// Whether everything that is open is of `address`.
    pub(crate) fn is_all_of(&self, address: IpAddr) -> bool {
        Network::of(address).all(|(network, _)| self.networks.get(&network) == Some(&self.all))
    }

    pub(crate) fn all(&self) -> usize {
        self.all
    }

    #[cfg(test)]
    pub(crate) fn networks(&self) -> usize {
        self.networks.len()
    }
}

impl Drop for PeerSlot {
    fn drop(&mut self) {
        self.shared.counts().give_back(Some(self.address));
    }
}

impl fmt::Debug for PeerSlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerSlots").field("limits", &self.shared.limits).finish_non_exhaustive()
    }
}

impl fmt::Debug for PeerSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerSlot").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Entries: a table this small is not worth giving back.
const FEW: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(all: usize, each: usize) -> PeerSlots {
        PeerSlots::new(NonZeroUsize::new(all).unwrap(), NonZeroUsize::new(each).unwrap())
    }

    fn acquire(slots: &PeerSlots, peer: &str) -> Option<PeerSlot> {
        slots.acquire(SocketAddr::new(peer.parse().unwrap(), 1))
    }

    // covers: HS-30
    #[test]
    fn an_address_has_its_share_however_many_it_can_choose_from() {
        let slots = slots(1_000, 10);
        let mut held = Vec::new();
        let mut take = |address: &dyn Fn(u32) -> String| {
            let before = held.len();
            held.extend((0..100).filter_map(|n| acquire(&slots, &address(n))));
            held.len() - before
        };
        assert_eq!(take(&|_| "192.0.2.1".into()), 10);
        assert_eq!(take(&|n| format!("2001:db8:1:1::{n:x}")), 10);
        // A /56 twice as many, of which one of its /64 has taken half.
        assert_eq!(take(&|n| format!("2001:db8:1:{n:x}::1")), 10);
        // A /48 four times as many.
        assert_eq!(take(&|n| format!("2001:db8:1:{:x}::1", n << 8)), 20);
        assert_eq!(take(&|n| format!("2001:db8:2:{:x}::1", n << 8)), 40);
        assert_eq!(take(&|n| format!("198.51.100.{n}")), 100);
    }

    // covers: HS-30
    #[test]
    fn no_network_has_more_than_half_unless_an_address_may() {
        let wide = |n: u32| format!("2001:db8:1:{:x}::1", n << 8);
        for (all, each, most) in [(100, 20, 50), (100, 60, 60), (100, 500, 100), (1, 1, 1)] {
            let slots = slots(all, each);
            let held: Vec<_> = (0..256).filter_map(|n| acquire(&slots, &wide(n % 256))).collect();
            assert_eq!(held.len(), most, "{all} {each}");
        }
    }

    #[test]
    fn what_is_given_back_leaves_nothing() {
        let slots = slots(10_000, 10);
        let peers = (0..10_000).map(|n| format!("2001:db8:{n:x}::1"));
        let held: Vec<_> = peers.filter_map(|peer| acquire(&slots, &peer)).collect();
        assert_eq!((held.len(), slots.taken()), (10_000, 10_000));
        assert!(acquire(&slots, "192.0.2.1").is_none());
        drop(held);
        let counts = slots.shared.counts();
        assert_eq!((counts.all, counts.networks.len()), (0, 0));
        assert!(counts.networks.capacity() <= 8 * FEW, "{}", counts.networks.capacity());
    }
}
