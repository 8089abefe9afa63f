//! Prove that a message's sender is a member of the room the message is for.

use std::{fmt, ops::Deref};

use crate::{
    close::{Close, CloseReason},
    layers::Authenticated,
    principal::Principal,
    room::{handle::RoomHandle, subscriptions::RoleOf},
};

/// The sender of a message is the user `U`, and a member of the room the message is for.
///
/// A message that is about no room ([`Scope::Connection`](crate::Scope::Connection)) has a sender
/// too; then there is no [`room`](Self::room). Only [`RoomsLayer`](crate::RoomsLayer) makes one.
pub struct Member<U, R, Role = ()> {
    user: Authenticated<U>,
    room: Option<(RoomHandle<R>, RoleOf<Role>)>,
}

impl<U, R, Role> Member<U, R, Role> {
    /// Claims that the connection's peer is in that room, as what stands beside it.
    pub(crate) fn claim(
        user: Authenticated<U>,
        room: Option<(RoomHandle<R>, RoleOf<Role>)>,
    ) -> Self {
        Self { user, room }
    }

    /// The user.
    pub fn user(&self) -> &Authenticated<U> {
        &self.user
    }

    /// The room the message is for.
    ///
    /// # Errors
    ///
    /// A [`Close`] with [`CloseReason::NotAMember`] if the message is about no room, so that a handler
    /// that needs one can say `?`.
    pub fn room(&self) -> Result<&RoomHandle<R>, Close> {
        self.room.as_ref().map(|(room, _)| room).ok_or(Close::because(CloseReason::NotAMember))
    }

    /// What the policy said the user is in the room; `None` if the message is about no room, or if it was the
    /// application that [put the peer there](crate::room::RoomAdmin::join).
    pub fn role(&self) -> Option<&Role> {
        self.room.as_ref().and_then(|(_, role)| role.get()).map(|role| &**role)
    }
}

impl<U, R, Role> Clone for Member<U, R, Role> {
    fn clone(&self) -> Self {
        Self { user: self.user.clone(), room: self.room.clone() }
    }
}

impl<U, R, Role> Deref for Member<U, R, Role> {
    type Target = U;

    fn deref(&self) -> &U {
        &self.user
    }
}

impl<U: Principal, R, Role> fmt::Debug for Member<U, R, Role> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("user", &self.user)
            .field("room", &self.room.as_ref().map(|(room, _)| room.key()))
            .finish_non_exhaustive()
    }
}
