//! Hold those who are in one room, and what it has said.
//!
//! Membership, quota, order and position are decided here, under the room's lock, at a cost that does not
//! depend on how many members there are. What stands in a slot is the room's business: here it is
//! something that knows its index.

use std::sync::Arc;

use tokio::{runtime::Handle, time::Instant};

use crate::{
    outbound::{ENTRY_OVERHEAD, OutboundLimits, View, frame::Frame},
    room::{
        bounds::Bounds,
        change::{Change, Pin},
        lane::{Lane, Slot, SlotIndex},
        outcome::Undelivered,
        pace::{Pace, UsersPace},
        position::Position,
        said::Said,
    },
};

/// What stands in a slot.
pub(super) trait Indexed {
    /// Where it is.
    fn index(&self) -> &SlotIndex;

    /// It is gone from here on; says whether anybody was told that it came. Called under the room's
    /// lock.
    fn lose(&self) -> bool;

    /// What its connection may hold for its peer.
    fn limits(&self) -> OutboundLimits;

    /// Whether its peer is behind and still reads.
    fn is_crowded(&self) -> bool;

    /// Looks at it, so that it is near when it is needed.
    fn touch(&self);
}

/// The slots of a room: those of members, and those of joins under way; and the log.
pub(super) struct Members<T, L> {
    lanes: Vec<Lane<T, L>>,
    /// How many slots have a member.
    len: usize,
    /// Of those.
    bounds: Bounds,
    pace: Pace,
    /// Of the user who published last.
    speakers: Option<Arc<UsersPace>>,
    pub(super) log: Said,
    /// Where walks run: the runtime of who joined last.
    pub(super) runtime: Option<Handle>,
}

/// What was taken out of a room, to be finished with when its lock is free again.
pub(super) struct Removed<T, L> {
    slot: Slot<T, L>,
    announced: bool,
}

/// What was published.
#[derive(Debug)]
pub(super) struct Appended {
    /// The lanes that are to be walked.
    pub(super) walks: Vec<usize>,
    /// Bytes of its payload.
    pub(super) payload: usize,
    /// Where it stands, in a room that keeps a history.
    pub(super) position: Option<Position>,
}

/// How far a walk has come with one circle.
#[derive(Debug)]
pub(super) struct Circle {
    /// Slots of a step.
    step: usize,
    /// The slot that comes next.
    next: usize,
    /// Where the view of its first step ended: everybody has been offered that when it is over.
    first: Option<u64>,
    /// It has met somebody who is crowded.
    pub(super) crowded: bool,
}

impl Circle {
    /// One that takes so many slots in each step.
    pub(super) fn by(step: usize) -> Self {
        Self { step, next: 0, first: None, crowded: false }
    }
}

impl Default for Circle {
    fn default() -> Self {
        Self::by(STEP)
    }
}

impl<T: Indexed, L> Members<T, L> {
    pub(super) fn new(log: Said) -> Self {
        Self {
            lanes: Vec::new(),
            len: 0,
            bounds: Bounds::new(),
            pace: Pace::default(),
            speakers: None,
            log,
            runtime: None,
        }
    }

