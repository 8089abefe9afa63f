//! Hold one room's members, and a connection's seat among them.
//!
//! [`RoomState::enter`] makes a [`PendingJoin`], which is in the room's books but gets nothing; seating it
//! makes a [`Membership`]. Dropping either takes it out, so that whatever owned it, a future or a
//! connection, leaves nobody behind.
//!
//! Whether somebody is a member is decided under the room's lock. A seat that is gone stays gone:
//! coming back makes another seat, and a handle kept from the first one is worth nothing.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::time::Instant;

use crate::{
    audit::{AuditEvent, Left, LeftAll},
    connection::Connection,
    message::Message,
    outbound::{Dropped, SendError},
    quota::clock,
    room::{
        MemberInfo, RoomKey,
        join_refused::JoinRefused,
        members::{Members, Place, Vacated},
        outcome::Undelivered,
        pace::{Line, UsersPace},
        publish::RoomHandle,
        publisher::Publisher,
        registry::{Claim, Directory},
    },
};

/// One room. It is in the directory as long as it has slots.
pub(super) struct RoomState<R> {
    key: RoomKey,
    /// The key as audit records write it, made once.
    label: Arc<str>,
    directory: Arc<Directory<R>>,
    members: Mutex<Members<R>>,
    /// Of publishers, while somebody who reads is behind.
    line: Line,
}

/// One connection's place in one room. The room, the connection's memberships and the handler's
/// [`RoomHandle`]s share it.
pub(super) struct Seat<R> {
    room: Arc<RoomState<R>>,
    connection: Connection,
    user: Arc<str>,
    /// [`NEW`], [`ANNOUNCED`] or [`GONE`]. Becomes `GONE` under the room's lock only.
    phase: AtomicU8,
    /// Where among the members it is.
    pub(super) place: Place,
    /// The connection's, shared by all of its rooms.
    publisher: Arc<Publisher>,
    /// The user's, shared by all of its rooms.
    pace: Arc<UsersPace>,
}

/// A join under way.
pub(super) struct PendingJoin<R> {
    membership: Membership<R>,
    max_members: NonZeroUsize,
}

/// A connection's membership of a room. Dropping it leaves the room.
pub(super) struct Membership<R> {
    seat: Arc<Seat<R>>,
}

impl<R> RoomState<R> {
    pub(super) fn new(key: RoomKey, directory: Arc<Directory<R>>) -> Self {
        let label = key.to_string().into();
        Self { key, label, directory, members: Mutex::new(Members::new()), line: Line::new() }
    }

    pub(super) fn key(&self) -> &RoomKey {
        &self.key
    }

    pub(super) fn label(&self) -> &Arc<str> {
        &self.label
    }

    pub(super) fn directory(&self) -> &Directory<R> {
        &self.directory
    }

    pub(super) fn enter(
        self: Arc<Self>,
        claim: Claim<R>,
        connection: Connection,
        user: Arc<str>,
        publisher: Arc<Publisher>,
        pace: Arc<UsersPace>,
        max_members: NonZeroUsize,
    ) -> PendingJoin<R> {
        let seat = Arc::new(Seat {
            room: Arc::clone(&self),
            connection,
            user,
            phase: AtomicU8::new(NEW),
            place: Place::default(),
            publisher,
            pace,
        });
        self.lock().enter(Arc::clone(&seat), claim);
        PendingJoin { membership: Membership { seat }, max_members }
    }

    pub(super) fn line(&self) -> &Line {
        &self.line
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
        let info = |it: &Arc<Seat<R>>| MemberInfo::new(Arc::clone(&it.user), it.connection.clone());
        members.seats().map(info).collect()
    }

    pub(super) fn member_count(&self) -> usize {
        self.lock().seated()
    }

    /// Takes out every slot of `user`, joins under way included; returns how many were members.
    pub(super) fn remove(&self, user: &str) -> usize {
        let removed = self.lock().vacate_all(|seat| *seat.user == *user);
        let count = removed.iter().filter(|it| it.is_member()).count();
        removed.into_iter().for_each(Vacated::finish);
        count
    }

