//! Read the host and port of a `Host` header, of an origin and of a setting by one rule, so that they
//! compare.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A host and, where it was written, a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Authority {
    /// In ASCII lower case. An IPv6 address keeps its brackets, and is written in one way.
    pub(super) host: Box<str>,
    pub(super) port: Option<u16>,
}

impl Authority {
    /// Reads `host[:port]` as browsers write it.
    ///
    /// Stricter than RFC 3986 §3.2: no user information, no percent-encoding, no empty port, no
    /// leading zero. Each of these has two readings somewhere, and none is written by a browser.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = split(text)?;
        let named = |it: u8| it.is_ascii_alphanumeric() || b"-._~".contains(&it);
        if let Some(address) = host.strip_prefix('[') {
            // The brackets are there: it was split behind them.
            let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
            return Some(Self { host: format!("[{address}]").into(), port });
        }
        let valid = !host.is_empty() && host.len() <= MAX_HOST && host.bytes().all(named);
        valid.then(|| Self { host: host.to_ascii_lowercase().into(), port })
    }

    /// Reads `host[:port]` as an operator writes it, and writes it as a browser would: international
    /// names in Punycode, without a root dot. `None` if no browser would ever go there.
    pub(super) fn configured(text: &str) -> Option<Self> {
        let (host, port) = split(text)?;
        if host.starts_with('[') {
            return Self::parse(text);
        }
        let ascii = idna::domain_to_ascii_cow(host.as_bytes(), idna::AsciiDenyList::URL).ok()?;
        let ascii = without_root(&ascii);
        let labels = |it: &str| it.split('.').all(|it| (1..=MAX_LABEL).contains(&it.len()));
        // A browser takes a host whose last label is a number for an IPv4 address in whatever spelling,
        // and sends four decimal numbers.
        let address = || !ends_in_number(ascii) || ascii.parse::<Ipv4Addr>().is_ok();
        if !labels(ascii) || !address() {
            return None;
        }
        Self::parse(ascii).map(|it| Self { port, ..it })
    }

    /// Whether a request to `asked` is one to this host, of any port if none was named.
    ///
    /// A browser leaves out the port that its scheme has anyway; `scheme_port` is that port, if the
    /// scheme is known. A root dot makes no other host: the name is the same for DNS and for TLS.
    pub(super) fn covers(&self, asked: &Self, scheme_port: Option<u16>) -> bool {
        let port = self.port.is_none_or(|port| match (asked.port, scheme_port) {
            (Some(asked), _) | (None, Some(asked)) => asked == port,
            (None, None) => matches!(port, 80 | 443),
        });
        port && *self.host == *without_root(&asked.host)
    }
}

/// Cuts off the port, which is behind the brackets of an IPv6 address.
fn split(text: &str) -> Option<(&str, Option<u16>)> {
    let host = match text.starts_with('[') {
        true => text.find(']')? + 1,
        false => text.find(':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at_checked(host)?;
    match port.strip_prefix(':') {
        Some(digits) => Some((host, Some(parse_port(digits)?))),
        None => port.is_empty().then_some((host, None)),
    }
}

fn parse_port(digits: &str) -> Option<u16> {
    // `u16::from_str` alone takes `+80` and `0080`.
    if digits.starts_with('0') || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

fn without_root(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

fn ends_in_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").is_some_and(|it| it.bytes().all(|it| it.is_ascii_hexdigit()));
    hex || (!last.is_empty() && last.bytes().all(|it| it.is_ascii_digit()))
}

/// A DNS name has at most 253 characters (RFC 1035 §2.3.4), and a root dot.
const MAX_HOST: usize = 254;

/// Characters of a label of a DNS name (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;
