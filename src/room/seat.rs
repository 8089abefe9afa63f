//! Hold one room's members, and a connection's seat among them.
//!
//! [`RoomState::enter`] makes a [`Joining`], which is in the room's books but gets nothing; seating it
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

use slab::Slab;

use crate::{
    audit::{AuditEvent, Left, LeftAll},
    handle::Connection,
    message::Message,
    outbound::{OutboundSender, SendError},
    room::{
        MemberInfo, RoomKey, RoomNotice,
        bounds::Bounds,
        publish::{Budget, Room, Undelivered},
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
}

struct Members<R> {
    slots: Slab<Slot<R>>,
    /// How many slots have a queue.
    seated: usize,
    /// Of those.
    bounds: Bounds,
}

struct Slot<R> {
    /// `None` while the policy is being asked.
    queue: Option<OutboundSender>,
    seat: Arc<Seat<R>>,
    /// Keeps the room in the directory.
    _claim: Claim<R>,
}

/// One connection's place in one room. The room, the connection's memberships and the handler's
/// [`Room`]s share it.
pub(super) struct Seat<R> {
    room: Arc<RoomState<R>>,
    connection: Connection,
    user: Arc<str>,
    /// [`NEW`], [`ANNOUNCED`] or [`GONE`]. Becomes `GONE` under the room's lock only.
    phase: AtomicU8,
    /// The connection's, shared by all of its rooms.
    budget: Arc<Budget>,
}

/// A join under way.
pub(super) struct Joining<R> {
    membership: Membership<R>,
    max_members: NonZeroUsize,
}

/// A connection's membership of a room. Dropping it leaves the room.
pub(super) struct Membership<R> {
    seat: Arc<Seat<R>>,
    slot: usize,
}

/// Why a join came to nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum JoinRefused {
    /// The connection is in the room.
    Already,
    /// The connection is closing.
    Closed,
    /// The notice that it joined is larger than any message to it may be.
    NoticeTooLarge,
    /// The policy said no.
    Denied,
    /// The policy panicked.
    PolicyFailed,
    /// The user was removed while it was joining.
    Removed,
    /// The room has as many members as it may have.
    RoomFull,
    /// There are as many rooms as there may be.
    RoomsFull,
    /// The connection is in as many rooms as it may be.
    TooManyRooms,
}

impl JoinRefused {
    /// What the peer is told: one code for everything that has to do with the room.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::TooManyRooms => RoomNotice::TOO_MANY_ROOMS,
            _ => RoomNotice::JOIN_REFUSED,
        }
    }

    /// The rule, as audit records name it.
    pub(super) fn rule(self) -> &'static str {
        match self {
            Self::Already => "room.joined",
            Self::Closed => "room.closed",
            Self::NoticeTooLarge => "room.message_size",
            Self::Denied => "room.join_denied",
            Self::PolicyFailed => "room.policy_failed",
            Self::Removed => "room.removed",
            Self::RoomFull => "room.members",
            Self::RoomsFull => "room.rooms",
            Self::TooManyRooms => "room.rooms_per_connection",
        }
    }
}

impl<R> RoomState<R> {
    pub(super) fn new(key: RoomKey, directory: Arc<Directory<R>>) -> Self {
        let label = key.to_string().into();
        let members = Mutex::new(Members { slots: Slab::new(), seated: 0, bounds: Bounds::new() });
        Self { key, label, directory, members }
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
        budget: Arc<Budget>,
        max_members: NonZeroUsize,
    ) -> Joining<R> {
        let seat = Arc::new(Seat {
            room: Arc::clone(&self),
            connection,
            user,
            phase: AtomicU8::new(NEW),
            budget,
        });
        let slot =
            self.lock().slots.insert(Slot { queue: None, seat: Arc::clone(&seat), _claim: claim });
        Joining { membership: Membership { seat, slot }, max_members }
    }

    /// Queues `message` for every member; returns how many queues took it.
    pub(super) fn deliver(&self, message: &Message) -> Result<usize, Undelivered> {
        let members = self.lock();
        members.fits(message)?;
        Ok(members.deliver(message))
    }

    pub(super) fn members(&self) -> Vec<MemberInfo> {
        let members = self.lock();
        let seated = members.slots.iter().filter(|(_, slot)| slot.queue.is_some());
        seated
            .map(|(_, slot)| MemberInfo {
                connection: slot.seat.connection.clone(),
                user: Arc::clone(&slot.seat.user),
            })
            .collect()
    }

