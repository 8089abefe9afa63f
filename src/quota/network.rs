//! Say which networks an address is counted in.
//!
//! An IPv4 address is one, however it is written: as itself, mapped into IPv6 (`::ffff:192.0.2.1`), or
//! behind a translator with the prefix that RFC 6052 reserves for it (`64:ff9b::192.0.2.1`).
//!
//! An IPv6 address is counted three times, because how much its owner has cannot be seen: a host
//! chooses among the addresses of a /64, and RFC 6177 gives a subscriber a /56 or a /48, that is 256 or
//! 65,536 of those.
//!
//! | network | may have | why |
//! |---|---|---|
//! | /64 | the limit | a network of hosts, as an IPv4 address behind NAT is |
//! | /56 | twice | a home with a network for guests; a provider gives neighbours a /56 each |
//! | /48 | four times | a company with several networks; for an attacker, four addresses' worth and not 65,536 |
//!
//! A site that has more users behind one /48 than that needs a greater limit, as it would with so many
//! behind one IPv4 address.

use std::{
    iter,
    net::{IpAddr, Ipv6Addr},
};

/// A network whose addresses count together.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Network {
    V4(u32),
    /// The upper half of an address, with zeros behind the prefix.
    V6 {
        prefix: u64,
        length: u8,
    },
}

impl Network {
    /// The networks of `address`, the narrowest first, and how many times the limit each may have.
    pub(crate) fn of(address: IpAddr) -> impl Iterator<Item = (Self, u32)> + Clone {
        let narrowest = Self::narrowest(address);
        let wider = match narrowest {
            Self::V4(_) => &[][..],
            Self::V6 { .. } => &WIDER,
        };
        let wider = wider.iter().filter_map(move |&(length, multiple)| match narrowest {
            Self::V6 { prefix, .. } => Some((Self::v6(prefix, length), multiple)),
            Self::V4(_) => None,
        });
        iter::once((narrowest, 1)).chain(wider)
    }

    /// What a host chooses its address from: an IPv4 address, or an IPv6 /64.
    fn narrowest(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.into()),
            IpAddr::V6(address) => translated(address).unwrap_or_else(|| {
                let [a, b, c, d, ..] = address.segments();
                let prefix =
                    [a, b, c, d].into_iter().fold(0, |it, part| it << 16 | u64::from(part));
                Self::v6(prefix, 64)
            }),
        }
    }

    /// Whether `a` and `b` may be addresses of one host: the same IPv4 address, or of the same /64.
    pub(crate) fn is_one_host(a: IpAddr, b: IpAddr) -> bool {
        Self::narrowest(a) == Self::narrowest(b)
    }

    /// What one subscriber has at least: an IPv4 address, or an IPv6 /56. For who can count in one network
    /// only, because more than a number hangs on it.
    pub(crate) fn subscriber(address: IpAddr) -> Self {
        match Self::narrowest(address) {
            Self::V6 { prefix, .. } => Self::v6(prefix, 56),
            network @ Self::V4(_) => network,
        }
    }

    fn v6(prefix: u64, length: u8) -> Self {
        let kept = u64::MAX.checked_shl(64 - u32::from(length)).unwrap_or_default();
        Self::V6 { prefix: prefix & kept, length }
    }
}

/// Behind a translator every IPv4 client has an address in one /96 (RFC 6052 §2.1).
fn translated(address: Ipv6Addr) -> Option<Network> {
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(Network::V4(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

/// The prefix length of each wider network, and how many times the limit it may have.
const WIDER: [(u8, u32); 2] = [(56, 2), (48, 4)];

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(address: &str) -> Vec<(Network, u32)> {
        Network::of(address.parse().unwrap()).collect()
    }

    /// How many of the networks of `a` are networks of `b`.
    fn shared(a: &str, b: &str) -> usize {
        let b = networks(b);
        networks(a).iter().filter(|it| b.contains(it)).count()
    }

    // covers: HS-30
    #[test]
    fn an_ipv6_address_is_counted_in_each_network_that_its_owner_may_have() {
        let cases = [
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", 3),
            ("2001:db8:1:200::1", "2001:db8:1:2ff::1", 2),
            ("2001:db8:1:200::1", "2001:db8:1:300::1", 1),
            ("2001:db8:1:0::1", "2001:db8:1:ffff::1", 1),
            ("2001:db8:1::1", "2001:db8:2::1", 0),
        ];
        for (a, b, count) in cases {
            assert_eq!(shared(a, b), count, "{a} and {b}");
        }
        let multiples: Vec<u32> = networks("2001:db8::1").iter().map(|it| it.1).collect();
        assert_eq!(multiples, [1, 2, 4]);
    }

    // covers: MS-21
    #[test]
    fn a_subscriber_of_ipv6_is_one_whichever_of_its_networks_it_comes_from() {
        let subscriber = |address: &str| Network::subscriber(address.parse().unwrap());
        let one = subscriber("2001:db8:1:200::1");
        assert_eq!(subscriber("2001:db8:1:2ff:ffff::1"), one);
        assert_ne!(subscriber("2001:db8:1:300::1"), one);
        assert_eq!(subscriber("::ffff:192.0.2.1"), subscriber("192.0.2.1"));
        assert_ne!(subscriber("192.0.2.2"), subscriber("192.0.2.1"));
    }

    #[test]
    fn an_ipv4_address_is_one_however_it_comes() {
        let plain = networks("192.0.2.1");
        assert_eq!(plain.len(), 1);
        for spelled in ["::ffff:192.0.2.1", "64:ff9b::192.0.2.1", "::ffff:c000:201"] {
            assert_eq!(networks(spelled), plain, "{spelled}");
        }
        assert_ne!(networks("192.0.2.2"), plain);
        assert_ne!(networks("64:ff9b::192.0.2.2"), plain);
        // Near misses are IPv6 addresses like any other.
        for other in ["64:ff9b:1::192.0.2.1", "::192.0.2.1", "64:ff9c::192.0.2.1"] {
            assert_eq!(networks(other).len(), 3, "{other}");
        }
    }
}
