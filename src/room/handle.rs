//! Publish to a room, as one of its members.

use std::{fmt, sync::Arc};

use crate::{
    audit::{self, AuditEvent},
    room::{
        change::Change,
        directory::Listed,
        name::{RoomKey, RoomName},
        outcome::{PublishError, Published, Undelivered},
        state::Subscriber,
    },
};

/// A room, as one of its members sees it. Cheap to clone.
///
/// It is a handle, not a membership: it may be kept and moved to other tasks, and is worth nothing
/// as soon as the peer has left the room, was removed from it, or is disconnected. There is no way to
/// make one from a message; a handler gets it from [`Member::room`](crate::Member::room).
pub struct RoomHandle<R> {
    subscriber: Arc<Subscriber<R>>,
}

impl<R> RoomHandle<R> {
    pub(super) fn new(subscriber: Arc<Subscriber<R>>) -> Self {
        Self { subscriber }
    }

    /// The room's name.
    pub fn name(&self) -> &RoomName {
        self.key().name()
    }

    /// The room's tenant and name.
    pub fn key(&self) -> &RoomKey {
        self.subscriber.room().key()
    }

    /// The id of the user who is the member.
    pub fn user_id(&self) -> &Arc<str> {
        self.subscriber.user()
    }
}

impl<R: 'static> RoomHandle<R> {
    /// Publishes `message` to every member, the sender included.
    ///
    /// Returns when the message stands in the room's log, at a cost that does not depend on how many
    /// members there are; all members get the room's messages in one order. That is not delivery: a
    /// member that disconnects now gets nothing, and one that is too far behind is closed with 1013. While
    /// members that keep reading are far behind, it waits for them: five seconds, or half of the
    /// [`handler_timeout`](crate::ConnectionConfig::handler_timeout) if that is less; and for a moment if
    /// not all members were offered what was published last. Dropped meanwhile, it has published nothing.
    ///
    /// # Errors
    ///
    /// [`PublishError::NotAMember`] if the peer is not a member any more: nobody got the message.
    /// [`PublishError::RateLimited`] if the user publishes more than its quota, and
    /// [`PublishError::Overloaded`] if it waited in vain or there is no memory for it: nobody got it either.
    /// [`PublishError::TooLarge`] if it is larger than any message to one of the members may be, and
    /// [`PublishError::Encode`] if it cannot be written. [`PublishError::Keyed`] if the room has values instead.
    pub async fn broadcast(&self, message: &R) -> Result<Published, PublishError> {
        self.publish(message, false).await
    }

    /// Publishes `message` to every member but the peer's own connection, to which it is no news: where a
    /// cursor is, or that somebody is typing. The user's other connections get it.
    ///
    /// It is in the room's history as any other message, and so comes to the peer as well if it is recovered
    /// on another connection.
    ///
    /// # Errors
    ///
    /// Those of [`broadcast`](Self::broadcast).
    pub async fn broadcast_others(&self, message: &R) -> Result<Published, PublishError> {
        self.publish(message, true).await
    }

    /// Puts `message` in place of what `key` has, in a [keyed](crate::room::Keyed) room, and tells every member, the
    /// sender included.
    ///
    /// A member that is behind gets the newest in the end, and maybe not what was set before; who joins later
    /// gets it first. It never waits for members. When the last member has left the room, what members have set
    /// is gone.
    ///
    /// # Errors
    ///
    /// [`PublishError::NotKeyed`] if the room is not keyed. [`PublishError::TooManyKeys`] and
    /// [`PublishError::TooManyBytes`] if it, or all rooms together, would hold too much: nothing has changed then, nor
    /// by any other error. Those of [`broadcast`](Self::broadcast); [`PublishError::Overloaded`] only for want
    /// of memory.
    pub async fn set(&self, key: &str, message: &R) -> Result<Published, PublishError> {
        let frame = self.subscriber.room().encoder().frame(message)?;
        self.change(Change::set(key, frame)).await
    }

    /// Takes away what `key` has, in a [keyed](crate::room::Keyed) room, and tells every member by `message`. If it
    /// has nothing, nobody is told anything.
    ///
    /// Who joins later hears nothing of the key. It waits, as [`broadcast`](Self::broadcast) does, while there are
    /// so many removals that not all members were offered them.
    ///
    /// # Errors
    ///
    /// Those of [`set`](Self::set), and [`PublishError::Overloaded`] if it waited in vain.
    pub async fn unset(&self, key: &str, message: &R) -> Result<Published, PublishError> {
        let frame = self.subscriber.room().encoder().frame(message)?;
        self.change(Change::unset(key, frame)).await
    }

    async fn change(&self, change: Change) -> Result<Published, PublishError> {
        let changed = match self.subscriber.change(&change) {
            Err(Undelivered::Unwalked) => {
                Box::pin(self.wait(|| self.subscriber.change(&change))).await
            }
            changed => changed,
        };
        self.record(changed)
    }

    async fn publish(&self, message: &R, others: bool) -> Result<Published, PublishError> {
        let subscriber = &*self.subscriber;
        let publication = subscriber.room().encoder().publication(message)?;
        let published = match subscriber.publish(&publication, others, false) {
            // Out of the way of those who need not wait: a connection keeps room for its handler's future.
            Err(Undelivered::NotBefore(_) | Undelivered::Unwalked) => {
                Box::pin(self.wait(|| subscriber.publish(&publication, others, true))).await
            }
            published => published,
        };
        self.record(published)
    }

    /// Records what was published, or what stood against it.
    fn record(&self, published: Result<Published, Undelivered>) -> Result<Published, PublishError> {
        let subscriber = &*self.subscriber;
        let published = published.map_err(|undelivered| {
            if let Some((rule, observed, limit)) = undelivered.record() {
                subscriber.connection().refuse("rooms", rule, Some(observed), Some(limit));
            }
            PublishError::from(undelivered)
        })?;
        subscriber.connection().record(AuditEvent::Published(audit::Published {
            room: Arc::clone(subscriber.room().label()),
            bytes: published.bytes,
            members: published.members,
        }));
        Ok(published)
    }

    /// Stands in line for `attempt` to publish something.
    async fn wait(
        &self,
        attempt: impl Fn() -> Result<Published, Undelivered>,
    ) -> Result<Published, Undelivered> {
        let patience = self.subscriber.connection().outbound().limits().publish_wait;
        let room = self.subscriber.room();
        room.line().wait(patience, room.walked(), attempt).await
    }
}

impl<R> Clone for RoomHandle<R> {
    fn clone(&self) -> Self {
        Self { subscriber: Arc::clone(&self.subscriber) }
    }
}

impl<R> fmt::Debug for RoomHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomHandle").field("key", self.key()).finish_non_exhaustive()
    }
}
