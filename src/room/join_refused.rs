//! Say why a join came to nothing: to the peer with a code, to the operator with a rule.

use crate::room::scope::RoomNotice;

/// Why a join came to nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum JoinRefused {
    /// The connection is in the room.
    Already,
    /// The connection is closing.
    Closed,
    /// The notice that it joined is larger than any message to it may be.
    NoticeTooLarge,
    /// The policy said no.
    Denied,
    /// The policy panicked.
    PolicyFailed,
    /// The user was removed while it was joining.
    Removed,
    /// The room has as many members as it may have.
    RoomFull,
    /// There are as many rooms as there may be.
    RoomsFull,
    /// The connection is in as many rooms as it may be.
    TooManyRooms,
    /// The user has, on all of its connections, as many memberships as one user may have.
    UsersShare,
    /// The address has as many memberships as one address may have.
    AddressesShare,
}

impl JoinRefused {
    /// What the peer is told: one code for everything that has to do with the room, and one for what
    /// the peer itself has too many of.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::TooManyRooms | Self::UsersShare | Self::AddressesShare => {
                RoomNotice::TOO_MANY_ROOMS
            }
            _ => RoomNotice::JOIN_REFUSED,
        }
    }

    /// The rule, as audit records name it.
    pub(super) fn rule(self) -> &'static str {
        match self {
            Self::Already => "room.joined",
            Self::Closed => "room.closed",
            Self::NoticeTooLarge => "room.message_size",
            Self::Denied => "room.join_denied",
            Self::PolicyFailed => "room.policy_failed",
            Self::Removed => "room.removed",
            Self::RoomFull => "room.members",
            Self::RoomsFull => "room.rooms",
            Self::TooManyRooms => "room.rooms_per_connection",
            Self::UsersShare => "room.rooms_per_user",
            Self::AddressesShare => "room.rooms_per_address",
        }
    }
}
