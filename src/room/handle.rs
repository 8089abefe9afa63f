//! Publish to a room, as one of its members.

use std::{fmt, sync::Arc};

use crate::{
    audit::{self, AuditEvent},
    room::{
        directory::Listed,
        encoder::Publication,
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
    /// [`PublishError::Encode`] if it cannot be written.
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

    async fn publish(&self, message: &R, others: bool) -> Result<Published, PublishError> {
        let subscriber = &*self.subscriber;
        let publication = subscriber.room().encoder().publication(message)?;
        let published = match subscriber.publish(&publication, others, false) {
            // Out of the way of those who need not wait: a connection keeps room for its handler's future.
            Err(Undelivered::NotBefore(_) | Undelivered::Unwalked) => {
                Box::pin(self.wait(&publication, others)).await
            }
            published => published,
        };
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

    /// Stands in line to publish it.
    async fn wait(
        &self,
        publication: &Publication,
        others: bool,
    ) -> Result<Published, Undelivered> {
        let subscriber = &*self.subscriber;
        let patience = subscriber.connection().outbound().limits().publish_wait;
        let room = subscriber.room();
        room.line()
            .wait(patience, room.walked(), || subscriber.publish(publication, others, true))
            .await
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
