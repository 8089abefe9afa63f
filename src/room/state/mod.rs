//! Hold one room's members and its log, and say who is a member.
//!
//! Whether somebody is a member is decided under the room's lock. A subscriber that is gone stays gone:
//! coming back makes another one, and a handle kept from the first is worth nothing.

mod seat;
mod subscriber;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::{
    connection::Connection,
    outbound::{Cursor, Dropped, SlowMember},
    quota::clock,
    room::{
        announce::NEW,
        change::{Change, Pin},
        directory::{Directory, Listed, RoomLease},
        encoder::{Encoder, Publication},
        lane::SlotIndex,
        member_info::MemberInfo,
        members::{self, Appended},
        name::{RoomKey, RoomName},
        outcome::{Published, Undelivered},
        pace::{Line, UsersPace},
        publisher::Publisher,
        said::Said,
        values::Values,
        walker::Walk,
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
    /// [`NEW`], `ANNOUNCED` or `GONE`. Becomes `GONE` under the room's lock only.
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
