//! Come into a room, speak there, and leave it.

use std::sync::{Arc, atomic::Ordering};

use tokio::runtime::Handle;

use super::{Members, Removed, Room, Subscriber};
use crate::{
    connection::Connection,
    outbound::{Dropped, Outlet, Replay, Seat, SendError},
    quota::{RateKeyValue, clock},
    room::{
        announce::GONE,
        change::Change,
        encoder::{Publication, Welcome},
        entry::{Admitted, Entry},
        join_refused::JoinRefused,
        name::RoomName,
        outcome::{Published, Undelivered},
        position::Position,
        publisher::RoomQuota,
    },
};

impl<R> Subscriber<R> {
    /// Whether it is in the room no more. Only under the room's lock is the answer still true when used.
    pub(in crate::room) fn is_gone(&self) -> bool {
        self.phase.load(Ordering::Acquire) == GONE
    }

    pub(in crate::room) fn room(&self) -> &Room<R> {
        &self.room
    }

    pub(in crate::room) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(in crate::room) fn outlet(&self) -> &Outlet {
        self.connection.outbound()
    }

    pub(in crate::room) fn user(&self) -> &Arc<str> {
        &self.user
    }

    /// What the peer calls the room.
    pub(in crate::room) fn name(&self) -> &RoomName {
        self.alias.as_deref().unwrap_or(self.room.key.name())
    }

    pub(in crate::room) fn is_user(&self, id: &str) -> bool {
        let known = || self.connection.user_id().is_some_and(|it| **it == *id);
        *self.user == *id || known()
    }

    pub(in crate::room) fn is_of_tenant(&self, tenant: Option<&str>) -> bool {
        self.connection.tenant().map(|it| &**it) == tenant
    }

    /// Queues `notice` and makes it a member, in one step under the room's lock: nothing else from the
    /// room can come before the notice, and nothing after it is missed.
    ///
    /// Who comes back with a position gets what was said since, if that is kept and not too much.
    pub(in crate::room) fn admit(
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
            // Who waits for the room's state has heard nothing of it: there is no position to come back with.
            let position = |recovered| position.filter(|_| recovered || !waits);
            let notice = |recovered| welcome.message(position(recovered), recovered && !is_keyed);
            let pushed = outlet.welcome(seat, replay, waits, notice, &mut dropped);
            if !matches!(pushed, Ok(true)) {
                self.cursor.set_position(end);
            }
            if pushed.is_ok() && members.admit(self, is_direct) {
                if let Some(kept) = members.log.kept() {
                    kept.joined(&self.marker());
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
        let number = members.log.kept()?.lacks(&self.marker(), since)?;
        let start = members.log.find(number)?;
        let end = members.log.end();
        let bytes = usize::try_from(end - start).unwrap_or(usize::MAX);
        quota.charge(bytes, 1).ok()?;
        Some(Replay { start, end, hold: members.log.hold_at(start) })
    }

    /// Whom a removal means, and no other tenant's user of the same id.
    pub(in crate::room) fn marker(&self) -> RateKeyValue {
        RateKeyValue::of((self.connection.tenant().map(|it| &**it), &*self.user))
    }

    /// Leaves the room, unless that has happened. If the connection ends in good order, it still hears what
    /// was said before.
    pub(in crate::room) fn leave(&self, seat: Option<&Arc<dyn Seat>>) -> Option<Removed<R>> {
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
    pub(in crate::room) fn publish(
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
    pub(in crate::room) fn change(&self, change: &Change) -> Result<Published, Undelivered>
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
