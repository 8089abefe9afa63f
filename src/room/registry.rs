//! Keep who is in which room, on this server.
//!
//! Two kinds of lock, never held together: the directory's, to find or to make a room, and each
//! room's own (`seat.rs`). A room stays in the directory while somebody holds a [`Claim`] on it; the
//! claim is taken before the room is looked into and dropped after it was left, so that a join never
//! meets a room that is being removed, and nobody has to try again.

use std::{
    collections::{HashMap, hash_map},
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use serde::Serialize;

use crate::{
    audit::{self, AuditRecord, AuditSink, TracingSink},
    capacity,
    connection::Connection,
    layers::{Encode, EncodeError, Json},
    message::Message,
    room::{
        RoomAdmin, RoomKey,
        join_refused::JoinRefused,
        publisher::Publisher,
        seat::{PendingJoin, RoomState},
        shares::{Holder, ShareLimits, Shares},
    },
};

/// The rooms of this server, in which messages of type `R` are published. Clones share the rooms.
///
/// The setters apply to the handle they return and to its clones: set them before giving it to a
/// layer.
///
/// Endpoints may share rooms. If they allow messages of different sizes to their peers, what is
/// published in a room has to fit every member that is there.
///
/// # Example
///
/// ```
/// use std::num::NonZeroUsize;
/// use tower_websocket::{RoomKey, Rooms};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let rooms: Rooms<String> = Rooms::new().max_members(NonZeroUsize::new(500).unwrap());
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
    max_members: NonZeroUsize,
    max_rooms: NonZeroUsize,
    /// A part of `max_rooms` unless set.
    max_per_user: Option<NonZeroUsize>,
    max_per_address: Option<NonZeroUsize>,
    /// Where the application's own publications are recorded; members' go to their connections'.
    audit: Option<Arc<dyn AuditSink>>,
}

pub(super) struct Directory<R> {
    codec: Arc<dyn Encode<R>>,
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
    /// No rooms yet; messages will be written as JSON.
    pub fn new() -> Self {
        Self::with_codec(Json::default())
    }
}

impl<R: Serialize + 'static> Default for Rooms<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: 'static> Rooms<R> {
    /// No rooms yet; messages will be written by `codec`.
    pub fn with_codec(codec: impl Encode<R>) -> Self {
        Self {
            directory: Arc::new(Directory {
                codec: Arc::new(codec),
                memberships: AtomicUsize::new(0),
                books: Mutex::new(Books { rooms: HashMap::new(), shares: Shares::default() }),
            }),
            max_members: DEFAULT_MAX_MEMBERS,
            max_rooms: DEFAULT_MAX_ROOMS,
            max_per_user: None,
            max_per_address: None,
            audit: None,
        }
    }

    /// How many members a room may have: 10,000 unless set. One message of one member is that many
    /// deliveries, which is what an attacker gains if it is raised.
    #[must_use]
    pub fn max_members(mut self, members: NonZeroUsize) -> Self {
        self.max_members = members;
        self
    }

    /// How many rooms there may be: 100,000 unless set. It bounds the memory that names chosen by
    /// peers can take. Empty rooms do not count: they do not exist.
    #[must_use]
    pub fn max_rooms(mut self, rooms: NonZeroUsize) -> Self {
        self.max_rooms = rooms;
        self
    }

    /// How many memberships one user may have, on all of its connections together. Unless set it is a
    /// fiftieth of [`max_rooms`](Self::max_rooms), 2,000 by default: twenty tabs and devices that are each
    /// in as many rooms as a connection may be in. It is never less than four times what
    /// [`RoomsLayer::max_rooms_per_connection`](crate::RoomsLayer::max_rooms_per_connection) allows: who
    /// comes back after a lost connection is in its rooms a second time until the first one is found
    /// to be dead.
    #[must_use]
    pub fn max_memberships_per_user(mut self, memberships: NonZeroUsize) -> Self {
        self.max_per_user = Some(memberships);
        self
    }

    /// How many memberships the connections of one address may have, where
    /// [`PeerAddr`](crate::PeerAddr) tells it; an IPv6 /64 counts as one address, a /56 may have twice
    /// and a /48 four times as many. Unless set it is a tenth of [`max_rooms`](Self::max_rooms),
    /// 10,000 by default: an office of 1,000 people in ten rooms each. Raised, fewer addresses can take
    /// all rooms. It is never less than what one user may have.
    #[must_use]
    pub fn max_memberships_per_address(mut self, memberships: NonZeroUsize) -> Self {
        self.max_per_address = Some(memberships);
        self
    }

    /// Where [`RoomAdmin::broadcast`] is recorded: the process's [`TracingSink`] unless set.
    #[must_use]
    pub fn audit(mut self, sink: impl AuditSink) -> Self {
        self.audit = Some(Arc::new(sink));
        self
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

    /// What one user may have, and one address, if a connection may be in `rooms_each` rooms.
    fn share_limits(&self, rooms_each: NonZeroUsize) -> ShareLimits {
        let part = |of: usize| NonZeroUsize::new(self.max_rooms.get() / of);
        let least = rooms_each.saturating_mul(CONNECTIONS_OF_A_USER);
        let user = self.max_per_user.or(part(USERS)).map_or(least, |it| it.max(least));
        let address = self.max_per_address.or(part(ADDRESSES)).map_or(user, |it| it.max(user));
        ShareLimits { user, address }
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
        let (room, pace) = {
            let Books { rooms, shares } = &mut *self.directory.lock();
            shares.check(self.share_limits(rooms_each), &publisher.holder)?;
            let known = rooms.len();
            let entry = match rooms.entry(key.clone()) {
                hash_map::Entry::Occupied(entry) => entry.into_mut(),
                hash_map::Entry::Vacant(entry) => {
                    if known >= self.max_rooms.get() {
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
        Ok(room.enter(claim, connection, user, publisher, pace, self.max_members))
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
        let _ = match &self.audit {
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
        Self {
            directory: Arc::clone(&self.directory),
            max_members: self.max_members,
            max_rooms: self.max_rooms,
            max_per_user: self.max_per_user,
            max_per_address: self.max_per_address,
            audit: self.audit.clone(),
        }
    }
}

impl<R> fmt::Debug for Rooms<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms")
            .field("max_members", &self.max_members)
            .field("max_rooms", &self.max_rooms)
            .finish_non_exhaustive()
    }
}

/// As many as there may be connections unless that is raised: everybody may be in one room.
const DEFAULT_MAX_MEMBERS: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// Below 120 MB if every room has one member, which is what an attacker would make:
/// `tests/table_memory.rs` measures it.
const DEFAULT_MAX_ROOMS: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

/// So many users are needed to take all rooms.
const USERS: usize = 50;

/// So many addresses are needed to take all rooms.
const ADDRESSES: usize = 10;

/// Connections of a user that may be in as many rooms as a connection may be in.
const CONNECTIONS_OF_A_USER: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// Room for this many is not given back: growing again costs more than it saves.
const KEPT_ROOMS: usize = 1024;
