//! Publish to a room, look into it and remove from it, as the application.

use std::{error::Error, fmt, sync::Arc};

use crate::{
    audit::{self, AuditEvent, AuditRecord},
    close::Close,
    layers::Failure,
    outbound::PUBLISH_WAIT,
    room::{
        member_info::MemberInfo,
        name::RoomKey,
        outcome::{PublishError, Published, Undelivered},
        state::{Room, Subscriber},
        store::RoomStore,
    },
};

/// One room, seen by the application: publishing here needs no membership. Made by
/// [`Rooms::at`](crate::Rooms::at).
///
/// # Security
///
/// Never make one from the key in a peer's message; that is what [`Member::room`] is for.
///
/// [`Member::room`]: crate::Member::room
pub struct RoomAdmin<R> {
    store: Arc<RoomStore<R>>,
    key: RoomKey,
}

/// Why the application could not look into a room or remove somebody from it. The rooms of one process
/// have no reason not to let it.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RoomError {}

impl<R: 'static> RoomAdmin<R> {
    pub(super) fn new(store: Arc<RoomStore<R>>, key: RoomKey) -> Self {
        Self { store, key }
    }

    /// Publishes `message` to every member.
    ///
    /// Returns when the message stands in the room's log. That is not delivery: a member that
    /// disconnects now gets nothing, and one that is too far behind is closed with 1013. While members that
    /// keep reading are far behind, it waits for them, five seconds at most, or outside of a tokio runtime
    /// not at all; dropped meanwhile, it has published nothing.
    ///
    /// # Errors
    ///
    /// [`PublishError::TooLarge`] if the message is larger than any to one of the members may be, and
    /// [`PublishError::Overloaded`] if they are still behind after five seconds: nobody got it.
    /// [`PublishError::Encode`] if it cannot be written.
    pub async fn broadcast(&self, message: &R) -> Result<Published, PublishError> {
        let publication = self.store.encoder.publication(message)?;
        let published = match self.room() {
            Some(room) => match room.publish(&publication, false) {
                Err(Undelivered::NotBefore(_) | Undelivered::Unwalked) => {
                    // The room may have emptied meanwhile, and another of its name be there.
                    let nobody = || Ok(Published::to_nobody(&publication));
                    let attempt =
                        || self.room().map_or_else(nobody, |it| it.publish(&publication, true));
                    Box::pin(room.line().wait(PUBLISH_WAIT, room.walked(), attempt)).await?
                }
                published => published?,
            },
            None => Published::to_nobody(&publication),
        };
        let record = AuditRecord {
            tenant: self.key.tenant().map(Arc::from),
            ..AuditRecord::of(AuditEvent::Published(audit::Published {
                room: self.key.to_string().into(),
                bytes: published.bytes,
                members: published.members,
            }))
        };
        self.store.record(&record);
        Ok(published)
    }

    /// Who is in the room now.
    ///
    /// # Errors
    ///
    /// [`RoomError`] if it cannot be found out. The rooms of one process always know.
    pub async fn members(&self) -> Result<Vec<MemberInfo>, RoomError> {
        Ok(self.room().map_or_else(Vec::new, |room| room.members()))
    }

    /// How many members the room has now.
    ///
    /// # Errors
    ///
    /// [`RoomError`] if it cannot be found out. The rooms of one process always know.
    pub async fn member_count(&self) -> Result<usize, RoomError> {
        Ok(self.room().map_or(0, |room| room.member_count()))
    }

    /// Removes every member who is the user `user` of the room's own tenant, and returns how many there
    /// were.
    ///
    /// An id alone never means another tenant's user: in the room of a tenant it is one of that tenant, in
    /// a room without a tenant a user without one, as in [`Connections::user`](crate::Connections::user).
    /// Where a policy puts several tenants into one room,
    /// [`remove_in_tenant`](Self::remove_in_tenant) says whose user is meant.
    ///
    /// When it returns [`Ok`], nothing that the user sends reaches the room any more, nothing published in
    /// the room reaches the user, and a join of the user's that was under way is refused. The user
    /// may ask again: to keep it out, let the policy refuse it *before* removing it. Its connections
    /// stay open; the peer is told only by closing with 1008 if it goes on speaking to the room.
    ///
    /// # Errors
    ///
    /// [`RoomError`] if the user may still be in the room. In the rooms of one process it never is.
    pub async fn remove(&self, user: &str) -> Result<usize, RoomError> {
        self.remove_in_tenant(self.key.tenant(), user).await
    }

    /// Removes every member who is this user of this tenant, as [`remove`](Self::remove) does.
    ///
    /// # Errors
    ///
    /// [`RoomError`] if the user may still be in the room. In the rooms of one process it never is.
    pub async fn remove_in_tenant(
        &self,
        tenant: Option<&str>,
        user: &str,
    ) -> Result<usize, RoomError> {
        let is = |it: &Subscriber<R>| it.is_user(user) && it.is_of_tenant(tenant);
        Ok(self.room().map_or(0, |room| room.remove(user, is)))
    }

    fn room(&self) -> Option<Arc<Room<R>>> {
        self.store.directory.find(&self.key)
    }
}

impl<R> fmt::Debug for RoomAdmin<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomAdmin").field("key", &self.key).finish_non_exhaustive()
    }
}

impl From<RoomError> for Close {
    fn from(error: RoomError) -> Self {
        match error {}
    }
}

impl<R> From<RoomError> for Failure<R> {
    fn from(error: RoomError) -> Self {
        match error {}
    }
}

impl fmt::Display for RoomError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl Error for RoomError {}
