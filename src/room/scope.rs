//! Say which room a message is about, and what became of it.
//!
//! [`RoomScoped`] is how an application's message type tells [`RoomsLayer`](crate::RoomsLayer) the
//! room; [`RoomNotice`] is what the layer answers by itself.

use crate::room::{name::RoomName, position::Position};

/// A message that says which room it is about.
///
/// The answer is read once for each message, and what it names is both what is checked and what the
/// handler gets. Take it from the same parsed value that the handler reads.
pub trait RoomScoped {
    /// What the message is about.
    fn scope(&self) -> Scope<'_>;
}

/// What a message is about.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope<'a> {
    /// The peer wants into a room: `Scope::Join(room.into())`. The layer answers; the handler never
    /// sees it.
    Join(Join<'a>),
    /// The peer wants out of this room. The layer answers; the handler never sees it.
    Leave(&'a RoomName),
    /// The message is for this room: forwarded only from a member.
    Within(&'a RoomName),
    /// The message is about no room: forwarded as it is.
    Connection,
}

/// The peer wants into a room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Join<'a> {
    room: &'a RoomName,
    since: Option<Position>,
}

/// What [`RoomsLayer`](crate::RoomsLayer) tells a peer. An application's outgoing message type is
/// made from it.
///
/// There may be notices that an application does not know yet. All of them have a
/// [`room`](Self::room) and a [`code`](Self::code), from which a message can be made in any case.
///
/// # Example
///
/// ```
/// use tower_websocket::{RoomName, RoomNotice};
///
/// enum Answer {
///     Joined(RoomName),
///     Left(RoomName),
///     /// Whatever else there is to say about a room.
///     Notice { room: RoomName, code: &'static str },
/// }
///
/// impl From<RoomNotice> for Answer {
///     fn from(notice: RoomNotice) -> Self {
///         match notice {
///             RoomNotice::Joined(joined) => Self::Joined(joined.into_room()),
///             RoomNotice::Left(left) => Self::Left(left.into_room()),
///             other => {
///                 let (room, code) = other.into_parts();
///                 Self::Notice { room, code }
///             }
///         }
///     }
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RoomNotice {
    /// The peer is a member: everything published from now on reaches it. This notice is queued
    /// before anything else from the room.
    Joined(Joined),
    /// The peer is not a member: nothing published from now on reaches it.
    Left(Left),
    /// The peer's join was refused.
    Refused(Refused),
    /// The peer could not keep up: something of the room that was said before this does not reach it, and
    /// from here on it gets the newest ([`SlowMember::Skip`](crate::room::SlowMember)). It stands exactly where
    /// the hole is; in a [keyed](crate::room::Keyed) room, what was heard of it is to be forgotten, and what its
    /// keys have follows. In a room with a [`History`](crate::room::History) it says the position at which it goes
    /// on, as a message does.
    Gap(Gap),
    /// The application has removed the peer from the room: nothing published from now on reaches it. Its
    /// connection and its other rooms stay.
    Removed(Removed),
}

/// The peer is a member of a room.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Joined {
    room: RoomName,
    recovered: Option<bool>,
}

/// The peer is not a member of a room.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Left {
    room: RoomName,
}

/// The peer's join of a room was refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    room: RoomName,
    code: &'static str,
}

/// Something of a room does not reach a peer that could not keep up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Gap {
    room: RoomName,
}

/// The application has removed the peer from a room.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Removed {
    room: RoomName,
}

impl<'a> Join<'a> {
    /// Into this room.
    pub const fn new(room: &'a RoomName) -> Self {
        Self { room, since: None }
    }

    /// Back into this room, which was heard up to `position`: what was said since is to be had first, if the
    /// room keeps a [`History`](crate::room::History).
    pub const fn since(self, position: Option<Position>) -> Self {
        Self { since: position, ..self }
    }

    /// The room.
    pub const fn room(&self) -> &'a RoomName {
        self.room
    }

    /// Up to where the peer has heard it, if it says so.
    pub const fn position(&self) -> Option<Position> {
        self.since
    }
}

