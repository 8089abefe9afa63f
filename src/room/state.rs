//! Hold one room's members and its log, and say who is a member. It is long because rooms and those who are
//! in them are made of each other.
//!
//! Whether somebody is a member is decided under the room's lock. A subscriber that is gone stays gone:
//! coming back makes another one, and a handle kept from the first is worth nothing.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::{runtime::Handle, sync::Notify, time::Instant};

use crate::{
    connection::Connection,
    outbound::{
        Cursor, Dropped, Gap, Lacks, OutboundLimits, Outlet, Replay, Seat, SendError, SlowMember,
        View, budget::Evict,
    },
    quota::{RateKeyValue, clock},
    room::{
        announce::{ANNOUNCED, GONE, NEW},
        change::{Change, Pin},
        directory::{Directory, Listed, RoomLease},
        encoder::{Encoder, Publication, Welcome},
        entry::{Admitted, Entry},
        join_refused::JoinRefused,
        lane::SlotIndex,
        member_info::MemberInfo,
        members::{self, Appended, Circle, Indexed},
        name::{RoomKey, RoomName},
        outcome::{Published, Undelivered},
        pace::{Line, UsersPace},
        position::Position,
        publisher::{Publisher, RoomQuota},
        said::Said,
        scope::{self, RoomNotice},
        values::Values,
        walker::{Walk, Walked},
    },
};

/// One room. It is in the directory as long as it has members or joins under way.
pub(super) struct Room<R> {
    pub(super) key: RoomKey,
    /// The key as audit records write it, made once.
    pub(super) label: Arc<str>,
    pub(super) directory: Arc<Directory<Self>>,
    pub(super) encoder: Arc<Encoder<R>>,
    members: Mutex<Members<R>>,
    /// Of publishers, while somebody who reads is behind.
    line: Line,
    /// All members of a lane have been offered what was published when the circle began.
    walked: Notify,
    settings: Settings,
    /// There is something to keep.
    has_said: AtomicBool,
}

/// What the application has set for a room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// How long what was said is kept for those who come back.
    pub(super) ttl: Option<Duration>,
    /// What becomes of who cannot keep up.
    pub(super) slow_member: SlowMember,
    /// How old what is heard may be.
    pub(super) max_lag: Option<Duration>,
}

