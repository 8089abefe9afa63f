//! Bound what one session may, whatever the layers let everybody.

use std::num::NonZeroUsize;

use crate::quota::Quota;

/// What a session may. The limits of the endpoint's layers hold besides.
///
/// Given at the login ([`Session::limits`](crate::Session::limits)), as by what a user has paid for, and
/// changed while the session lives ([`Selected::limit`](crate::connections::Selected::limit)), as for a user
/// who is to calm down.
#[must_use]
#[derive(Clone, Debug, Default)]
pub struct SessionLimits {
    pub(crate) messages: Option<Quota>,
    pub(crate) outbound: Option<NonZeroUsize>,
}

impl SessionLimits {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// So many messages on each connection of the session; more close it with 1008 `rate limited`. What is
    /// used up of a quota is full again where another is set. Default: no limit.
    pub fn messages(mut self, quota: Quota) -> Self {
        self.messages = Some(quota);
        self
    }

    /// So many bytes wait for the peer on each connection of the session; more close it with 1013, as
    /// those of [`max_outbound_bytes`](crate::ConnectionConfig::max_outbound_bytes) do. A bound below two of
    /// the largest messages to a peer counts as two: a legal message is not to close a connection by its size.
    /// Default: the endpoint's bound alone.
    pub fn outbound(mut self, bytes: NonZeroUsize) -> Self {
        self.outbound = Some(bytes);
        self
    }
}
