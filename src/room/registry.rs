//! Keep who is in which room, on this server.
//!
//! Two kinds of lock, never held together: the directory's, to find or to make a room, and each
//! room's own (`seat.rs`). A room stays in the directory while somebody holds a [`Claim`] on it; the
//! claim is taken before the room is looked into and dropped after it was left, so that a join never
//! meets a room that is being removed, and nobody has to try again.

use std::{
    any::TypeId,
    collections::{HashMap, hash_map},
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use serde::Serialize;

use crate::{
    audit::{self, AuditRecord, AuditSink, TracingSink},
    capacity,
    close::CloseReason,
    connection::Connection,
    layers::{Encode, EncodeError},
    message::Message,
    room::{
        RoomAdmin, RoomKey, RoomsConfig,
        config::RoomLimits,
        join_refused::JoinRefused,
        publisher::Publisher,
        seat::{PendingJoin, RoomState},
        shares::{Holder, Shares},
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
    directory: Arc<Directory<R>>,
}

pub(super) struct Directory<R> {
    codec: Box<dyn Encode<R>>,
    codec_type: TypeId,
    /// The operator was told that an endpoint has another codec.
    codec_reported: AtomicBool,
    limits: RoomLimits,
    /// Where the application's own publications are recorded; members' go to their connections'.
    audit: Option<Arc<dyn AuditSink>>,
    /// Members of all rooms. Nothing is decided by it.
    memberships: AtomicUsize,
    books: Mutex<Books<R>>,
}

/// Which rooms there are, and whose memberships.
struct Books<R> {
    rooms: HashMap<RoomKey, Entry<R>>,
    shares: Shares,
}

struct Entry<R> {
    room: Arc<RoomState<R>>,
    /// Members and joins under way. Counted under the directory's lock only.
    claims: usize,
}

/// Keeps a room in the directory, and is a part of its holder's share. Must not be dropped under a
/// room's lock.
pub(super) struct Claim<R> {
    room: Arc<RoomState<R>>,
    publisher: Arc<Publisher>,
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
        let RoomsConfig { codec, limits, audit } = config;
        Self {
            directory: Arc::new(Directory {
                codec: Box::new(codec),
                codec_type: TypeId::of::<C>(),
                codec_reported: AtomicBool::new(false),
                limits,
                audit,
                memberships: AtomicUsize::new(0),
                books: Mutex::new(Books { rooms: HashMap::new(), shares: Shares::default() }),
            }),
        }
    }

    /// The application's own way into the room `key`, which need not exist.
    pub fn at(&self, key: &RoomKey) -> RoomAdmin<R> {
        RoomAdmin::new(self.clone(), key.clone())
    }

    /// How many rooms this process has, those included which somebody is only joining.
    pub fn len(&self) -> usize {
        self.directory.lock().rooms.len()
    }

    /// Whether this process has no rooms.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many members all rooms of this process have together: a connection that is in three rooms counts three
    /// times, one that is only joining not at all.
    pub fn memberships(&self) -> usize {
        self.directory.memberships.load(Ordering::Relaxed)
    }

    /// Begins a join of `key`: before the policy is asked, so that a removal which comes while it is
    /// being asked meets this join too.
    pub(super) fn enter(
        &self,
        key: &RoomKey,
        connection: Connection,
        user: Arc<str>,
        publisher: Arc<Publisher>,
        rooms_each: NonZeroUsize,
    ) -> Result<PendingJoin<R>, JoinRefused> {
        let limits = &self.directory.limits;
        let (room, pace) = {
            let Books { rooms, shares } = &mut *self.directory.lock();
            shares.check(limits.shares(rooms_each), &publisher.holder)?;
            let known = rooms.len();
            let entry = match rooms.entry(key.clone()) {
                hash_map::Entry::Occupied(entry) => entry.into_mut(),
                hash_map::Entry::Vacant(entry) => {
                    if known >= limits.rooms.get() {
                        return Err(JoinRefused::RoomsFull);
                    }
                    let room = Arc::new(RoomState::new(key.clone(), Arc::clone(&self.directory)));
                    entry.insert(Entry { room, claims: 0 })
                }
            };
            entry.claims += 1;
            (Arc::clone(&entry.room), shares.take(&publisher.holder))
        };
        let claim = Claim { room: Arc::clone(&room), publisher: Arc::clone(&publisher) };
        Ok(room.enter(claim, connection, user, publisher, pace, limits.members))
    }

    /// Whether what is published here is written as `connection` is written to, or the reason that it
    /// closes with: its peer could not read what it hears. It is a mistake in how the endpoint was
    /// built, and who built it is told once.
    pub(super) fn check_codec(&self, connection: &Connection) -> Result<(), CloseReason> {
        let Directory { codec_type, codec_reported, .. } = &*self.directory;
        if connection.codec().is_none_or(|it| it == *codec_type) {
            return Ok(());
        }
        connection.refuse("rooms", "stack.codec", None, None);
        if !codec_reported.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a connection was refused a room, because its DecodeLayer has another codec than the \
                 room: give both the same, by DecodeLayer::new and RoomsConfig::codec"
            );
        }
        Err(CloseReason::HandlerFailed)
    }

    /// Whether anybody waits to publish in one of them.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn are_waited_for(&self) -> bool {
        let all: Vec<_> =
            self.directory.lock().rooms.values().map(|entry| Arc::clone(&entry.room)).collect();
        all.iter().any(|room| !room.line().is_free())
    }

    #[cfg(test)]
    pub(super) fn shares_are_given_back(&self) -> bool {
        self.directory.lock().shares.is_empty()
    }

    /// The room `key`, if it exists. Neither lock is held when this returns.
    pub(super) fn find(&self, key: &RoomKey) -> Option<Arc<RoomState<R>>> {
        self.directory.lock().rooms.get(key).map(|entry| Arc::clone(&entry.room))
    }

    /// Records what the application itself did. It is done: a sink that panics does not undo it.
    pub(super) fn record(&self, record: &AuditRecord) {
        let _ = match &self.directory.audit {
            Some(sink) => audit::tell(&**sink, record),
            None => audit::tell(&TracingSink::shared(), record),
        };
    }

    pub(super) fn encode(&self, message: &R) -> Result<Message, EncodeError> {
        self.directory.encode(message)
    }
}

