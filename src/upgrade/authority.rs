//! Read the host and port of a `Host` header and of an origin by one rule, so that they compare.

/// A host and, where it was written, a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Authority {
    /// In ASCII lower case. An IPv6 address keeps its brackets.
    pub(super) host: Box<str>,
    pub(super) port: Option<u16>,
}

impl Authority {
    /// Reads `host[:port]` as browsers write it.
    ///
    /// Stricter than RFC 3986 §3.2: no user information, no percent-encoding, no empty port, no
    /// leading zero. Each of these has two readings somewhere, and none is written by a browser.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, rest) = rest.split_once(']')?;
                address.parse::<std::net::Ipv6Addr>().ok()?;
                (text.get(..address.len() + 2)?, rest)
            }
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let named = |it: u8| it.is_ascii_alphanumeric() || b"-._~".contains(&it);
        if host.is_empty()
            || host.len() > MAX_HOST
            || !(host.starts_with('[') || host.bytes().all(named))
        {
            return None;
        }
        let port = match port.strip_prefix(':') {
            Some(digits) => Some(parse_port(digits)?),
            None if port.is_empty() => None,
            None => return None,
        };
        Some(Self { host: host.to_ascii_lowercase().into(), port })
    }
}

fn parse_port(digits: &str) -> Option<u16> {
    // `u16::from_str` alone takes `+80` and `0080`.
    if digits.starts_with('0') || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// A DNS name has at most 253 characters (RFC 1035 §2.3.4), and a root dot.
const MAX_HOST: usize = 254;
