//! Decide who may be in a room, and as what.
//!
//! A [`RoomPolicy`] is asked once for each join, and its answer holds until the peer leaves, is
//! removed or disconnects. To take a right away, change what the policy reads and *then* remove the
//! user ([`RoomAdmin::remove`](crate::room::RoomAdmin::remove)): joins whose answer was still under way are refused too.
//!
//! # Example
//!
//! ```
//! use tower_websocket::{Principal, RoomPolicy, room::{JoinDenied, JoinRequest}};
//!
//! # struct User { id: String, staff: bool }
//! # impl Principal for User { fn id(&self) -> &str { &self.id } }
//! #[derive(Clone, Copy)]
//! enum Role { Guest, Moderator }
//!
//! /// Everybody may enter; staff moderates, and has rooms of its own.
//! struct House;
//!
//! impl RoomPolicy<User> for House {
//!     type Role = Role;
//!
//!     async fn join(&self, request: JoinRequest<'_, User>) -> Result<Role, JoinDenied> {
//!         let of_staff = request.key().name().as_str().starts_with("staff:");
//!         match (request.user().staff, of_staff) {
//!             (true, _) => Ok(Role::Moderator),
//!             (false, false) => Ok(Role::Guest),
//!             (false, true) => Err(JoinDenied::new()),
//!         }
//!     }
//! }
//! ```

use std::{error::Error, fmt};

use crate::{
    connection::Connection,
    principal::Principal,
    room::name::{RoomKey, RoomName},
};

/// Decides who may be in which room.
///
/// See the [module docs](crate::room) for how it fits in.
pub trait RoomPolicy<U: Principal>: Send + Sync + 'static {
    /// What a member may do in the room, for the handler to look at. All messages of a membership share
    /// it.
    type Role: Clone + Send + Sync + 'static;

    /// The room that `user` means by `name`. By default it is one of the user's own tenant.
    ///
    /// # Security
    ///
    /// Tenants are kept apart here and nowhere else: what this returns decides who shares a room.
    fn key(&self, user: &U, name: &RoomName) -> RoomKey {
        RoomKey::of(user, name.clone())
    }

    /// Whether a user may join a room, and as what.
    ///
    /// A room need not exist: the first to join makes it. A peer cannot tell a refusal from a room
    /// that is full, or from a panic in here.
    ///
    /// # Errors
    ///
    /// [`JoinDenied`] if not, or if it cannot be decided.
    fn join(
        &self,
        request: JoinRequest<'_, U>,
    ) -> impl Future<Output = Result<Self::Role, JoinDenied>> + Send;
}

/// Who wants to join which room.
#[derive(Debug)]
pub struct JoinRequest<'a, U> {
    user: &'a U,
    key: &'a RoomKey,
    connection: &'a Connection,
}

/// The user may not join. It carries no reason: the peer is not to learn one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct JoinDenied(());

/// The policy that lets every authenticated user into every room of its tenant.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenRooms;

impl<'a, U> JoinRequest<'a, U> {
    /// The request of `user`, who came by `connection`, for the room `key`: for a policy that asks
    /// another one, and for tests.
    pub const fn new(user: &'a U, key: &'a RoomKey, connection: &'a Connection) -> Self {
        Self { user, key, connection }
    }

    /// The verified user.
    pub const fn user(&self) -> &'a U {
        self.user
    }

    /// The room, as [`RoomPolicy::key`] returned it. It need not exist.
    pub const fn key(&self) -> &'a RoomKey {
        self.key
    }

    /// The connection that would be the member.
    pub const fn connection(&self) -> &'a Connection {
        self.connection
    }
}

impl<U> Clone for JoinRequest<'_, U> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl JoinDenied {
    /// A refusal.
    pub const fn new() -> Self {
        Self(())
    }
}

impl fmt::Display for JoinDenied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the user may not join the room")
    }
}

impl Error for JoinDenied {}

impl<U: Principal> RoomPolicy<U> for OpenRooms {
    type Role = ();

    async fn join(&self, _: JoinRequest<'_, U>) -> Result<(), JoinDenied> {
        Ok(())
    }
}
