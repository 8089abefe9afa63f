//! Publish to a room, as one of its members.

use std::{error::Error, fmt, num::NonZeroU32, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    audit::{self, AuditEvent},
    close::CloseReason,
    layers::{EncodeError, Failure},
    message::Message,
    room::{RoomKey, RoomName, seat::Seat},
};

/// A room, as one of its members sees it. Cheap to clone.
///
/// It is a handle, not a membership: it may be kept and moved to other tasks, and is worth nothing
/// as soon as the peer has left the room, was removed from it, or is disconnected. There is no way to
/// make one from a message; a handler gets it from [`Member::room`](crate::Member::room).
pub struct Room<R> {
    seat: Arc<Seat<R>>,
}

/// A message was published: queued for each member. That is not delivery.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Published {
    /// Members whose queue took the message, the sender included.
    pub members: usize,
    /// Payload bytes of the message.
    pub bytes: usize,
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
    /// ([`publish_quota`](crate::RoomsLayer::publish_quota)).
    RateLimited,
}

/// Why a message was delivered to nobody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Undelivered {
    NotAMember,
    /// Somebody who keeps reading is behind, or others wait already: not before this time.
    NotBefore(Instant),
    /// The same, for so long that there is no point in waiting.
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
}

impl<R> Room<R> {
    pub(super) fn new(seat: Arc<Seat<R>>) -> Self {
        Self { seat }
    }

    /// The room's name.
    pub fn name(&self) -> &RoomName {
        self.key().name()
    }

    /// The room's tenant and name.
    pub fn key(&self) -> &RoomKey {
        self.seat.room().key()
    }

    /// The id of the user who is the member.
    pub fn user_id(&self) -> &Arc<str> {
        self.seat.user()
    }
}

impl<R: 'static> Room<R> {
    /// Publishes `message` to every member, the sender included.
    ///
    /// Returns when the message is queued for each member; all members get the room's messages in
    /// one order. That is not delivery: a member that disconnects now gets nothing, and one whose
    /// queue is full is closed with 1013. While members that keep reading are far behind, it waits for
    /// them: five seconds, or half of the
    /// [`handler_timeout`](crate::ConnectionConfig::handler_timeout) if that is less. Dropped meanwhile,
    /// it has published nothing.
    ///
    /// # Errors
    ///
    /// [`PublishError::NotAMember`] if the peer is not a member any more: nobody got the message.
    /// [`PublishError::RateLimited`] if the user publishes more than its quota, and
    /// [`PublishError::Overloaded`] if it waited in vain: nobody got it either.
    /// [`PublishError::TooLarge`] if it is larger than any message to one of the members may be, and
    /// [`PublishError::Encode`] if it cannot be written.
    pub async fn broadcast(&self, message: &R) -> Result<Published, PublishError> {
        let published = self.publish(message).await?;
        self.seat.publisher().deliveries.spend(published).await;
        Ok(published)
    }

    async fn publish(&self, message: &R) -> Result<Published, PublishError> {
        let seat = &*self.seat;
        let message = seat.room().directory().encode(message)?;
        let delivered = match seat.deliver(&message, false) {
            // Out of the way of those who need not wait: a connection keeps room for its handler's future.
            Err(Undelivered::NotBefore(_)) => Box::pin(self.wait(&message)).await,
            delivered => delivered,
        };
        let members = delivered.map_err(|undelivered| {
            if let Some((rule, observed, limit)) = undelivered.record() {
                seat.connection().refuse("rooms", rule, Some(observed), Some(limit));
            }
            PublishError::from(undelivered)
        })?;
        let published = Published::new(members, message.len());
        seat.connection().record(AuditEvent::Published(audit::Published {
            room: Arc::clone(seat.room().label()),
            bytes: published.bytes,
            members,
        }));
        Ok(published)
    }

    /// Stands in line to deliver `message`.
    async fn wait(&self, message: &Message) -> Result<usize, Undelivered> {
        let seat = &*self.seat;
        let patience = seat.connection().sender().limits().publish_wait;
        seat.room().line().wait(patience, || seat.deliver(message, true)).await
    }
}

impl Undelivered {
    /// The rule, what was seen, and what is allowed: what an operator may have to know.
    fn record(self) -> Option<(&'static str, u64, u64)> {
        match self {
            Self::NotAMember | Self::NotBefore(_) => None,
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
    pub(super) fn new(members: usize, bytes: usize) -> Self {
        Self { members, bytes }
    }
}

impl<R> Clone for Room<R> {
    fn clone(&self) -> Self {
        Self { seat: Arc::clone(&self.seat) }
    }
}

impl<R> fmt::Debug for Room<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("key", self.key()).finish_non_exhaustive()
    }
}

impl From<Undelivered> for PublishError {
    fn from(undelivered: Undelivered) -> Self {
        match undelivered {
            Undelivered::NotAMember => Self::NotAMember,
            Undelivered::NotBefore(_) | Undelivered::Overloaded { .. } => Self::Overloaded,
            Undelivered::TooLarge { .. } => Self::TooLarge,
            Undelivered::OverQuota { .. } => Self::RateLimited,
        }
    }
}

impl From<EncodeError> for PublishError {
    fn from(_: EncodeError) -> Self {
        Self::Encode
    }
}

impl From<PublishError> for CloseReason {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::NotAMember => Self::NotAMember,
            PublishError::Encode | PublishError::TooLarge => Self::HandlerFailed,
            PublishError::Overloaded => Self::Overloaded,
            PublishError::RateLimited => Self::RateLimited,
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
        })
    }
}

impl Error for PublishError {}
