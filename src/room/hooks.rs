//! Tell the application who has come into a room, and who has left it.

use std::{fmt, sync::Arc, thread};

use crate::{
    connection::Connection, hooks::Hooks, layers::Authenticated, principal::Principal,
    room::name::RoomKey,
};

/// Called with the room, the user and the connection.
pub(super) type MemberHook<U> = dyn Fn(&RoomKey, &Authenticated<U>, &Connection) + Send + Sync;

/// The hooks of an endpoint. Clones share them.
pub(super) struct MemberHooks<U> {
    joined: Hooks<MemberHook<U>>,
    left: Hooks<MemberHook<U>>,
}

/// Is told what becomes of the memberships of one connection.
pub(super) trait Watch: Send + Sync {
    /// It has joined `room`.
    ///
    /// # Errors
    ///
    /// The first panic of a hook.
    fn joined(&self, room: &RoomKey, connection: &Connection) -> thread::Result<()>;

    /// It has left `room`, however that came.
    ///
    /// # Errors
    ///
    /// The first panic of a hook.
    fn left(&self, room: &RoomKey, connection: &Connection) -> thread::Result<()>;
}

/// The hooks, and the user that they are told of.
struct Watched<U> {
    user: Authenticated<U>,
    hooks: MemberHooks<U>,
}

impl<U: Principal> MemberHooks<U> {
    pub(super) fn on_joined(&mut self, hook: Arc<MemberHook<U>>) {
        self.joined.add(hook);
    }

    pub(super) fn on_left(&mut self, hook: Arc<MemberHook<U>>) {
        self.left.add(hook);
    }

    /// Who is to be told of the memberships of `user`, if anybody.
    pub(super) fn watch(&self, user: &Authenticated<U>) -> Option<Box<dyn Watch>> {
        if self.joined.is_empty() && self.left.is_empty() {
            return None;
        }
        Some(Box::new(Watched { user: user.clone(), hooks: self.clone() }))
    }
}

impl<U: Principal> Watch for Watched<U> {
    fn joined(&self, room: &RoomKey, connection: &Connection) -> thread::Result<()> {
        self.hooks.joined.call(|hook| hook(room, &self.user, connection))
    }

    fn left(&self, room: &RoomKey, connection: &Connection) -> thread::Result<()> {
        self.hooks.left.call(|hook| hook(room, &self.user, connection))
    }
}

impl<U> Clone for MemberHooks<U> {
    fn clone(&self) -> Self {
        Self { joined: self.joined.clone(), left: self.left.clone() }
    }
}

impl<U> Default for MemberHooks<U> {
    fn default() -> Self {
        Self { joined: Hooks::default(), left: Hooks::default() }
    }
}

impl<U> fmt::Debug for MemberHooks<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberHooks")
            .field("joined", &self.joined)
            .field("left", &self.left)
            .finish()
    }
}
