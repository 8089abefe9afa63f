//! Say, at start and in words, what no browser could ever send.

use std::{error::Error, fmt};

/// A setting of an [`OriginPolicy`](super::OriginPolicy) that could never match anything.
///
/// Its text is a sentence for the operator, with the value.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum InvalidOrigin {
    /// No server goes by this host.
    Host(String),
    /// No browser sends this origin.
    Origin(String),
    /// No cookie has this name.
    Cookie(String),
    /// The endpoint goes by identities from handshakes, and this origin is one that any page can have.
    AnyPage(&'static str),
}

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(text) => {
                write!(f, "{text:?} is no host that a browser goes to: host or host:port")
            }
            Self::Origin(text) => {
                write!(f, "{text:?} is no origin as a browser sends it: scheme://host or ")?;
                f.write_str("scheme://host:port, of the page, without a path")
            }
            Self::AnyPage(origin) => {
                write!(
                    f,
                    "identities from handshakes, and {origin} as an origin: any page could act "
                )?;
                f.write_str("in the name of whoever looks at it")
            }
            Self::Cookie(text) => write!(f, "{text:?} cannot be the name of a cookie"),
        }
    }
}

impl Error for InvalidOrigin {}