    /// Takes out every slot of `user`, joins under way included; returns how many were members.
    pub(super) fn remove(&self, user: &str) -> usize {
        let removed: Vec<_> = {
            let mut members = self.lock();
            let theirs: Vec<usize> = members
                .slots
                .iter()
                .filter(|(_, slot)| *slot.seat.user == *user)
                .map(|(at, _)| at)
                .collect();
            theirs.into_iter().filter_map(|slot| members.vacate(slot)).collect()
        };
        let count = removed.iter().filter(|vacated| vacated.slot.queue.is_some()).count();
        removed.into_iter().for_each(Vacated::finish);
        count
    }

    /// Held to deliver one message, or to seat or remove somebody: never across an await, and of
    /// other locks only queues' are taken meanwhile. No code of the application's runs under it.
    fn lock(&self) -> MutexGuard<'_, Members<R>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Members<R> {
    /// Whether every member can take `message`: found here, and not behind their queues.
    fn fits(&self, message: &Message) -> Result<(), Undelivered> {
        let (size, limit) = (message.len(), self.bounds.message_size());
        if size > limit { Err(Undelivered::TooLarge { size, limit }) } else { Ok(()) }
    }

    fn deliver(&self, message: &Message) -> usize {
        let mut delivered = 0;
        for (_, slot) in &self.slots {
            // A queue that refuses belongs to a connection that its driver is about to close.
            if let Some(queue) = &slot.queue
                && queue.push_own(message.clone()).is_ok()
            {
                delivered += 1;
            }
        }
        delivered
    }

    fn vacate(&mut self, slot: usize) -> Option<Vacated<R>> {
        let slot = self.slots.try_remove(slot)?;
        if let Some(queue) = &slot.queue {
            self.seated -= 1;
            self.bounds.remove(queue.limits());
            slot.seat.room.directory.vacated();
        }
        let announced = slot.seat.phase.swap(GONE, Ordering::AcqRel) == ANNOUNCED;
        Some(Vacated { slot, announced })
    }
}

/// What was taken out of a room, to be finished with when its lock is free again.
struct Vacated<R> {
    slot: Slot<R>,
    announced: bool,
}

impl<R> Vacated<R> {
    fn finish(self) {
        let seat = Arc::clone(&self.slot.seat);
        drop(self.slot);
        if self.announced {
            seat.record_left();
        }
    }
}

impl<R> Seat<R> {
    /// Whether the seat was lost. Only under the room's lock is the answer still true when used.
    pub(super) fn is_gone(&self) -> bool {
        self.phase.load(Ordering::Acquire) == GONE
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

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Queues `message` for every member, if this seat still is one and its user may.
    pub(super) fn deliver(&self, message: &Message) -> Result<usize, Undelivered> {
        let members = self.room.lock();
        if self.is_gone() {
            return Err(Undelivered::NotAMember);
        }
        members.fits(message)?;
        self.budget.charge(message, members.seated)?;
        Ok(members.deliver(message))
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
    fn record_left(&self) {
        let room = Arc::clone(&self.room.label);
        self.connection.record(AuditEvent::Left(Left { room }));
    }
}

impl<R> Joining<R> {
    /// Queues `notice` for the joiner and makes it a member, in one step under the room's lock:
    /// nothing else from the room can come before the notice, and nothing after it is missed.
    pub(super) fn seat(self, notice: Message) -> Result<Membership<R>, JoinRefused> {
        let Self { membership, max_members } = self;
        let seat = &membership.seat;
        let queue = seat.connection.sender();
        {
            let mut members = seat.room.lock();
            if seat.is_gone() {
                return Err(JoinRefused::Removed);
            }
            if members.seated >= max_members.get() {
                return Err(JoinRefused::RoomFull);
            }
            let Some(slot) = members.slots.get_mut(membership.slot) else {
                return Err(JoinRefused::Removed);
            };
            match queue.push_own(notice) {
                Ok(()) => {}
                Err(SendError::TooLarge(_)) => return Err(JoinRefused::NoticeTooLarge),
                Err(_) => return Err(JoinRefused::Closed),
            }
            let limits = queue.limits();
            slot.queue = Some(queue);
            members.seated += 1;
            members.bounds.add(limits);
            seat.room.directory.seated();
        }
        Ok(membership)
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

    pub(super) fn room(&self) -> Room<R> {
        Room::new(Arc::clone(&self.seat))
    }

    /// Leaves the room, unless that has happened.
    fn vacate(&self) -> Option<Vacated<R>> {
        let mut members = self.seat.room.lock();
        // The slot may be another's by now.
        if self.seat.is_gone() {
            return None;
        }
        members.vacate(self.slot)
    }
}

/// Leaves the rooms of all `memberships`, which are one connection's, with one record.
pub(super) fn leave_all<R>(memberships: impl IntoIterator<Item = Membership<R>>) {
    let vacated = memberships.into_iter().filter_map(|it| it.vacate());
    let announced = vacated.filter(|it| it.announced).map(|it| Arc::clone(&it.slot.seat));
    let mut seats: Vec<_> = announced.collect();
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
