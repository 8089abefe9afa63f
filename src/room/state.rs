//! Hold one room's members, and say who is one.
//!
//! Whether somebody is a member is decided under the room's lock. A subscriber that is gone stays gone:
//! coming back makes another one, and a handle kept from the first is worth nothing.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::time::Instant;

use crate::{
    audit::{AuditEvent, Left},
    connection::Connection,
    message::Message,
    outbound::{Dropped, SendError},
    quota::clock,
    room::{
        directory::{Directory, Listed, RoomLease},
        encoder::Encoder,
        join_refused::JoinRefused,
        member_info::MemberInfo,
        members::{self, Indexed, SlotIndex},
        name::RoomKey,
        outcome::Undelivered,
        pace::{Line, UsersPace},
        publisher::Publisher,
    },
};

/// One room. It is in the directory as long as it has members or joins under way.
pub(super) struct Room<R> {
    key: RoomKey,
    /// The key as audit records write it, made once.
    label: Arc<str>,
    directory: Arc<Directory<Self>>,
    encoder: Arc<Encoder<R>>,
    members: Mutex<Members<R>>,
    /// Of publishers, while somebody who reads is behind.
    line: Line,
}

/// One connection in one room, or on its way there. The room, the connection's subscriptions and the
/// handler's handles share it.
pub(super) struct Subscriber<R> {
    room: Arc<Room<R>>,
    connection: Connection,
    user: Arc<str>,
    /// [`NEW`], [`ANNOUNCED`] or [`GONE`]. Becomes `GONE` under the room's lock only.
    phase: AtomicU8,
    /// Where among the members it is.
    index: SlotIndex,
    /// The connection's, shared by all of its rooms.
    publisher: Arc<Publisher>,
    /// The user's, shared by all of its rooms.
    pace: Arc<UsersPace>,
}

type Members<R> = members::Members<Subscriber<R>, RoomLease<Room<R>>>;

/// What was taken out of a room, to be finished with when its lock is free again.
pub(super) type Removed<R> = members::Removed<Subscriber<R>, RoomLease<Room<R>>>;

impl<R> Room<R> {
    pub(super) fn new(
        key: RoomKey,
        directory: Arc<Directory<Self>>,
        encoder: Arc<Encoder<R>>,
    ) -> Self {
        let label = key.to_string().into();
        let members = Mutex::new(Members::new());
        Self { key, label, directory, encoder, members, line: Line::new() }
    }

    pub(super) fn label(&self) -> &Arc<str> {
        &self.label
    }

    pub(super) fn encoder(&self) -> &Encoder<R> {
        &self.encoder
    }

    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    /// Begins the join of `connection` to the room of `lease`.
    pub(super) fn enter(
        lease: RoomLease<Self>,
        connection: Connection,
        user: Arc<str>,
        pace: Arc<UsersPace>,
    ) -> Arc<Subscriber<R>> {
        let room = Arc::clone(lease.room());
        let subscriber = Arc::new(Subscriber {
            room: Arc::clone(&room),
            connection,
            user,
            phase: AtomicU8::new(NEW),
            index: SlotIndex::default(),
            publisher: Arc::clone(lease.publisher()),
            pace,
        });
        room.lock().enter(Arc::clone(&subscriber), lease);
        subscriber
    }

    /// Queues `message` for every member, or says why not; returns how many queues took it. Who is
    /// `first` in line looks at the members; who has not stood in line does not pass it.
    pub(super) fn deliver(&self, message: &Message, first: bool) -> Result<usize, Undelivered> {
        let now = clock::now();
        // Given up under the lock, and dropped after it.
        let mut dropped = Dropped::default();
        let mut members = self.lock();
        members.fits(message)?;
        self.may_publish(&members, None, first, now)?;
        Ok(members.deliver(message, None, now, &mut dropped))
    }

    fn may_publish(
        &self,
        members: &Members<R>,
        user: Option<&UsersPace>,
        first: bool,
        now: Instant,
    ) -> Result<(), Undelivered> {
        if !first && !self.line.is_free() {
            return Err(Undelivered::NotBefore(now));
        }
        members.may_publish(user, first, now)
    }

    pub(super) fn members(&self) -> Vec<MemberInfo> {
        let members = self.lock();
        let info =
            |it: &Arc<Subscriber<R>>| MemberInfo::new(Arc::clone(&it.user), it.connection.clone());
        members.iter().map(info).collect()
    }

    pub(super) fn member_count(&self) -> usize {
        self.lock().len()
    }

