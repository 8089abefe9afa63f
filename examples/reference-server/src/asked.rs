//! Count who has asked in this minute, and refuse those who ask too often.
//!
//! An IPv6 address counts by its /64, and in shares that grow with the prefix by its /56 and /48: one customer
//! has 65,536 of the first. The table has a cap. Addresses that find it full share one count until the minute is over:
//! to refuse them all would let an attacker with that many addresses shut everybody out.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// How often each network has asked since the minute began.
pub(crate) struct Asked {
    since: Instant,
    times: HashMap<Network, u32>,
    strangers: u32,
}

/// The first bits of an address, and how many.
type Network = (u128, u32);

impl Asked {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, times: HashMap::new(), strangers: 0 }
    }

    /// Whether `ip` may ask once more, which then counts.
    pub(crate) fn may_ask(&mut self, ip: IpAddr, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= MINUTE {
            *self = Self::new(now);
        }
        let times = |it: &Network| self.times.get(it).copied();
        if networks(ip).any(|(it, most)| times(&it).is_some_and(|it| it >= most)) {
            return false;
        }
        let new = networks(ip).filter(|(it, _)| times(it).is_none()).count();
        if self.times.len() + new > MAX_NETWORKS {
            self.strangers = self.strangers.saturating_add(1);
            return self.strangers <= STRANGERS;
        }
        for (network, _) in networks(ip) {
            *self.times.entry(network).or_default() += 1;
        }
        true
    }
}

/// The networks of an address, and how often each may ask in a minute.
fn networks(ip: IpAddr) -> impl Iterator<Item = (Network, u32)> {
    // IPv4 has one length, as no prefix of IPv6 has it.
    let (bits, lengths): (u128, &'static [(u32, u32)]) = match ip.to_canonical() {
        IpAddr::V4(ip) => (ip.to_bits().into(), &[(0, 1)]),
        IpAddr::V6(ip) => (ip.to_bits(), &[(64, 1), (56, 2), (48, 4)]),
    };
    let network = move |&(length, multiple): &(u32, u32)| {
        let prefix = if length == 0 { bits } else { bits >> (128 - length) };
        ((prefix, length), EACH_MINUTE * multiple)
    };
    lengths.iter().map(network)
}

const MINUTE: Duration = Duration::from_secs(60);

/// A house of people who open several tabs. One of them who comes back again and again asks twice a minute
/// at most.
const EACH_MINUTE: u32 = 120;

/// Four megabytes at most.
const MAX_NETWORKS: usize = 50_000;

/// For all who find the table full.
const STRANGERS: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn may(asked: &mut Asked, ip: &str, now: Instant) -> bool {
        asked.may_ask(ip.parse().unwrap(), now)
    }

    // covers: HS-30
    #[test]
    fn an_address_has_its_share_of_a_minute_however_many_it_can_choose_from() {
        let now = Instant::now();
        let mut asked = Asked::new(now);
        let mut count = |address: &dyn Fn(u32) -> String| {
            (0..1_000).filter(|n| may(&mut asked, &address(*n), now)).count()
        };
        assert_eq!(count(&|_| "192.0.2.1".to_owned()), 120);
        assert_eq!(count(&|_| "::ffff:192.0.2.1".to_owned()), 0);
        assert_eq!(count(&|n| format!("2001:db8:1:1::{n:x}")), 120);
        assert_eq!(count(&|n| format!("2001:db8:1:{:x}::1", n % 256)), 120);
        assert_eq!(count(&|n| format!("2001:db8:1:{n:x}::1")), 240);
        assert_eq!(count(&|n| format!("198.51.{}.{}", n / 256, n % 256)), 1_000);
        assert!(!may(&mut asked, "192.0.2.1", now + MINUTE / 2));
        assert!(may(&mut asked, "192.0.2.1", now + MINUTE));
    }

    // covers: MS-21
    #[test]
    fn a_million_addresses_leave_the_table_at_its_cap_and_others_a_way_in() {
        let now = Instant::now();
        let mut asked = Asked::new(now);
        assert!(may(&mut asked, "192.0.2.1", now));
        let addresses = (0..1_000_000_u32).map(|n| IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
        let let_in = addresses.filter(|ip| asked.may_ask(*ip, now)).count();
        assert_eq!(
            (asked.times.len(), let_in),
            (MAX_NETWORKS, MAX_NETWORKS - 1 + STRANGERS as usize)
        );
        // An address that is known has its own share all the same.
        assert!(may(&mut asked, "192.0.2.1", now));
    }
}
