//! Read an `Origin`: what a page is served as.

use super::authority::Authority;

/// An `Origin`, as RFC 6454 §6.2 serializes one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    /// `null`.
    Opaque,
    /// `file://`: the shells of some applications send it for the pages that they carry with them.
    File,
    /// A scheme, a host and a port.
    Tuple {
        /// In ASCII lower case.
        scheme: Box<str>,
        /// Without a port if it is the scheme's own.
        authority: Authority,
    },
}

impl Origin {
    /// Reads it as browsers write it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::read(text, Authority::parse)
    }

    /// Reads what an operator wrote; `None` if no browser could send it.
    pub(super) fn configured(text: &str) -> Option<Self> {
        let (scheme, _) = text.split_once("://").unwrap_or_default();
        if ["ws", "wss"].iter().any(|it| scheme.eq_ignore_ascii_case(it)) {
            // The address of an endpoint. Pages are served as something else.
            return None;
        }
        // The hosts of other schemes are no names: `app://.` is one.
        let names = default_port(&scheme.to_ascii_lowercase()).is_some();
        Self::read(text, if names { Authority::configured } else { Authority::parse })
    }

    fn read(text: &str, authority: impl Fn(&str) -> Option<Authority>) -> Option<Self> {
        if text == "null" {
            return Some(Self::Opaque);
        }
        let (scheme, rest) = text.split_once("://")?;
        // RFC 3986 §3.1
        let valid = scheme.starts_with(|it: char| it.is_ascii_alphabetic())
            && scheme.bytes().all(|it| it.is_ascii_alphanumeric() || b"+-.".contains(&it));
        if !valid {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        if scheme == "file" {
            return rest.is_empty().then_some(Self::File);
        }
        let mut authority = authority(rest)?;
        authority.port = authority.port.filter(|it| Some(*it) != default_port(&scheme));
        Some(Self::Tuple { scheme: scheme.into(), authority })
    }
}

/// The port that a browser leaves out, for the schemes a page can have that opens a WebSocket to
/// its own host.
pub(super) fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}
