//! Hold those who are in one room, closely packed.
//!
//! What is published goes to all of them, so that an empty slot would be looked at with every message.
//! Whoever leaves is replaced by the last, which is told its new index. When most have gone, their slots
//! go too. What stands in a slot is the room's business: here it is something that knows its index.

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
    },
};

/// What stands in a slot.
pub(super) trait Indexed {
    /// Where it is.
    fn index(&self) -> &SlotIndex;

    /// It is gone from here on; says whether anybody was told that it came. Called under the room's
    /// lock.
    fn lose(&self) -> bool;
}

/// The slots of a room: those of members, and those of joins under way.
pub(super) struct Members<T, L> {
    slots: Vec<Slot<T, L>>,
    /// How many slots have a queue.
    len: usize,
    /// Of those.
    bounds: Bounds,
    pace: Pace,
}

struct Slot<T, L> {
    /// `None` while the policy is being asked.
    queue: Option<OutboundSender>,
    subscriber: Arc<T>,
    /// Keeps the room in the directory.
    _lease: L,
}

/// What was taken out of a room, to be finished with when its lock is free again.
pub(super) struct Removed<T, L> {
    slot: Slot<T, L>,
    announced: bool,
}

/// Which slot something stands in. Read and written under the room's lock only.
#[derive(Debug, Default)]
pub(super) struct SlotIndex(AtomicUsize);

impl<T: Indexed, L> Members<T, L> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), len: 0, bounds: Bounds::new(), pace: Pace::default() }
    }

    /// How many members there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The members.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.slots.iter().filter(|slot| slot.is_member()).map(|slot| &slot.subscriber)
    }

    /// Gives `subscriber` a slot; it is no member yet.
    pub(super) fn enter(&mut self, subscriber: Arc<T>, lease: L) {
        subscriber.index().set(self.slots.len());
        self.slots.push(Slot { queue: None, subscriber, _lease: lease });
    }

    /// Makes `subscriber` a member, with the queue that it hears the room by; returns whether it had
    /// a slot and was none.
    pub(super) fn admit(&mut self, subscriber: &T, queue: OutboundSender) -> bool {
        let slot = self.slots.get_mut(subscriber.index().get());
        let Some(slot) = slot.filter(|it| it.is_of(subscriber) && it.queue.is_none()) else {
            return false;
        };
        self.bounds.add(queue.limits());
        self.len += 1;
        slot.queue = Some(queue);
        true
    }

    /// Takes the slot of `subscriber` out, if it has one. It is gone then.
    pub(super) fn remove(&mut self, subscriber: &T) -> Option<Removed<T, L>> {
        let at = subscriber.index().get();
        self.slots.get(at).filter(|it| it.is_of(subscriber))?;
        Some(self.take(at))
    }

    /// Takes every slot out for which `is` holds.
    pub(super) fn remove_all(&mut self, is: impl Fn(&T) -> bool) -> Vec<Removed<T, L>> {
        let mut removed = Vec::new();
        // From the end: who comes to stand in a free slot has been looked at.
        for at in (0..self.slots.len()).rev() {
            if self.slots.get(at).is_some_and(|it| is(&it.subscriber)) {
                removed.push(self.take(at));
            }
        }
        removed
    }

    /// Takes out the slot at `at`, which is there.
    fn take(&mut self, at: usize) -> Removed<T, L> {
        let slot = self.slots.swap_remove(at);
        if let Some(moved) = self.slots.get(at) {
            moved.subscriber.index().set(at);
        }
        if let Some(queue) = &slot.queue {
            self.len -= 1;
            self.bounds.remove(queue.limits());
        }
        if let Some(less) = capacity::smaller(self.slots.len(), self.slots.capacity(), KEPT) {
            self.slots.shrink_to(less);
        }
        let announced = slot.subscriber.lose();
        Removed { slot, announced }
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
        let crowded =
            |slot: &Slot<T, L>| slot.queue.as_ref().is_some_and(OutboundSender::is_crowded);
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

impl<T, L> Removed<T, L> {
    /// Whether it was a member, and not a join under way.
    pub(super) fn is_member(&self) -> bool {
        self.slot.is_member()
    }

    /// Gives everything back. Returns whose it was if its end is to be told of.
    pub(super) fn give_back(self) -> Option<Arc<T>> {
        let subscriber = Arc::clone(&self.slot.subscriber);
        drop(self.slot);
        Some(subscriber).filter(|_| self.announced)
    }
}

impl<T, L> Slot<T, L> {
    fn is_member(&self) -> bool {
        self.queue.is_some()
    }

    fn is_of(&self, subscriber: &T) -> bool {
        std::ptr::eq(&*self.subscriber, subscriber)
    }
}

impl SlotIndex {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, at: usize) {
        self.0.store(at, Ordering::Relaxed);
    }
}

/// Slots: about as much as a vector starts with.
const KEPT: usize = 4;
