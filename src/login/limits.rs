//! Bound what one session may, whatever the layers let everybody.

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
}
