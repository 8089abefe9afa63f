//! Publish to a room, look into it and remove from it, as the application.

use std::{error::Error, fmt, sync::Arc};

use crate::{
    audit::{self, AuditEvent, AuditRecord},
    close::Close,
    connection::Connection,
    layers::Failure,
    outbound::PUBLISH_WAIT,
    quota::RateKeyValue,
    room::{
        change::Change,
        hosted::{self, JoinError},
        member_info::MemberInfo,
        name::RoomKey,
        outcome::{PublishError, Published, Undelivered},
        scope::RoomNotice,
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
    /// [`PublishError::Encode`] if it cannot be written. [`PublishError::Keyed`] if the room has values instead.
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
        self.record(published);
        Ok(published)
    }

    /// Puts `message` in place of what `key` has, in a [keyed](crate::room::Keyed) room, and tells every member.
    ///
    /// The room need not exist, and stays, whoever is in it, as long as the application has set anything in it:
    /// who joins gets it first. It counts towards
    /// [`max_rooms`](crate::room::RoomsConfig::max_rooms). A member that is behind gets the newest in the end, and maybe
    /// not what was set before. It never waits for members.
    ///
    /// # Errors
    ///
    /// [`PublishError::NotKeyed`] if the room is not keyed. [`PublishError::TooManyKeys`],
    /// [`PublishError::TooManyBytes`] and [`PublishError::TooManyRooms`] if there would be too much or too many of
    /// them. [`PublishError::TooLarge`] and [`PublishError::Encode`] as by [`broadcast`](Self::broadcast), and
    /// [`PublishError::Overloaded`] for want of memory. By an error nothing has changed.
    pub async fn set(&self, key: &str, message: &R) -> Result<Published, PublishError> {
        let frame = self.store.encoder.frame(message)?;
        let (room, pin) = self.store.pin(&self.key)?;
        let published = room.change(&Change::set(key, frame), Some(pin))?;
        self.record(published);
        Ok(published)
    }

    /// Takes away what `key` has, in a [keyed](crate::room::Keyed) room, whoever has set it, and tells every
    /// member by `message`. If it has nothing, nobody is told anything.
    ///
    /// Who joins later hears nothing of the key. It waits, as [`broadcast`](Self::broadcast) does, while there are
    /// so many removals that not all members were offered them.
    ///
    /// # Errors
    ///
    /// Those of [`set`](Self::set), and [`PublishError::Overloaded`] if it waited in vain.
    pub async fn unset(&self, key: &str, message: &R) -> Result<Published, PublishError> {
        let change = Change::unset(key, self.store.encoder.frame(message)?);
        let published = match self.room() {
            Some(room) => match room.change(&change, None) {
                Err(Undelivered::Unwalked) => {
                    let attempt = || room.change(&change, None);
                    Box::pin(room.line().wait(PUBLISH_WAIT, room.walked(), attempt)).await?
                }
                changed => changed?,
            },
            None if self.store.keyed_limits(&self.key).is_none() => {
                return Err(PublishError::NotKeyed);
            }
            None => Published::of(change.frame.payload),
        };
        self.record(published);
        Ok(published)
    }

    fn record(&self, published: Published) {
        let record = AuditRecord {
            tenant: self.key.tenant().map(Arc::from),
            ..AuditRecord::of(AuditEvent::Published(audit::Published {
                room: self.key.to_string().into(),
                bytes: published.bytes,
                members: published.members,
            }))
        };
        self.store.record(&record);
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

    /// Puts `connection` into the room, whether its peer asks for it or not, and whether anybody has logged in on
    /// it or not; says whether it was not there already. The policy is not asked.
    ///
    /// The peer is told [`Joined`](crate::RoomNotice::Joined) before anything from the room. It is a member as any
    /// other until it leaves, is removed or its connection ends, and where there is a
    /// [`RoomsLayer`](crate::RoomsLayer), it may speak to the room by its name, without a
    /// [role](crate::Member::role). The layer's hooks are not called.
    ///
    /// Before a login the connection's id stands for the user's: as
    /// [`MemberInfo::user`](crate::room::MemberInfo::user), and to [`remove`](Self::remove) it, which finds it by
    /// the user's as well once it is known.
    ///
    /// # Errors
    ///
    /// [`JoinError`] if it is not in the room then.
    ///
    /// # Example
    ///
    /// Everybody who connects hears the prices, and nobody has to ask for them:
    ///
    /// ```
    /// use tower_websocket::{RoomKey, RoomNotice, Rooms};
    ///
    /// #[derive(serde::Serialize)]
    /// struct Price(String);
    ///
    /// impl From<RoomNotice> for Price {
    ///     fn from(notice: RoomNotice) -> Self {
    ///         Self(notice.code().to_owned())
    ///     }
    /// }
    ///
    /// # fn example(endpoint: tower_websocket::WebSocketEndpoint) -> Result<(), Box<dyn std::error::Error>> {
    /// let prices = Rooms::<Price>::new().at(&RoomKey::new("prices".parse()?));
    /// let endpoint = endpoint.on_connect(move |connection| {
    ///     let (prices, connection) = (prices.clone(), connection.clone());
    ///     tokio::spawn(async move { prices.join(&connection).await });
    /// });
    /// # let _ = endpoint;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn join(&self, connection: &Connection) -> Result<bool, JoinError>
    where
        R: From<RoomNotice>,
    {
        hosted::join(&self.store, &self.key, connection)
    }

    /// Removes this one connection from the room, whoever has put it there; says whether it was a member. Its
    /// peer is told [`Removed`](crate::RoomNotice::Removed).
    ///
    /// # Errors
    ///
    /// [`RoomError`] if it may still be in the room. In the rooms of one process it never is.
    pub async fn remove_connection(&self, connection: &Connection) -> Result<bool, RoomError> {
        let is = |it: &Subscriber<R>| it.connection().id() == connection.id();
        Ok(self.room().is_some_and(|room| room.remove(None, is) > 0))
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
    /// may ask again: to keep it out, let the policy refuse it *before* removing it. Its connections and its
    /// other rooms stay; the peer is told with a [`RoomNotice::Removed`], behind
    /// everything that the room has said to it, and again for each message that it still sends to the room.
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
        // Who has not logged in has no tenant, and the id of its connection.
        let is_of =
            |it: &Subscriber<R>| it.is_of_tenant(tenant) || it.connection().user_id().is_none();
        let is = |it: &Subscriber<R>| it.is_user(user) && is_of(it);
        Ok(self.room().map_or(0, |room| room.remove(Some(RateKeyValue::of((tenant, user))), is)))
    }

    fn room(&self) -> Option<Arc<Room<R>>> {
        self.store.directory.find(&self.key)
    }
}

impl<R> Clone for RoomAdmin<R> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), key: self.key.clone() }
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
