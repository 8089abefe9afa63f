//! Give the application its rooms.

use std::{fmt, sync::Arc};

use serde::Serialize;

use crate::{
    connection::Connection,
    layers::Encode,
    room::{
        admin::RoomAdmin, config::RoomsConfig, hosted::Hosted, name::RoomKey, store::RoomStore,
    },
};

/// The rooms of this server, in which messages of type `R` are published. Clones share the rooms.
///
/// Endpoints may share rooms. If they allow messages of different sizes to their peers, what is
/// published in a room has to fit every member that is there.
///
/// # Example
///
/// ```
/// use tower_websocket::{RoomKey, Rooms};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let rooms: Rooms<String> = Rooms::new();
///
/// // From an HTTP handler or a job: whoever holds `Rooms` may publish anywhere.
/// let lobby = rooms.at(&RoomKey::in_tenant("acme", "lobby".parse()?));
/// let published = lobby.broadcast(&"the server restarts at noon".to_owned()).await?;
/// assert_eq!(published.members, 0);
/// # Ok(())
/// # }
/// ```
pub struct Rooms<R> {
    store: Arc<RoomStore<R>>,
}

impl<R: Serialize + 'static> Rooms<R> {
    /// No rooms yet, within the default limits; messages will be written as JSON.
    pub fn new() -> Self {
        Self::with(RoomsConfig::new())
    }
}

impl<R: Serialize + 'static> Default for Rooms<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: 'static> Rooms<R> {
    /// No rooms yet, within the limits of `config`.
    pub fn with<C: Encode<R>>(config: RoomsConfig<C>) -> Self {
        Self { store: Arc::new(RoomStore::new(config)) }
    }

    /// The application's own way into the room `key`, which need not exist.
    pub fn at(&self, key: &RoomKey) -> RoomAdmin<R> {
        RoomAdmin::new(Arc::clone(&self.store), key.clone())
    }

    /// How many rooms this process has, those included which somebody is only joining.
    pub fn len(&self) -> usize {
        self.store.directory.len()
    }

    /// Whether this process has no rooms.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many members all rooms of this process have together: a connection that is in three rooms counts three
    /// times, one that is only joining not at all.
    pub fn memberships(&self) -> usize {
        self.store.directory.members()
    }

    /// The rooms that this process has now, in no order: as many as
    /// [`max_rooms`](crate::room::RoomsConfig::max_rooms) allows.
    pub fn keys(&self) -> Vec<RoomKey> {
        self.store.directory.keys()
    }

    /// The rooms that the application has put `connection` into.
    pub(super) fn hosted(&self, connection: &Connection) -> Option<Arc<Hosted<R>>> {
        connection.attached().get(self.store.owner())
    }

    pub(super) fn store(&self) -> &RoomStore<R> {
        &self.store
    }

    /// Whether anybody waits to publish in one of them.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn are_waited_for(&self) -> bool {
        self.store.directory.all().iter().any(|room| !room.line().is_free())
    }

    /// Whether everybody was offered everything.
    #[cfg(test)]
    pub(super) fn are_walked(&self) -> bool {
        self.store.directory.all().iter().all(|room| room.is_walked())
    }

    #[cfg(test)]
    pub(super) fn shares_are_given_back(&self) -> bool {
        self.store.directory.shares_are_given_back()
    }
}

impl<R> Clone for Rooms<R> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store) }
    }
}

impl<R> fmt::Debug for Rooms<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms")
            .field("limits", self.store.directory.limits())
            .finish_non_exhaustive()
    }
}
