//! Hold those who are in one room, closely packed.
//!
//! What is published goes to all of them, so that an empty place would be looked at with every message.
//! Whoever leaves is replaced by the last, which is told its new place: a seat knows where it is. When
//! most have gone, their places go too.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::time::Instant;

use crate::{
    capacity,
    message::Message,
    outbound::{Dropped, ENTRY_OVERHEAD, OutboundSender},
    room::{
        bounds::Bounds,
        outcome::Undelivered,
        pace::{Pace, UsersPace},
        registry::Claim,
        seat::Seat,
    },
};

/// The slots of a room: those of members, and those of joins under way.
pub(super) struct Members<R> {
    slots: Vec<Slot<R>>,
    /// How many slots have a queue.
    seated: usize,
    /// Of those.
    bounds: Bounds,
    pace: Pace,
}

struct Slot<R> {
    /// `None` while the policy is being asked.
    queue: Option<OutboundSender>,
    seat: Arc<Seat<R>>,
    /// Keeps the room in the directory.
    _claim: Claim<R>,
}

/// What was taken out of a room, to be finished with when its lock is free again.
pub(super) struct Vacated<R> {
    slot: Slot<R>,
    announced: bool,
}

/// Where a seat's slot is. Read and written under the room's lock only.
#[derive(Debug, Default)]
pub(super) struct Place(AtomicUsize);

impl<R> Members<R> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), seated: 0, bounds: Bounds::new(), pace: Pace::default() }
    }

    /// How many members there are.
    pub(super) fn seated(&self) -> usize {
        self.seated
    }

    /// The members' seats.
    pub(super) fn seats(&self) -> impl Iterator<Item = &Arc<Seat<R>>> {
        self.slots.iter().filter(|slot| slot.is_member()).map(|slot| &slot.seat)
    }

    /// A slot for `seat`, which is no member yet.
    pub(super) fn enter(&mut self, seat: Arc<Seat<R>>, claim: Claim<R>) {
        seat.place.set(self.slots.len());
        self.slots.push(Slot { queue: None, seat, _claim: claim });
    }

    /// Makes the seat in a slot a member, with the queue that it hears the room by.
    pub(super) fn seat(&mut self, seat: &Seat<R>, queue: OutboundSender) {
        let slot = self.slots.get_mut(seat.place.get());
        if let Some(slot) = slot.filter(|it| it.is_of(seat) && it.queue.is_none()) {
            self.bounds.add(queue.limits());
            self.seated += 1;
            slot.queue = Some(queue);
            seat.room().directory().seated();
        }
    }

    /// Takes the seat's slot out, if it has one. The seat is gone then.
    pub(super) fn vacate(&mut self, seat: &Seat<R>) -> Option<Vacated<R>> {
        let at = seat.place.get();
        self.slots.get(at).filter(|it| it.is_of(seat))?;
        Some(self.take(at))
    }

    /// Takes every slot out for which `is` holds.
    pub(super) fn vacate_all(&mut self, is: impl Fn(&Seat<R>) -> bool) -> Vec<Vacated<R>> {
        let mut vacated = Vec::new();
        // From the end: who comes to stand in a free place has been looked at.
        for at in (0..self.slots.len()).rev() {
            if self.slots.get(at).is_some_and(|it| is(&it.seat)) {
                vacated.push(self.take(at));
            }
        }
        vacated
    }

    /// Takes out the slot at `at`, which is there.
    fn take(&mut self, at: usize) -> Vacated<R> {
        let slot = self.slots.swap_remove(at);
        if let Some(moved) = self.slots.get(at) {
            moved.seat.place.set(at);
        }
        if let Some(queue) = &slot.queue {
            self.seated -= 1;
            self.bounds.remove(queue.limits());
            slot.seat.room().directory().vacated();
        }
        if let Some(less) = capacity::smaller(self.slots.len(), self.slots.capacity(), KEPT) {
            self.slots.shrink_to(less);
        }
        let announced = slot.seat.lose();
        Vacated { slot, announced }
    }

    /// Whether every member can take `message`: found here, and not behind their queues.
    pub(super) fn fits(&self, message: &Message) -> Result<(), Undelivered> {
        let (size, limit) = (message.len(), self.bounds.message_size());
        if size > limit { Err(Undelivered::TooLarge { size, limit }) } else { Ok(()) }
    }

    /// Whether the next message may be published, as far as the room and `user` were slowed down. The
    /// members are looked at if `look`, and otherwise what the last message found is believed.
    pub(super) fn may_publish(
        &self,
        user: Option<&UsersPace>,
        look: bool,
        now: Instant,
    ) -> Result<(), Undelivered> {
        let users = user.and_then(|user| user.lock().due(now));
        let Some(due) = self.pace.due(now).max(users) else {
            return Ok(());
        };
        let crowded = |slot: &Slot<R>| slot.queue.as_ref().is_some_and(OutboundSender::is_crowded);
        if look && !self.slots.iter().any(crowded) {
            return Ok(());
        }
        Err(Undelivered::NotBefore(due))
    }

    /// Queues `message` for every member; returns how many queues took it. If that leaves somebody
    /// crowded, the room and `user` are slowed down.
    pub(super) fn deliver(
        &mut self,
        message: &Message,
        user: Option<&UsersPace>,
        now: Instant,
        dropped: &mut Dropped,
    ) -> usize {
        let mut delivered = 0;
        let mut crowded = false;
        for slot in &self.slots {
            // A queue that refuses belongs to a connection that its driver is about to close.
            if let Some(queue) = &slot.queue
                && let Ok(behind) = queue.push_own(message.clone(), dropped)
            {
                delivered += 1;
                crowded |= behind;
            }
        }
        if crowded {
            let cost = (message.len() + ENTRY_OVERHEAD).max(self.bounds.share());
            self.pace.slow_down(cost, now);
            if let Some(user) = user {
                user.lock().slow_down(cost, now);
            }
        } else {
            self.pace.go_on();
        }
        delivered
    }
}

impl<R> Vacated<R> {
    /// Whether it was a member, and not a join under way.
    pub(super) fn is_member(&self) -> bool {
        self.slot.is_member()
    }

    /// Gives everything back, and then tells of it.
    pub(super) fn finish(self) {
        if let Some(seat) = self.give_back() {
            seat.record_left();
        }
    }

    /// Gives everything back. Returns the seat if it is to be told of.
    pub(super) fn give_back(self) -> Option<Arc<Seat<R>>> {
        let seat = Arc::clone(&self.slot.seat);
        drop(self.slot);
        Some(seat).filter(|_| self.announced)
    }
}

impl<R> Slot<R> {
    fn is_member(&self) -> bool {
        self.queue.is_some()
    }

    fn is_of(&self, seat: &Seat<R>) -> bool {
        std::ptr::eq(&*self.seat, seat)
    }
}

impl Place {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, at: usize) {
        self.0.store(at, Ordering::Relaxed);
    }
}

/// Slots: about as much as a vector starts with.
const KEPT: usize = 4;
