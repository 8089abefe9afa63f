//! Count what comes in a time, for each address.
//!
//! A cap on what is open does not stop who opens and hangs up; this does. Each network of an address
//! has a bucket of its own (GCRA: the time at which it is full again is all there is to know of it), and
//! all of them are checked before anything is taken out of one. The table has a cap: networks that find
//! it full share one bucket until there is room again.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::Network;

/// So much in a time for each address.
pub(crate) struct AddressRate {
    /// How long one takes to be there again.
    interval: Duration,
    burst: u32,
    max_entries: usize,
    inner: Mutex<Inner>,
}

struct Inner {
    /// When the bucket of each network is full again. One that is full is as good as none.
    full_at: HashMap<Network, Instant>,
    /// The bucket of those for whom there is no entry.
    overflow: Instant,
    swept: Instant,
    /// How many entries there may be before it is worth looking for full ones again.
    sweep_at: usize,
}

/// The address has had its share for the moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TooFast;

impl AddressRate {
    /// One in each `interval`, and `burst` at once; `max_entries` networks are told apart.
    pub(crate) fn new(interval: Duration, burst: u32, max_entries: usize) -> Self {
        let now = Instant::now();
        let inner = Inner { full_at: HashMap::new(), overflow: now, swept: now, sweep_at: 0 };
        Self { interval, burst, max_entries, inner: Mutex::new(inner) }
    }

    /// Takes one out of the buckets of `address`, or nothing.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> Result<(), TooFast> {
        // Held for a few lookups, or for a sweep once a second; never across an await.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.sweep(self.max_entries, now);
        let room = inner.full_at.len().saturating_add(NETWORKS) <= self.max_entries;
        let mut shared = None;
        for (network, multiple) in Network::of(address) {
            match inner.full_at.get(&network) {
                Some(at) => drop(self.after(*at, multiple, now)?),
                None if room => drop(self.after(now, multiple, now)?),
                // Once, though none of its networks has an entry.
                None => shared = Some(self.after(inner.overflow, SHARED, now)?),
            }
        }
        for (network, multiple) in Network::of(address) {
            let at = inner.full_at.get(&network).copied();
            if (at.is_some() || room)
                && let Ok(after) = self.after(at.unwrap_or(now), multiple, now)
            {
                inner.full_at.insert(network, after);
            }
        }
        if let Some(after) = shared {
            inner.overflow = after;
        }
        Ok(())
    }

    /// When a bucket that is full at `at` is full again after one more was taken out of it.
    fn after(&self, at: Instant, multiple: u32, now: Instant) -> Result<Instant, TooFast> {
        let interval = self.interval / multiple;
        let after = at.max(now).checked_add(interval).ok_or(TooFast)?;
        // The burst grows with the rate: it takes as long to fill.
        let most = interval.saturating_mul(self.burst.saturating_mul(multiple));
        if after.duration_since(now) > most { Err(TooFast) } else { Ok(after) }
    }

    #[cfg(test)]
    fn entries(&self) -> usize {
        self.inner.lock().unwrap().full_at.len()
    }
}

impl Inner {
    /// Forgets the buckets that are full: when there are twice as many as were left the last time, so
    /// that looking costs each newcomer a constant, but at most once a second; and once a minute, so
    /// that the memory of a flood is given back.
    fn sweep(&mut self, max_entries: usize, now: Instant) {
        let since = now.saturating_duration_since(self.swept);
        let grown = self.full_at.len() >= self.sweep_at && since >= Duration::from_secs(1);
        if !grown && since < Duration::from_secs(60) {
            return;
        }
        self.swept = now;
        self.full_at.retain(|_, at| *at > now);
        let left = self.full_at.len();
        self.full_at.shrink_to(2 * left);
        self.sweep_at = (2 * left).max(FEW).min(max_entries.saturating_sub(NETWORKS - 1));
    }
}

impl fmt::Debug for AddressRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddressRate")
            .field("interval", &self.interval)
            .field("burst", &self.burst)
            .finish_non_exhaustive()
    }
}

/// The most networks that an address is counted in.
const NETWORKS: usize = 3;

/// A table this small is not worth a look.
const FEW: usize = 1024;

/// How many times the rate of one address those share for whom there is no room: as many as a /48 has.
const SHARED: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(max_entries: usize) -> AddressRate {
        AddressRate::new(Duration::from_millis(100), 5, max_entries)
    }

    fn take(rate: &AddressRate, address: &str) -> bool {
        rate.take(address.parse().unwrap(), Instant::now()).is_ok()
    }

    // covers: HS-30
    #[tokio::test(start_paused = true)]
    async fn an_address_has_a_rate_and_a_burst_and_takes_nothing_from_another() {
        let rate = rate(1_000);
        let passed = |address| (0..100).filter(|_| take(&rate, address)).count();
        assert_eq!(passed("192.0.2.1"), 5);
        assert_eq!(passed("192.0.2.2"), 5);
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(passed("192.0.2.1"), 2);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(passed("192.0.2.1"), 5);
    }

    // covers: HS-30
    #[tokio::test(start_paused = true)]
    async fn a_subscriber_of_ipv6_has_four_times_the_rate_and_not_65536_times() {
        let rate = rate(1_000_000);
        let passed = |address: &dyn Fn(u32) -> String| {
            (0..65_536).filter(|n| take(&rate, &address(*n))).count()
        };
        assert_eq!(passed(&|n| format!("2001:db8:1:{n:x}::1")), 20);
        assert_eq!(passed(&|n| format!("2001:db8:2:{:x}::1", n & 0xff)), 10);
        assert_eq!(passed(&|n| format!("2001:db8:3:1::{n:x}")), 5);
        tokio::time::advance(Duration::from_secs(1)).await;
        // Ten a second for an address, so forty for the /48, of which it may have twenty at once.
        assert_eq!(passed(&|n| format!("2001:db8:1:{n:x}::1")), 20);
    }

    // covers: HS-30
    #[tokio::test(start_paused = true)]
    async fn a_refusal_takes_nothing_out_of_any_bucket() {
        let rate = rate(1_000);
        // Two /64 of a /56 take all that the /56 may have; a third is refused over and over.
        for host in ["2001:db8:1:1::1", "2001:db8:1:2::1"] {
            assert_eq!((0..5).filter(|_| take(&rate, host)).count(), 5);
        }
        for _ in 0..100 {
            assert!(!take(&rate, "2001:db8:1:3::1"));
        }
        // What the /48 still has is there for another /56, and 100 ms are two for the first.
        assert_eq!((0..100).filter(|_| take(&rate, "2001:db8:1:100::1")).count(), 5);
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!((0..100).filter(|_| take(&rate, "2001:db8:1:3::1")).count(), 2);
    }

    // covers: HS-30
    #[tokio::test(start_paused = true)]
    async fn a_hundred_thousand_addresses_fill_a_table_to_its_cap_and_then_share() {
        let rate = rate(1_000);
        let address = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        let mut passed = 0;
        for n in 0..100_000 {
            passed += usize::from(rate.take(address(n), Instant::now()).is_ok());
            assert!(rate.entries() <= 1_000);
        }
        // Those that found room, and what all others together may have.
        assert_eq!(passed, 998 + 20);
        // Who is known keeps its own bucket.
        assert!(take(&rate, "10.0.0.0"));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(take(&rate, "192.0.2.1"));
        assert_eq!(rate.entries(), 1, "full buckets are forgotten");
    }
}
