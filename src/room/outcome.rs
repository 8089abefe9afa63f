//! Say what became of a message that was to be published.

use std::{error::Error, fmt, num::NonZeroU32, time::Duration};

use tokio::time::Instant;

use crate::{
    close::{Close, CloseReason},
    layers::{EncodeError, Failure},
    room::{encoder::Publication, position::Position},
};

/// A message was published: all members are to get it. That is not delivery.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Published {
    /// Members of the room when it was published, the sender included.
    pub members: usize,
    /// Payload bytes of the message.
    pub bytes: usize,
    /// Where it stands, in a room that keeps a history.
    pub position: Option<Position>,
}

/// Why a message was not published.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PublishError {
    /// The publisher is not a member, or not any more.
    NotAMember,
    /// The message could not be written.
    Encode,
    /// The message is larger than any to one of the members may be
    /// ([`max_outbound_message_size`](crate::ConnectionConfig::max_outbound_message_size)).
    TooLarge,
    /// Members of the room that keep reading are too far behind for it to wait for them. It may be
    /// tried again later.
    Overloaded,
    /// The publisher's user is over its quota
    /// ([`publish_quota`](crate::room::RoomsConfig::publish_quota)).
    RateLimited,
    /// The room is [keyed](crate::room::Keyed): it has values, which are set, and no messages.
    Keyed,
    /// The room is not [keyed](crate::room::Keyed): it has messages, which are broadcast, and no values.
    NotKeyed,
    /// The room has as many keys as it may have ([`Keyed::max_keys`](crate::room::Keyed::max_keys)). What they
    /// have can be changed, and they can be unset.
    TooManyKeys,
    /// The room's keys and values would take more than they may
    /// ([`Keyed::max_bytes`](crate::room::Keyed::max_bytes)), or those of all rooms
    /// ([`Keyed::max_total_bytes`](crate::room::Keyed::max_total_bytes)).
    TooManyBytes,
    /// There are as many rooms as there may be ([`max_rooms`](crate::room::RoomsConfig::max_rooms)).
    TooManyRooms,
}

/// Why a message was delivered to nobody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Undelivered {
    NotAMember,
    /// Somebody who keeps reading is behind, or others wait already: not before this time.
    NotBefore(Instant),
    /// Not before those who were there have been offered what was said last.
    Unwalked,
    /// The process's memory budget has no room for it.
    NoMemory,
    /// Members are behind, for so long that there is no point in waiting.
    Overloaded {
        waited: Duration,
    },
    /// A member can be sent so many bytes at most.
    TooLarge {
        size: usize,
        limit: usize,
    },
    /// It would have cost this much.
    OverQuota {
        cost: NonZeroU32,
        burst: NonZeroU32,
    },
    Keyed,
    NotKeyed,
    TooManyKeys {
        limit: usize,
    },
    /// So many bytes it would be.
    TooManyBytes {
        size: usize,
        limit: usize,
    },
    TooManyRooms,
}

impl Undelivered {
    /// The rule, what was seen, and what is allowed: what an operator may have to know.
    pub(super) fn record(self) -> Option<(&'static str, u64, u64)> {
        match self {
            Self::NotAMember
            | Self::NotBefore(_)
            | Self::Unwalked
            | Self::Keyed
            | Self::NotKeyed
            | Self::TooManyRooms => None,
            Self::TooManyKeys { limit } => Some(("room.keys", limit as u64 + 1, limit as u64)),
            Self::TooManyBytes { size, limit } => {
                Some(("room.key_bytes", size as u64, limit as u64))
            }
            Self::NoMemory => Some(("room.memory", 0, 0)),
            Self::Overloaded { waited } => {
                let millis = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
                Some(("room.busy", millis, millis))
            }
            Self::TooLarge { size, limit } => {
                Some(("room.message_size", size as u64, limit as u64))
            }
            Self::OverQuota { cost, burst } => {
                Some(("room.publish_rate", cost.get().into(), burst.get().into()))
            }
        }
    }
}

impl Published {
    /// Nobody is there to get a message of so many bytes.
    pub(super) fn of(bytes: usize) -> Self {
        Self { members: 0, bytes, position: None }
    }

    /// Nobody is there to get `publication`.
    pub(super) fn to_nobody(publication: &Publication) -> Self {
        Self::of(publication.frame(None).payload)
    }
}

impl From<Undelivered> for PublishError {
    fn from(undelivered: Undelivered) -> Self {
        match undelivered {
            Undelivered::NotAMember => Self::NotAMember,
            Undelivered::NotBefore(_)
            | Undelivered::Unwalked
            | Undelivered::NoMemory
            | Undelivered::Overloaded { .. } => Self::Overloaded,
            Undelivered::TooLarge { .. } => Self::TooLarge,
            Undelivered::OverQuota { .. } => Self::RateLimited,
            Undelivered::Keyed => Self::Keyed,
            Undelivered::NotKeyed => Self::NotKeyed,
            Undelivered::TooManyKeys { .. } => Self::TooManyKeys,
            Undelivered::TooManyBytes { .. } => Self::TooManyBytes,
            Undelivered::TooManyRooms => Self::TooManyRooms,
        }
    }
}

impl From<EncodeError> for PublishError {
    fn from(_: EncodeError) -> Self {
        Self::Encode
    }
}

impl From<PublishError> for Close {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::NotAMember => Self::because(CloseReason::NotAMember),
            PublishError::Encode
            | PublishError::TooLarge
            | PublishError::Keyed
            | PublishError::NotKeyed => Self::HANDLER_FAILED,
            // It may have been others who filled the room.
            PublishError::Overloaded
            | PublishError::TooManyKeys
            | PublishError::TooManyBytes
            | PublishError::TooManyRooms => Self::OVERLOADED,
            PublishError::RateLimited => Self::RATE_LIMITED,
        }
    }
}

impl<R> From<PublishError> for Failure<R> {
    fn from(error: PublishError) -> Self {
        Self::Close(error.into())
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAMember => "not a member of the room",
            Self::Encode => "the message could not be encoded",
            Self::TooLarge => "the message is larger than any to one of the members may be",
            Self::Overloaded => "the members of the room are too far behind",
            Self::RateLimited => "the user publishes more than its quota",
            Self::Keyed => "the room is keyed, and has no messages",
            Self::NotKeyed => "the room is not keyed, and has no values",
            Self::TooManyKeys => "the room has as many keys as it may have",
            Self::TooManyBytes => "keys and values would take more than they may",
            Self::TooManyRooms => "there are as many rooms as there may be",
        })
    }
}

impl Error for PublishError {}