    /// Takes out everybody for whom `is` holds, joins under way included; returns how many were members.
    pub(super) fn remove(&self, is: impl Fn(&Subscriber<R>) -> bool) -> usize {
        let removed = self.lock().remove_all(is);
        let count = removed.iter().filter(|it| it.is_member()).count();
        self.directory.count_left(count);
        let left = removed.into_iter().filter_map(Removed::give_back);
        left.for_each(|it| it.record_left());
        count
    }

    /// Held to deliver one message, or to admit or remove somebody: never across an await, and of
    /// other locks only queues' are taken meanwhile. No code of the application's runs under it.
    fn lock(&self) -> MutexGuard<'_, Members<R>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Listed for Room<R> {
    fn key(&self) -> &RoomKey {
        &self.key
    }

    fn directory(&self) -> &Directory<Self> {
        &self.directory
    }
}

impl<R> Subscriber<R> {
    /// Whether it is in the room no more. Only under the room's lock is the answer still true when used.
    pub(super) fn is_gone(&self) -> bool {
        self.phase.load(Ordering::Acquire) == GONE
    }

    pub(super) fn room(&self) -> &Room<R> {
        &self.room
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn user(&self) -> &Arc<str> {
        &self.user
    }

    pub(super) fn is_user(&self, id: &str) -> bool {
        *self.user == *id
    }

    pub(super) fn is_of_tenant(&self, tenant: Option<&str>) -> bool {
        self.connection.tenant().map(|it| &**it) == tenant
    }

    pub(super) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Queues `notice` and makes it a member, in one step under the room's lock: nothing else from the
    /// room can come before the notice, and nothing after it is missed.
    pub(super) fn admit(&self, notice: Message) -> Result<(), JoinRefused> {
        let queue = self.connection.sender();
        let mut dropped = Dropped::default();
        let pushed = {
            let mut members = self.room.lock();
            if self.is_gone() {
                return Err(JoinRefused::Removed);
            }
            if members.len() >= self.room.directory.limits().members.get() {
                return Err(JoinRefused::RoomFull);
            }
            let pushed = queue.push_own(notice, &mut dropped);
            if pushed.is_ok() && members.admit(self, queue) {
                self.room.directory.count_joined();
            }
            pushed
        };
        match pushed {
            Ok(_) => Ok(()),
            Err(SendError::TooLarge(_)) => Err(JoinRefused::NoticeTooLarge),
            Err(SendError::Full(_) | SendError::Closed(_)) => Err(JoinRefused::Closed),
        }
    }

    /// Leaves the room, unless that has happened.
    pub(super) fn leave(&self) -> Option<Removed<R>> {
        let removed = self.room.lock().remove(self)?;
        self.room.directory.count_left(usize::from(removed.is_member()));
        Some(removed)
    }

    /// The same as [`Room::deliver`], if this still is a member and its user may.
    pub(super) fn deliver(&self, message: &Message, first: bool) -> Result<usize, Undelivered> {
        let now = clock::now();
        // Given up under the lock, and dropped after it.
        let mut dropped = Dropped::default();
        let mut members = self.room.lock();
        if self.is_gone() {
            return Err(Undelivered::NotAMember);
        }
        members.fits(message)?;
        let user = Some(&*self.pace);
        self.room.may_publish(&members, user, first, now)?;
        self.publisher.quota.charge(message, members.len())?;
        Ok(members.deliver(message, user, now, &mut dropped))
    }

    /// Records that the peer, who may be in `most` rooms, joined. Whoever removes it before that
    /// leaves it to this call to record both, so that `Left` never comes first and never without
    /// `Joined`. If the one is suppressed, so is the other.
    pub(super) fn announce(&self, most: NonZeroUsize) {
        if !self.connection.record_joined(Arc::clone(&self.room.label), most) {
            return;
        }
        let swapped =
            self.phase.compare_exchange(NEW, ANNOUNCED, Ordering::AcqRel, Ordering::Acquire);
        if swapped == Err(GONE) {
            self.record_left();
        }
    }

    /// Runs in drops and where somebody else removes this user; a sink that panics stops neither,
    /// because [`Connection::record`] catches it.
    pub(super) fn record_left(&self) {
        let room = Arc::clone(&self.room.label);
        self.connection.record(AuditEvent::Left(Left { room }));
    }
}

impl<R> Indexed for Subscriber<R> {
    fn index(&self) -> &SlotIndex {
        &self.index
    }

    fn lose(&self) -> bool {
        self.phase.swap(GONE, Ordering::AcqRel) == ANNOUNCED
    }
}

/// In the room's books; no audit record of it, or not yet.
const NEW: u8 = 0;
/// Recorded as joined.
const ANNOUNCED: u8 = 1;
/// Not in the room any more.
const GONE: u8 = 2;
