//! Say which room a message is about, and what became of it.
//!
//! [`RoomScoped`] is how an application's message type tells [`RoomsLayer`](crate::RoomsLayer) the
//! room; [`RoomNotice`] is what the layer answers by itself.

use crate::room::RoomName;

/// A message that says which room it is about.
///
/// The answer is read once for each message, and what it names is both what is checked and what the
/// handler gets. Take it from the same parsed value that the handler reads.
pub trait RoomScoped {
    /// What the message is about.
    fn scope(&self) -> Scope<'_>;
}

/// What a message is about.
#[expect(
    clippy::exhaustive_enums,
    reason = "RoomsLayer decides by these four, and a fifth would \
    have to be decided by every application too"
)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope<'a> {
    /// The peer wants into this room. The layer answers; the handler never sees it.
    Join(&'a RoomName),
    /// The peer wants out of this room. The layer answers; the handler never sees it.
    Leave(&'a RoomName),
    /// The message is for this room: forwarded only from a member.
    Within(&'a RoomName),
    /// The message is about no room: forwarded as it is.
    Connection,
}

/// What [`RoomsLayer`](crate::RoomsLayer) tells a peer. An application's outgoing message type is
/// made from it.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RoomNotice {
    /// The peer is a member: everything published from now on reaches it. This notice is queued
    /// before anything else from the room.
    Joined(RoomName),
    /// The peer is not a member: nothing published from now on reaches it.
    Left(RoomName),
    /// The peer's join was refused.
    Refused {
        /// The room.
        room: RoomName,
        /// [`RoomNotice::JOIN_REFUSED`] or [`RoomNotice::TOO_MANY_ROOMS`].
        code: &'static str,
    },
}

impl RoomNotice {
    /// The one code for every refusal that has to do with the room: forbidden, full, or the policy
    /// failed. Whether the room exists is not told.
    pub const JOIN_REFUSED: &str = "join_refused";

    /// The code for a connection, a user or an address that is in as many rooms as it may be. It says
    /// nothing of the room.
    pub const TOO_MANY_ROOMS: &str = "too_many_rooms";
}