    /// Held to deliver one message, or to seat or remove somebody: never across an await, and of
    /// other locks only queues' are taken meanwhile. No code of the application's runs under it.
    fn lock(&self) -> MutexGuard<'_, Members<R>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Seat<R> {
    /// Whether the seat was lost. Only under the room's lock is the answer still true when used.
    pub(super) fn is_gone(&self) -> bool {
        self.phase.load(Ordering::Acquire) == GONE
    }

    /// The seat is gone from here on; says whether anybody was told that it was taken. Called under the
    /// room's lock.
    pub(super) fn lose(&self) -> bool {
        self.phase.swap(GONE, Ordering::AcqRel) == ANNOUNCED
    }

    pub(super) fn room(&self) -> &RoomState<R> {
        &self.room
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn user(&self) -> &Arc<str> {
        &self.user
    }

    pub(super) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// The same as [`RoomState::deliver`], if this seat still is a member's and its user may.
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
        self.publisher.charge(message, members.seated())?;
        Ok(members.deliver(message, user, now, &mut dropped))
    }

    /// Records that the peer, who may be in `most` rooms, joined. Whoever takes the seat away before that
    /// leaves it to this call to record both, so that `Left` never comes first and never without
    /// `Joined`. If the one is thinned out, so is the other.
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

impl<R> PendingJoin<R> {
    /// Queues `notice` for the joiner and makes it a member, in one step under the room's lock:
    /// nothing else from the room can come before the notice, and nothing after it is missed.
    pub(super) fn seat(self, notice: Message) -> Result<Membership<R>, JoinRefused> {
        let Self { membership, max_members } = self;
        let seat = &membership.seat;
        let queue = seat.connection.sender();
        let mut dropped = Dropped::default();
        let pushed = {
            let mut members = seat.room.lock();
            if seat.is_gone() {
                return Err(JoinRefused::Removed);
            }
            if members.seated() >= max_members.get() {
                return Err(JoinRefused::RoomFull);
            }
            let pushed = queue.push_own(notice, &mut dropped);
            if pushed.is_ok() {
                members.seat(seat, queue);
            }
            pushed
        };
        match pushed {
            Ok(_) => Ok(membership),
            Err(SendError::TooLarge(_)) => Err(JoinRefused::NoticeTooLarge),
            Err(SendError::Full(_) | SendError::Closed(_)) => Err(JoinRefused::Closed),
        }
    }
}

impl<R> Membership<R> {
    pub(super) fn seat(&self) -> &Arc<Seat<R>> {
        &self.seat
    }

    /// Whether the membership still holds; `false` after the user was removed.
    pub(super) fn is_current(&self) -> bool {
        !self.seat.is_gone()
    }

    pub(super) fn room(&self) -> RoomHandle<R> {
        RoomHandle::new(Arc::clone(&self.seat))
    }

    /// Leaves the room, unless that has happened.
    fn vacate(&self) -> Option<Vacated<R>> {
        self.seat.room.lock().vacate(&self.seat)
    }
}

/// Leaves the rooms of all `memberships`, which are one connection's, with one record.
pub(super) fn leave_all<R>(memberships: impl IntoIterator<Item = Membership<R>>) {
    let vacated = memberships.into_iter().filter_map(|it| it.vacate());
    let mut seats: Vec<_> = vacated.filter_map(Vacated::give_back).collect();
    seats.sort_unstable_by(|a, b| a.room.label.cmp(&b.room.label));
    match &seats[..] {
        [] => {}
        [seat] => seat.record_left(),
        [first, ..] => {
            let rooms = seats.iter().take(NAMED_ROOMS).map(|it| Arc::clone(&it.room.label));
            let left = LeftAll { count: seats.len(), rooms: rooms.collect() };
            first.connection.record(AuditEvent::LeftAll(left));
        }
    }
}

impl<R> Drop for Membership<R> {
    fn drop(&mut self) {
        if let Some(vacated) = self.vacate() {
            vacated.finish();
        }
    }
}

/// Rooms that the record of a connection's end names: enough to know it again, and not a list of
/// whatever length it likes.
const NAMED_ROOMS: usize = 8;

/// In the room's books; no audit record of it, or not yet.
const NEW: u8 = 0;
/// Recorded as joined.
const ANNOUNCED: u8 = 1;
/// Not in the room any more.
const GONE: u8 = 2;