/// One connection in one room, or on its way there. The room, the connection's subscriptions and the
/// handler's handles share it.
pub(super) struct Subscriber<R> {
    pub(super) room: Arc<Room<R>>,
    pub(super) connection: Connection,
    user: Arc<str>,
    /// What the peer calls the room, if that is not its name.
    pub(super) alias: Option<Box<RoomName>>,
    /// [`NEW`], [`ANNOUNCED`] or [`GONE`]. Becomes `GONE` under the room's lock only.
    pub(super) phase: AtomicU8,
    /// There is a record that it joined.
    pub(super) is_recorded: AtomicBool,
    /// Where among the members it is.
    index: SlotIndex,
    /// How far it has heard the room.
    cursor: Cursor,
    /// The connection's, shared by all of its rooms.
    pub(super) publisher: Arc<Publisher>,
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
        log: Said,
        settings: Settings,
    ) -> Self {
        let label = key.to_string().into();
        let members = Mutex::new(Members::new(log));
        let walked = Notify::new();
        let (line, has_said) = (Line::new(), AtomicBool::new(false));
        Self { key, label, directory, encoder, members, line, walked, settings, has_said }
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

    pub(super) fn walked(&self) -> &Notify {
        &self.walked
    }

    /// Begins the join of `connection` to the room of `lease`, which its peer calls `name`.
    pub(super) fn enter(
        lease: RoomLease<Self>,
        name: &RoomName,
        connection: Connection,
        user: Arc<str>,
        pace: Arc<UsersPace>,
    ) -> Arc<Subscriber<R>> {
        let room = Arc::clone(lease.room());
        let subscriber = Arc::new(Subscriber {
            room: Arc::clone(&room),
            connection,
            user,
            alias: (name != room.key.name()).then(|| Box::new(name.clone())),
            phase: AtomicU8::new(NEW),
            is_recorded: AtomicBool::new(false),
            index: SlotIndex::default(),
            cursor: Cursor::new(0),
            publisher: Arc::clone(lease.publisher()),
            pace,
        });
        room.lock().enter(Arc::clone(&subscriber), lease);
        subscriber
    }

    /// Publishes `frame` to every member, or says why not; returns how many there are. Who is `first` in
    /// line looks at the members; who has not stood in line does not pass it.
    pub(super) fn publish(
        self: &Arc<Self>,
        publication: &Publication,
        first: bool,
    ) -> Result<Published, Undelivered>
    where
        R: 'static,
    {
        let now = clock::now();
        self.append(|members| {
            let frame = publication.frame(members.log.kept().map(|kept| kept.next()));
            members.fits(&frame)?;
            self.may_publish(members, None, first, now)?;
            members.append(frame, None, now)
        })
    }

    /// Makes `change`, or says why not. With a `pin` it is the application's, and keeps the room while the value
    /// is there.
    pub(super) fn change(
        self: &Arc<Self>,
        change: &Change,
        mut pin: Option<Pin>,
    ) -> Result<Published, Undelivered>
    where
        R: 'static,
    {
        // The pin, or the one that is not needed any more, is dropped when the lock is free again.
        self.append(|members| members.change(change, &mut pin, |_| Ok(())))
    }

    /// Nothing keeps it any more but its members.
    pub(super) fn unpin(&self) {
        let pin = self.lock().log.values().ok().and_then(Values::unpin);
        // The lock is free again.
        drop(pin);
    }

    /// Lets `append` put something into the log, and sees to it that everybody is offered it.
    fn append(
        self: &Arc<Self>,
        append: impl FnOnce(&mut Members<R>) -> Result<Appended, Undelivered>,
    ) -> Result<Published, Undelivered>
    where
        R: 'static,
    {
        let mut members = self.lock();
        let Appended { walks, payload, position } = append(&mut members)?;
        self.has_said.store(position.is_some(), Ordering::Relaxed);
        let published = Published { members: members.len(), bytes: payload, position };
        let budget =
            members.log.account().filter(|it| it.is_tight()).map(|account| account.budget());
        let walks: Vec<_> = walks
            .into_iter()
            .map(|lane| (lane, members.runtime.clone().filter(|_| !members.is_brief(lane))))
            .collect();
        drop(members);
        for (lane, runtime) in walks {
            Walk::new(Arc::clone(self), lane).start(runtime.as_ref());
        }
        if let Some(budget) = budget {
            // The largest holder goes, which may be this room.
            budget.relieve(&mut Dropped::default());
        }
        Ok(published)
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

    /// Publishes `frame`; returns the lanes that are to be walked.
    #[cfg(test)]
    pub(super) fn append_only(&self, frame: crate::outbound::frame::Frame) -> Vec<usize> {
        self.lock().append(frame, None, clock::now()).unwrap().walks
    }

    /// Makes `change`; returns the lanes that are to be walked.
    #[cfg(test)]
    pub(super) fn change_only(&self, change: &Change) -> Result<Vec<usize>, Undelivered> {
        self.lock().change(change, &mut None, |_| Ok(())).map(|it| it.walks)
    }

    #[cfg(test)]
    pub(super) fn look<T>(&self, look: impl FnOnce(&Members<R>) -> T) -> T {
        look(&self.lock())
    }

    #[cfg(test)]
    pub(super) fn is_walked(&self) -> bool {
        self.lock().is_walked()
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

    /// Held to publish one message, to admit or remove somebody, or to take a part of the log: never across
    /// an await or a write, and of other locks only outlets' are taken meanwhile. No code of the
    /// application's runs under it.
    pub(super) fn lock(&self) -> MutexGuard<'_, Members<R>> {
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

    fn kept_for(&self) -> Option<Duration> {
        self.settings.ttl.filter(|_| self.has_said.load(Ordering::Relaxed))
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

    pub(super) fn outlet(&self) -> &Outlet {
        self.connection.outbound()
    }

    pub(super) fn user(&self) -> &Arc<str> {
        &self.user
    }

    /// What the peer calls the room.
    pub(super) fn name(&self) -> &RoomName {
        self.alias.as_deref().unwrap_or(self.room.key.name())
    }

    pub(super) fn is_user(&self, id: &str) -> bool {
        let known = || self.connection.user_id().is_some_and(|it| **it == *id);
        *self.user == *id || known()
    }

    pub(super) fn is_of_tenant(&self, tenant: Option<&str>) -> bool {
        self.connection.tenant().map(|it| &**it) == tenant
    }

    /// Queues `notice` and makes it a member, in one step under the room's lock: nothing else from the
    /// room can come before the notice, and nothing after it is missed.
    ///
    /// Who comes back with a position gets what was said since, if that is kept and not too much.
    pub(super) fn admit(
        &self,
        seat: &Arc<dyn Seat>,
        welcome: &Welcome,
        Entry { since, mut waits }: Entry,
    ) -> Result<Admitted, JoinRefused>
    where
        R: 'static,
    {
        let outlet = self.connection.outbound();
        let is_direct = outlet.is_direct();
        let quota = since.map(|_| self.publisher.replayed());
        let mut dropped = Dropped::default();
        let pushed = {
            let mut members = self.room.lock();
            if self.is_gone() {
                return Err(JoinRefused::Removed);
            }
            // Two may have put it there, each without knowing of the other.
            let is_same = |it: &Arc<Self>| it.connection.id() == self.connection.id();
            if self.connection.attached().was_used() && members.iter().any(is_same) {
                return Err(JoinRefused::Already);
            }
            if members.len() >= self.room.directory.limits().members.get() {
                return Err(JoinRefused::RoomFull);
            }
            let end = members.log.end();
            let is_keyed = members.log.is_keyed();
            // The values are the state.
            waits &= !is_keyed;
            let position = members.log.kept().map(|kept| kept.position());
            let replay = if is_keyed {
                self.cursor.set_born(end);
                (end > 0).then_some(Replay { start: 0, end, hold: None })
            } else {
                since.zip(quota).and_then(|it| self.replay(&mut members, it))
            };
            self.cursor.set_position(replay.as_ref().map_or(end, |replay| replay.start));
            let notice = |recovered| welcome.message(position, recovered && !is_keyed);
            let pushed = outlet.welcome(seat, replay, waits, notice, &mut dropped);
            if !matches!(pushed, Ok(true)) {
                self.cursor.set_position(end);
            }
            if pushed.is_ok() && members.admit(self, is_direct) {
                if let Some(kept) = members.log.kept() {
                    kept.joined(&RateKeyValue::of(&*self.user));
                }
                members.runtime = Handle::try_current().ok().or(members.runtime.take());
                if let Some(account) = outlet.account() {
                    let room = Arc::downgrade(&self.room);
                    members.log.open_account(&account.budget(), room);
                }
                self.room.directory.count_joined();
            }
            pushed
        };
        // Not under the room's lock: it may be this room that is shed.
        outlet.relieve(&mut dropped);
        match pushed {
            Ok(false) if waits => Ok(Admitted::Waits),
            Ok(_) => Ok(Admitted::Hears),
            Err(SendError::TooLarge(_)) => Err(JoinRefused::NoticeTooLarge),
            Err(SendError::Full(_) | SendError::Closed(_)) => Err(JoinRefused::Closed),
        }
    }

    /// What was said `since`, if all of that is kept and the user may have it.
    fn replay(
        &self,
        members: &mut Members<R>,
        (since, quota): (Position, &RoomQuota),
    ) -> Option<Replay> {
        let number = members.log.kept()?.lacks(&RateKeyValue::of(&*self.user), since)?;
        let start = members.log.find(number)?;
        let end = members.log.end();
        let bytes = usize::try_from(end - start).unwrap_or(usize::MAX);
        quota.charge(bytes, 1).ok()?;
        Some(Replay { start, end, hold: members.log.hold_at(start) })
    }

    /// Leaves the room, unless that has happened. If the connection ends in good order, it still hears what
    /// was said before.
    pub(super) fn leave(&self, seat: Option<&Arc<dyn Seat>>) -> Option<Removed<R>> {
        let (removed, end, hold) = {
            let mut members = self.room.lock();
            let removed = members.remove(self)?;
            (removed, members.log.end(), members.log.hold_at(self.cursor.from()))
        };
        if let Some(seat) = seat {
            self.connection.outbound().leave_room(seat, end, hold);
            self.room.lock().trim();
        }
        self.room.directory.count_left(usize::from(removed.is_member()));
        Some(removed)
    }

    /// The same as [`Room::publish`], if this still is a member and its user may. If it is for `others`, it is
    /// not heard here.
    pub(super) fn publish(
        &self,
        publication: &Publication,
        others: bool,
        first: bool,
    ) -> Result<Published, Undelivered>
    where
        R: 'static,
    {
        let (now, quota) = (clock::now(), self.publisher.published());
        self.room.append(|members| {
            if self.is_gone() {
                return Err(Undelivered::NotAMember);
            }
            let frame = publication.frame(members.log.kept().map(|kept| kept.next()));
            members.fits(&frame)?;
            let user = Some(&self.pace);
            self.room.may_publish(members, Some(&self.pace), first, now)?;
            quota.charge(frame.payload, members.len())?;
            let start = members.log.end();
            let appended = members.append(frame, user, now)?;
            if others {
                self.cursor.skip(start, members.log.end());
            }
            Ok(appended)
        })
    }

    /// Makes `change`, if this still is a member and its user may.
    pub(super) fn change(&self, change: &Change) -> Result<Published, Undelivered>
    where
        R: 'static,
    {
        let quota = self.publisher.published();
        let charge = |members| quota.charge(change.frame.payload, members);
        self.room.append(|members| {
            if self.is_gone() {
                return Err(Undelivered::NotAMember);
            }
            members.change(change, &mut None, charge)
        })
    }
}

impl<R> Indexed for Subscriber<R> {
    fn index(&self) -> &SlotIndex {
        &self.index
    }

    fn lose(&self) -> bool {
        self.phase.swap(GONE, Ordering::AcqRel) == ANNOUNCED
    }

    fn limits(&self) -> OutboundLimits {
        self.connection.outbound().limits()
    }

    fn is_crowded(&self) -> bool {
        self.room.settings.slow_member == SlowMember::Close
            && self.connection.outbound().is_crowded()
    }

    fn touch(&self) {
        let phase = self.phase.load(Ordering::Relaxed);
        std::hint::black_box((phase, self.cursor.position(), self.connection.outbound()));
    }
}

impl<R: 'static> Seat for Subscriber<R> {
    fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    fn is_gone(&self) -> bool {
        self.is_gone() && self.cursor.until() == u64::MAX
    }

    fn when_slow(&self) -> SlowMember {
        self.room.settings.slow_member
    }

    fn read(&self, into: &mut Vec<u8>, most: usize) -> Option<Lacks> {
        let members = self.room.lock();
        if Seat::is_gone(self) {
            return None;
        }
        let (position, next) = self.cursor.span();
        let lacks =
            || Lacks { end: members.log.end().min(self.cursor.until()), ..Lacks::default() };
        if next == position {
            return Some(Lacks { has_gap: true, ..lacks() });
        }
        if let Some(oldest) = self.room.settings.max_lag.and_then(|it| clock::now().checked_sub(it))
            && members.log.is_older(position, oldest)
            && !self.cursor.is_replaying()
        {
            return Some(Lacks { is_lost: true, ..lacks() });
        }
        Some(members.log.read(&self.cursor, into, most))
    }

    fn gap(&self) -> Option<Gap> {
        let (to, position) = {
            let members = self.room.lock();
            let to = self.cursor.leaps_to().filter(|_| !Seat::is_gone(self))?;
            let to = if members.log.has_lost(to) { members.log.end() } else { to };
            (to, members.log.name(to))
        };
        let notice = RoomNotice::Gap(scope::Gap::new(self.name().clone()));
        let message = self.room.encoder.notice(notice, position)?;
        let fits = message.len() <= self.connection.outbound().limits().message_size;
        fits.then_some(Gap { to, message })
    }

    fn told(&self, to: u64) {
        let mut bytes = to.saturating_sub(self.cursor.position());
        if self.cursor.is_keyed() {
            // It forgets what it has heard, and gets what there is.
            bytes = 0;
            self.cursor.begin_anew(self.room.lock().log.end());
        } else {
            self.cursor.set_position(to);
        }
        self.connection.record_skipped(Arc::clone(&self.room.label), bytes);
    }

    fn released(&self) {
        self.room.lock().trim();
    }
}

impl<R: 'static> Walked for Room<R> {
    type Member = Subscriber<R>;

    fn step(
        &self,
        lane: usize,
        circle: &mut Circle,
        view: &mut View,
        members: &mut Vec<Arc<Subscriber<R>>>,
    ) -> bool {
        self.lock().step(lane, circle, view, members)
    }

    fn circle_ends(&self, lane: usize, circle: &Circle) -> bool {
        let over = self.lock().circle_ends(lane, circle);
        self.walked.notify_waiters();
        over
    }

    fn outlet(member: &Subscriber<R>) -> &Outlet {
        member.connection.outbound()
    }
}

impl<R: 'static> Evict for Room<R> {
    fn evict(&self, dropped: &mut Dropped) {
        let lost = {
            let mut members = self.lock();
            let lost = members.cut();
            if let Some(account) = members.log.account() {
                account.stay();
            }
            lost
        };
        for seat in lost {
            seat.connection.outbound().lose(&*seat, dropped);
        }
    }
}
