//! Say, at start and in words, what an endpoint cannot be set to.

use std::{error::Error, fmt};

use crate::connection::ConnectionConfigError;

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
            Self::Host(text) => write!(f, "{text:?} is not a host, with or without a port"),
            Self::Origin(text) => {
                write!(f, "{text:?} is not an origin as a browser sends it: scheme://host[:port]")
            }
            Self::Connection(error) => error.fmt(f),
        }
    }
}

impl Error for ConfigError {}
