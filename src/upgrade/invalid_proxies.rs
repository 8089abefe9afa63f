//! Say, at start and in words, which networks and headers cannot be trusted.

use std::{error::Error, fmt};

/// A setting of [`TrustedProxies`](super::TrustedProxies) that is a mistake.
///
/// Its text is a sentence for the operator, with the value.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum InvalidProxies {
    /// This is no network, or has bits behind its prefix.
    Network(String),
    /// This network has so many addresses that any client may have one.
    TooWide(String),
    /// No network was named, so that no header would ever be read.
    NoNetwork,
    /// No header can have this name.
    Header(String),
}

impl fmt::Display for InvalidProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(text) => write!(
                f,
                "{text:?} is no network: address/prefix with zeros behind the prefix, as 10.0.0.0/8 \
                 or fd00::/8, or a single address"
            ),
            Self::TooWide(text) => write!(
                f,
                "{text:?} would let anybody claim any address: name the networks that the proxies \
                 are in, none wider than /8 (IPv6: /7)"
            ),
            Self::NoNetwork => f.write_str("no network was named, so that no proxy is trusted"),
            Self::Header(text) => write!(f, "{text:?} cannot be the name of a header"),
        }
    }
}

impl Error for InvalidProxies {}