    /// How many members there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The members.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        let slots = self.lanes.iter().flat_map(Lane::slots);
        slots.filter(|slot| slot.is_member).map(|slot| &slot.subscriber)
    }

    /// Gives `subscriber` a slot; it is no member yet.
    pub(super) fn enter(&mut self, subscriber: Arc<T>, lease: L) {
        let lane = self.lanes.iter().position(|lane| !lane.is_full()).unwrap_or_else(|| {
            // Most rooms have one, of one member.
            self.lanes.reserve_exact(1);
            self.lanes.push(Lane::new(self.log.end()));
            self.lanes.len() - 1
        });
        if let Some(it) = self.lanes.get_mut(lane) {
            let index = Arc::clone(&subscriber);
            index.index().set(lane, it.enter(subscriber, lease));
        }
    }

    /// Makes `subscriber` a member; returns whether it had a slot and was none.
    pub(super) fn admit(&mut self, subscriber: &T, is_direct: bool) -> bool {
        let (lane, at) = subscriber.index().get();
        let Some(lane) = self.lanes.get_mut(lane) else { return false };
        if !lane.get(at).is_some_and(|it| it.is_of(subscriber) && !it.is_member) {
            return false;
        }
        lane.admit(at, is_direct);
        self.bounds.add(subscriber.limits());
        self.len += 1;
        true
    }

    /// Takes the slot of `subscriber` out, if it has one. It is gone then.
    pub(super) fn remove(&mut self, subscriber: &T) -> Option<Removed<T, L>> {
        let (lane, at) = subscriber.index().get();
        self.lanes.get(lane)?.get(at).filter(|it| it.is_of(subscriber))?;
        self.take(lane, at)
    }

    /// Takes every slot out for which `is` holds.
    pub(super) fn remove_all(&mut self, is: impl Fn(&T) -> bool) -> Vec<Removed<T, L>> {
        let mut removed = Vec::new();
        // From the end: who comes to stand in a free slot has been looked at.
        for lane in (0..self.lanes.len()).rev() {
            for at in (0..self.lanes.get(lane).map_or(0, Lane::len)).rev() {
                let slot = self.lanes.get(lane).and_then(|lane| lane.get(at));
                if slot.is_some_and(|it| is(&it.subscriber)) {
                    removed.extend(self.take(lane, at));
                }
            }
        }
        removed
    }

    fn take(&mut self, at_lane: usize, at: usize) -> Option<Removed<T, L>> {
        let lane = self.lanes.get_mut(at_lane)?;
        let slot = lane.take(at, |moved, at| moved.index().set(at_lane, at))?;
        if slot.is_member {
            self.len -= 1;
            self.bounds.remove(slot.subscriber.limits());
        }
        while self.lanes.last().is_some_and(|lane| lane.is_empty() && !lane.walking) {
            self.lanes.pop();
        }
        if self.lanes.is_empty() {
            self.lanes = Vec::new();
        }
        let announced = slot.subscriber.lose();
        Some(Removed { slot, announced })
    }

    /// Whether every member can take `frame`: found here, and not behind their queues.
    pub(super) fn fits(&self, frame: &Frame) -> Result<(), Undelivered> {
        let (size, limit) = (frame.payload, self.bounds.message_size());
        if size > limit { Err(Undelivered::TooLarge { size, limit }) } else { Ok(()) }
    }

    /// Whether the next message may be published: everybody was offered what was said before, and the room
    /// and `user` were not slowed down. The members are looked at if `look`, and otherwise what the last walk
    /// found is believed.
    pub(super) fn may_publish(
        &self,
        user: Option<&UsersPace>,
        look: bool,
        now: Instant,
    ) -> Result<(), Undelivered> {
        if self.log.is_keyed() {
            return Err(Undelivered::Keyed);
        }
        if self.log.end() - self.offered() > self.bounds.unwalked() {
            return Err(Undelivered::Unwalked);
        }
        let users = user.and_then(|user| user.lock().due(now));
        let Some(due) = self.pace.due(now).max(users) else {
            return Ok(());
        };
        if look && !self.iter().any(|it| it.is_crowded()) {
            return Ok(());
        }
        Err(Undelivered::NotBefore(due))
    }

    /// Publishes `frame`.
    pub(super) fn append(
        &mut self,
        frame: Frame,
        user: Option<&Arc<UsersPace>>,
        now: Instant,
    ) -> Result<Appended, Undelivered> {
        let payload = frame.payload;
        let cost = (frame.payload + ENTRY_OVERHEAD).max(self.bounds.share());
        // Where nobody is, there is nothing to keep but for those who come back.
        let is_heard = self.len > 0 || self.log.kept().is_some();
        if is_heard && !self.log.append(frame.bytes) {
            return Err(Undelivered::NoMemory);
        }
        self.pace.published(cost, now);
        if let Some(user) = user {
            user.lock().published(cost, now);
        }
        self.speakers = user.cloned();
        let walks = self.walks_begin();
        let position = self.log.kept().map(|kept| kept.position());
        Ok(Appended { walks, payload, position })
    }

    /// Makes `change`, if the room is keyed and `allow` lets it, which is told how many members there are.
    /// The `pin` is as [`Values::change`](crate::room::values::Values::change) says.
    pub(super) fn change(
        &mut self,
        change: &Change,
        pin: &mut Option<Pin>,
        allow: impl FnOnce(usize) -> Result<(), Undelivered>,
    ) -> Result<Appended, Undelivered> {
        self.fits(&change.frame)?;
        let (offered, len) = (self.offered(), self.len);
        let is_change = self.log.values()?.change(change, offered, pin, || allow(len))?;
        let walks = if is_change { self.walks_begin() } else { Vec::new() };
        Ok(Appended { walks, payload: change.frame.payload, position: None })
    }

    /// Something was said: returns the lanes whose walks are to be started for it.
    fn walks_begin(&mut self) -> Vec<usize> {
        let mut walks = Vec::new();
        for (at, lane) in self.lanes.iter_mut().enumerate().filter(|(_, lane)| !lane.walking) {
            if lane.members() > 0 {
                lane.walking = true;
                walks.push(at);
            } else {
                lane.offered = self.log.end();
            }
        }
        if self.len == 0 {
            self.trim();
        }
        walks
    }

    /// Whether the walk of `lane` has no socket to write to, and few members: then it is not worth a task.
    pub(super) fn is_brief(&self, lane: usize) -> bool {
        self.lanes.get(lane).is_some_and(|lane| !lane.has_direct() && lane.members() <= BRIEF)
    }

    /// The next step of a circle of `lane`: what is to be offered, and to whom. Says whether there is
    /// another step to come.
    pub(super) fn step(
        &self,
        lane: usize,
        circle: &mut Circle,
        view: &mut View,
        seats: &mut Vec<Arc<T>>,
    ) -> bool {
        let Some(lane) = self.lanes.get(lane) else { return false };
        self.log.view(lane.offered, view);
        circle.first.get_or_insert(view.end());
        // Who was not visited for a while is in no cache. Looks at many are waited for together.
        lane.some(circle.next, circle.step).for_each(|slot| slot.subscriber.touch());
        let slots = lane.some(circle.next, circle.step).filter(|slot| slot.is_member);
        seats.extend(slots.map(|slot| Arc::clone(&slot.subscriber)));
        circle.next += circle.step;
        circle.next < lane.len()
    }

    /// A circle of `lane` is over; says whether the walk is, too: if nothing was published since its
    /// first step.
    pub(super) fn circle_ends(&mut self, at: usize, circle: &Circle) -> bool {
        let end = self.log.end();
        let over = self.lanes.get_mut(at).is_none_or(|lane| {
            lane.offered = circle.first.unwrap_or(end);
            lane.crowded = circle.crowded;
            let over = lane.offered == end;
            if over {
                lane.stands_still(|moved, slot| moved.index().set(at, slot));
            }
            over
        });
        // Who said the last of it is told, in whichever of its rooms it speaks next.
        let crowded = self.lanes.iter().any(|lane| lane.crowded);
        self.pace.slow_down(crowded);
        if let Some(user) = self.speakers.as_ref().filter(|_| crowded) {
            user.lock().slow_down(true);
        }
        self.trim();
        over
    }

    /// Forgets what of the log nobody needs.
    pub(super) fn trim(&mut self) {
        self.log.trim(self.offered());
    }

    /// Forgets what of the log was offered to everybody; returns who has not read it.
    pub(super) fn cut(&mut self) -> Vec<Arc<T>>
    where
        T: crate::outbound::Seat,
    {
        self.log.cut(self.offered());
        let lost = |it: &&Arc<T>| self.log.has_lost(it.cursor().from());
        self.iter().filter(lost).cloned().collect()
    }

    /// How far each lane was offered the log, and whether it is walked.
    #[cfg(test)]
    pub(super) fn walks(&self) -> Vec<(u64, bool)> {
        self.lanes.iter().map(|lane| (lane.offered, lane.walking)).collect()
    }

    #[cfg(test)]
    pub(super) fn is_walked(&self) -> bool {
        self.lanes.iter().all(|lane| !lane.walking)
    }

    /// Everybody was offered what stands before.
    fn offered(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.offered).min().unwrap_or(self.log.end())
    }
}

impl<T, L> Removed<T, L> {
    /// Whether it was a member, and not a join under way.
    pub(super) fn is_member(&self) -> bool {
        self.slot.is_member
    }

    /// Whose it was.
    pub(super) fn subscriber(&self) -> &Arc<T> {
        &self.slot.subscriber
    }

    /// Gives everything back. Returns whose it was if its end is to be told of.
    pub(super) fn give_back(self) -> Option<Arc<T>> {
        let subscriber = Arc::clone(&self.slot.subscriber);
        drop(self.slot);
        Some(subscriber).filter(|_| self.announced)
    }
}

impl<T, L> Slot<T, L> {
    fn is_of(&self, subscriber: &T) -> bool {
        std::ptr::eq(&*self.subscriber, subscriber)
    }
}

/// Members that are visited before others may run: a quarter of a millisecond of writes.
pub(super) const STEP: usize = 64;

/// Members whose drivers are told in the publisher's own turn, where no walk can write to them.
const BRIEF: usize = 64;
