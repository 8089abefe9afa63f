//! Say, at start and in words, what an endpoint cannot be set to.

use std::{error::Error, fmt};

use crate::driver::ConnectionConfigError;

/// A setting that could never match anything, or never work.
///
/// Its text is a sentence for the operator, with the value.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ConfigError {
    /// No server goes by this host.
    Host(String),
    /// No browser sends this origin.
    Origin(String),
    /// No cookie has this name.
    Cookie(String),
    /// No request has this path.
    Path(String),
    /// These bounds contradict each other.
    Connection(ConnectionConfigError),
}

impl From<ConnectionConfigError> for ConfigError {
    fn from(error: ConnectionConfigError) -> Self {
        Self::Connection(error)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(text) => {
                write!(f, "{text:?} is no host that a browser goes to: host or host:port")
            }
            Self::Origin(text) => {
                write!(f, "{text:?} is no origin as a browser sends it: scheme://host or ")?;
                f.write_str("scheme://host:port, of the page, without a path")
            }
            Self::Cookie(text) => write!(f, "{text:?} cannot be the name of a cookie"),
            Self::Path(text) => {
                write!(f, "{text:?} is no path that a request has: it begins with a slash, has ")?;
                f.write_str("neither a query nor dot segments, and is no pattern")
            }
            Self::Connection(error) => error.fmt(f),
        }
    }
}

impl Error for ConfigError {}
