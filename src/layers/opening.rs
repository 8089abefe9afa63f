//! Tell a layer, while it is applied, what the handshake of its connection has shown.
//!
//! A layer is applied once for each connection, before the answer to its handshake. But tower hands it the
//! service to wrap, and nothing else; and what the handshake showed has to be known by then, since a
//! peer that has shown nothing is to be answered 401, not 101. So it stands here, for as long as the layers of one
//! connection are applied, on the thread that does so.

use std::cell::RefCell;

use super::HandshakeIdentity;
use crate::{connection::Connection, principal::Principal};

thread_local! {
    static CURRENT: RefCell<Option<Opening>> = const { RefCell::new(None) };
}

/// What a handshake has shown, and what the layers make of it.
#[derive(Default)]
pub(crate) struct Opening {
    identity: Option<HandshakeIdentity>,
    /// A layer asks for logins.
    pub(crate) authenticates: bool,
    /// A layer goes by identities.
    pub(crate) asked: bool,
    /// Why there is to be no connection.
    pub(crate) refused: Option<NotIdentified>,
    /// What is to be done once there is one, before the peer is heard.
    pub(crate) enter: Option<Enter>,
}

/// Logs the peer in, or turns it away.
pub(crate) type Enter = Box<dyn FnOnce(&Connection) + Send>;

/// Why a layer has no identity to go by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NotIdentified {
    /// The handshake had no identity.
    Missing,
    /// It had one of another type than the layer's.
    OtherType,
}

/// Applies layers by `make`, which may ask for `identity`.
pub(crate) fn during<T>(
    identity: Option<HandshakeIdentity>,
    make: impl FnOnce() -> T,
) -> (T, Opening) {
    /// What was there before comes back, also if `make` panics.
    struct Restore(Option<Opening>);
    impl Drop for Restore {
        fn drop(&mut self) {
            // What is dropped may be the application's: not while it is borrowed.
            let former = CURRENT.with_borrow_mut(|it| std::mem::replace(it, self.0.take()));
            drop(former);
        }
    }
    let opening = Opening { identity, ..Opening::default() };
    let mut restore = Restore(CURRENT.replace(Some(opening)));
    let made = make();
    let opening = CURRENT.replace(restore.0.take()).unwrap_or_default();
    std::mem::forget(restore);
    (made, opening)
}

/// Lets a layer look, if it is applied for a connection that is about to open.
pub(super) fn current<T>(look: impl FnOnce(&mut Opening) -> T) -> Option<T> {
    CURRENT.with_borrow_mut(|it| it.as_mut().map(look))
}

impl Opening {
    /// Who the peer is: a `U`.
    pub(super) fn identity<U: Principal>(&mut self) -> Result<HandshakeIdentity, NotIdentified> {
        self.asked = true;
        let identity = self.identity.clone().ok_or(NotIdentified::Missing)?;
        if identity.is_of::<U>() { Ok(identity) } else { Err(NotIdentified::OtherType) }
    }
}