impl<'a> From<&'a RoomName> for Join<'a> {
    fn from(room: &'a RoomName) -> Self {
        Self::new(room)
    }
}

impl RoomNotice {
    /// The code of [`RoomNotice::Joined`].
    pub const JOINED: &str = "joined";

    /// The code of [`RoomNotice::Left`].
    pub const LEFT: &str = "left";

    /// The code of [`RoomNotice::Gap`].
    pub const GAP: &str = "gap";

    /// The code of [`RoomNotice::Removed`].
    pub const REMOVED: &str = "removed";

    /// The one code for every refusal that has to do with the room: forbidden, full, or the policy
    /// failed. Whether the room exists is not told.
    pub const JOIN_REFUSED: &str = "join_refused";

    /// The code for a connection, a user or an address that is in as many rooms as it may be. It says
    /// nothing of the room.
    pub const TOO_MANY_ROOMS: &str = "too_many_rooms";

    /// The room it is about.
    pub const fn room(&self) -> &RoomName {
        match self {
            Self::Joined(it) => &it.room,
            Self::Left(it) => &it.room,
            Self::Refused(it) => &it.room,
            Self::Gap(it) => &it.room,
            Self::Removed(it) => &it.room,
        }
    }

    /// What it says, as a constant that does not change.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Joined(_) => Self::JOINED,
            Self::Left(_) => Self::LEFT,
            Self::Refused(it) => it.code,
            Self::Gap(_) => Self::GAP,
            Self::Removed(_) => Self::REMOVED,
        }
    }

    /// The room it is about, and its [`code`](Self::code).
    pub fn into_parts(self) -> (RoomName, &'static str) {
        let code = self.code();
        let room = match self {
            Self::Joined(it) => it.room,
            Self::Left(it) => it.room,
            Self::Refused(it) => it.room,
            Self::Gap(it) => it.room,
            Self::Removed(it) => it.room,
        };
        (room, code)
    }
}

impl Joined {
    /// The peer is a member of `room`.
    pub const fn new(room: RoomName) -> Self {
        Self { room, recovered: None }
    }

    /// The same, for a peer that came back: whether it gets what it has missed.
    pub fn with_recovered(self, recovered: Option<bool>) -> Self {
        let mut joined = self;
        joined.recovered = recovered;
        joined
    }

    /// Whether the peer gets all that it has missed since the position it came back with; `None` if it came
    /// with none. If not, something may be missing, and the application's state is to be loaded.
    pub const fn recovered(&self) -> Option<bool> {
        self.recovered
    }

    /// The room.
    pub const fn room(&self) -> &RoomName {
        &self.room
    }

    /// The room.
    pub fn into_room(self) -> RoomName {
        self.room
    }
}

impl Left {
    /// The peer is not a member of `room`.
    pub const fn new(room: RoomName) -> Self {
        Self { room }
    }

    /// The room.
    pub const fn room(&self) -> &RoomName {
        &self.room
    }

    /// The room.
    pub fn into_room(self) -> RoomName {
        self.room
    }
}

impl Gap {
    /// Something of `room` is missing here.
    pub const fn new(room: RoomName) -> Self {
        Self { room }
    }

    /// The room.
    pub const fn room(&self) -> &RoomName {
        &self.room
    }

    /// The room.
    pub fn into_room(self) -> RoomName {
        self.room
    }
}

impl Removed {
    /// The peer is out of `room`.
    pub const fn new(room: RoomName) -> Self {
        Self { room }
    }

    /// The room.
    pub const fn room(&self) -> &RoomName {
        &self.room
    }

    /// The room.
    pub fn into_room(self) -> RoomName {
        self.room
    }
}

impl Refused {
    /// The join of `room` was refused with the constant `code`.
    pub const fn new(room: RoomName, code: &'static str) -> Self {
        Self { room, code }
    }

    /// The room.
    pub const fn room(&self) -> &RoomName {
        &self.room
    }

    /// [`RoomNotice::JOIN_REFUSED`] or [`RoomNotice::TOO_MANY_ROOMS`].
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// The room.
    pub fn into_room(self) -> RoomName {
        self.room
    }
}
