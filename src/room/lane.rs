//! Hold some of a room's members so that a walk can go round them: while one does, no slot moves.
//!
//! When none does, slots are packed: whoever leaves is replaced by the last, which is told its new index,
//! and when most have gone, their slots go too. During a walk a slot that was left stays empty.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::{capacity, room::members::Indexed};

/// Up to [`LANE`] slots, and how far their members were offered the log.
pub(super) struct Lane<T, L> {
    slots: Vec<Option<Slot<T, L>>>,
    /// Slots that are empty until the walk is over.
    empty: usize,
    /// Members whose sockets a walk can write to.
    direct: usize,
    members: usize,
    /// A walk goes round.
    pub(super) walking: bool,
    /// Every member was offered what stands before this position of the log. A lane that is not walked has
    /// been offered all of it.
    pub(super) offered: u64,
    /// The last walk has met somebody who is crowded.
    pub(super) crowded: bool,
}

pub(super) struct Slot<T, L> {
    pub(super) subscriber: Arc<T>,
    /// Not while the policy is being asked.
    pub(super) is_member: bool,
    is_direct: bool,
    /// Keeps the room in the directory.
    pub(super) _lease: L,
}

/// Which slot something stands in. Read and written under the room's lock only.
#[derive(Debug, Default)]
pub(super) struct SlotIndex(AtomicUsize);

impl<T: Indexed, L> Lane<T, L> {
    pub(super) fn new(offered: u64) -> Self {
        Self {
            slots: Vec::new(),
            empty: 0,
            direct: 0,
            members: 0,
            walking: false,
            offered,
            crowded: false,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.slots.len() - self.empty >= LANE
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Members.
    pub(super) fn members(&self) -> usize {
        self.members
    }

    /// Whether a walk could write to anybody's socket.
    pub(super) fn has_direct(&self) -> bool {
        self.direct > 0
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot<T, L>> {
        self.slots.iter().flatten()
    }

    /// The next `most` slots from the one at `at` on.
    pub(super) fn some(&self, at: usize, most: usize) -> impl Iterator<Item = &Slot<T, L>> {
        self.slots.iter().skip(at).take(most).flatten()
    }

    pub(super) fn get(&self, at: usize) -> Option<&Slot<T, L>> {
        self.slots.get(at)?.as_ref()
    }

    /// Gives `subscriber` a slot; it is no member yet.
    pub(super) fn enter(&mut self, subscriber: Arc<T>, lease: L) -> usize {
        let slot = Some(Slot { subscriber, is_member: false, is_direct: false, _lease: lease });
        // A room that always talks is always walked: it is not to grow with each who comes and goes.
        if self.empty > 0
            && let Some(at) = self.slots.iter().position(Option::is_none)
            && let Some(place) = self.slots.get_mut(at)
        {
            *place = slot;
            self.empty -= 1;
            return at;
        }
        if self.slots.is_empty() {
            self.slots.reserve_exact(1);
        }
        self.slots.push(slot);
        self.slots.len() - 1
    }

    /// Makes a member of whoever stands at `at`.
    pub(super) fn admit(&mut self, at: usize, is_direct: bool) {
        if let Some(Some(slot)) = self.slots.get_mut(at) {
            (slot.is_member, slot.is_direct) = (true, is_direct);
            self.members += 1;
            self.direct += usize::from(is_direct);
        }
    }

    /// Takes out the slot at `at`; `tell` is told who stands there now.
    pub(super) fn take(&mut self, at: usize, tell: impl Fn(&T, usize)) -> Option<Slot<T, L>> {
        let slot = if self.walking {
            let slot = self.slots.get_mut(at)?.take();
            self.empty += usize::from(slot.is_some());
            slot
        } else {
            self.get(at)?;
            let slot = self.slots.swap_remove(at);
            if let Some(moved) = self.get(at) {
                tell(&moved.subscriber, at);
            }
            self.shrink();
            slot
        };
        if let Some(slot) = slot.as_ref().filter(|it| it.is_member) {
            self.members -= 1;
            self.direct -= usize::from(slot.is_direct);
        }
        slot
    }

    /// The walk is over: the slots are packed again.
    pub(super) fn stands_still(&mut self, tell: impl Fn(&T, usize)) {
        self.walking = false;
        if std::mem::take(&mut self.empty) == 0 {
            return;
        }
        self.slots.retain(Option::is_some);
        for (at, slot) in self.slots.iter().flatten().enumerate() {
            tell(&slot.subscriber, at);
        }
        self.shrink();
    }

    fn shrink(&mut self) {
        if let Some(less) = capacity::smaller(self.slots.len(), self.slots.capacity(), KEPT) {
            self.slots.shrink_to(less);
        }
    }
}

impl SlotIndex {
    /// Which lane, and which slot of it.
    pub(super) fn get(&self) -> (usize, usize) {
        let at = self.0.load(Ordering::Relaxed);
        (at / LANE, at % LANE)
    }

    pub(super) fn set(&self, lane: usize, slot: usize) {
        self.0.store(lane * LANE + slot, Ordering::Relaxed);
    }
}

/// Slots of a lane: a large room has several, and so several cores.
pub(super) const LANE: usize = 512;

/// Slots: about as much as a vector starts with.
const KEPT: usize = 4;
