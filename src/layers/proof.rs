//! Carry what a peer has shown in the type of its messages.
//!
//! None of these types has a public constructor. Each is made in one place, by the code that did the
//! check: [`Anonymous`] by the driver, [`Authenticated`] by `require_auth.rs`,
//! [`Member`](crate::Member) by `room/layer.rs`. The test kit, a feature, can make them too.

use std::{fmt, ops::Deref, sync::Arc};

use crate::principal::Principal;

/// Nothing has been shown yet.
#[derive(Clone, Copy, Debug)]
pub struct Anonymous(());

/// The peer is the user `U`: its credentials were verified on this connection.
pub struct Authenticated<U> {
    user: Arc<U>,
}

impl Anonymous {
    /// A claim that needs no check. The driver makes it for each message it reads.
    pub(crate) const fn claim() -> Self {
        Self(())
    }
}

impl<U> Authenticated<U> {
    /// Claims that the connection's peer was verified to be `user`.
    pub(crate) fn claim(user: impl Into<Arc<U>>) -> Self {
        Self { user: user.into() }
    }

    /// The user.
    pub fn user(&self) -> &U {
        &self.user
    }
}

impl<U> Clone for Authenticated<U> {
    fn clone(&self) -> Self {
        Self { user: Arc::clone(&self.user) }
    }
}

impl<U> Deref for Authenticated<U> {
    type Target = U;

    fn deref(&self) -> &U {
        &self.user
    }
}

impl<U: Principal> fmt::Debug for Authenticated<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authenticated").field(&self.user.id()).finish()
    }
}