impl<R: 'static> Directory<R> {
    /// Writes `message`, and copies what the codec has made of it: it may wait in ten thousand queues,
    /// and whichever member is served last would run the destructor of a payload that is the codec's.
    pub(super) fn encode(&self, message: &R) -> Result<Message, EncodeError> {
        Ok(match self.codec.encode(message)? {
            Message::Text(text) => Message::text(text.as_str()),
            Message::Binary(bytes) => Message::Binary(Bytes::copy_from_slice(&bytes)),
        })
    }
}

impl<R> Directory<R> {
    /// A room has a member more.
    pub(super) fn seated(&self) {
        self.memberships.fetch_add(1, Ordering::Relaxed);
    }

    /// A room has a member less.
    pub(super) fn vacated(&self) {
        self.memberships.fetch_sub(1, Ordering::Relaxed);
    }

    /// Held to look up, insert or remove one room: never across an await, never while a room's lock
    /// is held or taken. No code of the application's runs under it.
    fn lock(&self) -> MutexGuard<'_, Books<R>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Drop for Claim<R> {
    fn drop(&mut self) {
        // Dropped when the lock is free again.
        let _gone = self.room.directory().lock().give_back(self.room.key(), &self.publisher.holder);
    }
}

impl<R> Books<R> {
    /// One claim on the room less, and a part of `holder`'s share. Without claims there is no room.
    fn give_back(&mut self, key: &RoomKey, holder: &Holder) -> Option<Entry<R>> {
        self.shares.give_back(holder);
        let entry = self.rooms.get_mut(key)?;
        entry.claims -= 1;
        if entry.claims > 0 {
            return None;
        }
        let gone = self.rooms.remove(key);
        if let Some(less) = capacity::smaller(self.rooms.len(), self.rooms.capacity(), KEPT_ROOMS) {
            self.rooms.shrink_to(less);
        }
        gone
    }
}

impl<R> Clone for Rooms<R> {
    fn clone(&self) -> Self {
        Self { directory: Arc::clone(&self.directory) }
    }
}

impl<R> fmt::Debug for Rooms<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms").field("limits", &self.directory.limits).finish_non_exhaustive()
    }
}

/// Room for this many is not given back: growing again costs more than it saves.
const KEPT_ROOMS: usize = 1024;
