//! Whether a connection has to say whose it is.

/// Whether a connection has to authenticate.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Authentication {
    /// By its first message, within the authentication deadline.
    Required,
    /// It may, at any time or never.
    Optional,
}
