//! Know in which rooms a connection is behind, and by how much.
//!
//! Only seats that are behind have an entry. One is *listed* while it waits for its turn with the driver;
//! while the driver writes for it, it is not, so that whatever is published meanwhile lists it again.

use std::{collections::VecDeque, sync::Arc};

use slab::Slab;

use crate::{
    capacity,
    outbound::{
        dropped::Dropped,
        seat::{Cursor, Hold, Seat},
        slow_member::SlowMember,
    },
};

/// The seats of one connection that are behind.
#[derive(Default)]
pub(super) struct Lags {
    entries: Slab<Lag>,
    /// Those that are listed, first come first served.
    listed: VecDeque<usize>,
    /// What all of them lack.
    bytes: usize,
}

struct Lag {
    seat: Arc<dyn Seat>,
    is_listed: bool,
    /// The driver has it in its hands.
    is_taken: bool,
    /// Where the log ended when somebody last came by.
    counted: u64,
    /// What it lacks of that: bytes, which are counted in the sum, or versions, which are not.
    part: usize,
    /// Keeps the log from where the seat stands on. It may be further back than that, never ahead.
    hold: Option<Hold>,
}

/// A seat in the driver's hands.
pub(crate) struct Turn {
    pub(crate) seat: Arc<dyn Seat>,
    key: usize,
    pub(crate) outcome: Outcome,
    /// In a keyed room: what its frames cover that were read and are not begun.
    pub(crate) parts: VecDeque<(u64, u64)>,
    released: bool,
}

/// What became of a seat's turn.
#[derive(Debug, Default)]
pub(crate) enum Outcome {
    /// It did not come to it.
    #[default]
    Untouched,
    /// There is nothing to hear for it any more.
    Gone,
    /// What it lacks of a log that ends at `end` is gone.
    Lost { end: u64 },
    /// It is to be told that it does not hear something, and cannot be.
    Untold,
    /// It was read of a log that ends at `end`, which `behind` keeps from there on where it stands now, if
    /// all that was read went out.
    Read { end: u64, behind: Option<Hold>, all: bool },
}

impl Turn {
    /// Not all of what was read went out.
    pub(crate) fn stays(&mut self) {
        if let Outcome::Read { all, .. } = &mut self.outcome {
            *all = false;
        }
    }

    /// Begun are so many frames more, which are `bytes` long. By who has the pen.
    pub(crate) fn begun(&mut self, frames: u64, bytes: usize) {
        let cursor = self.seat.cursor();
        if !cursor.is_keyed() {
            return cursor.advance(bytes);
        }
        let frames = usize::try_from(frames).unwrap_or(usize::MAX).min(self.parts.len());
        self.parts.drain(..frames).for_each(|(start, end)| cursor.heard(start, end));
        // What stands behind it and was heard before.
        let _ = cursor.span();
    }

    /// Whether its room may be able to cut its log.
    pub(super) fn has_released(&self) -> bool {
        self.released
    }
}

impl Lags {
    /// Bytes that the connection lacks of all of its rooms.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether no seat waits for the driver.
    pub(super) fn nothing_is_listed(&self) -> bool {
        self.listed.is_empty()
    }

    /// The seat of `cursor` is behind a log that ends at `end`, kept by `hold`; says whether it was not listed
    /// before.
    pub(super) fn list(
        &mut self,
        cursor: &Cursor,
        seat: impl FnOnce() -> Arc<dyn Seat>,
        end: u64,
        hold: impl FnOnce(u64) -> Option<Hold>,
    ) -> bool {
        let from = cursor.from();
        let key = cursor.entry().unwrap_or_else(|| {
            let (is_listed, is_taken, counted) = (false, false, from);
            self.entries.insert(Lag {
                seat: seat(),
                is_listed,
                is_taken,
                counted,
                part: 0,
                hold: None,
            })
        });
        cursor.set_entry(Some(key));
        let Some(lag) = self.entries.get_mut(key) else { return false };
        if lag.hold.is_none() {
            // Never replaced here: the driver may be at work further back.
            lag.hold = hold(from);
        }
        lag.counted = lag.counted.max(end);
        count(&mut self.bytes, lag);
        if cursor.waits() || std::mem::replace(&mut lag.is_listed, true) {
            return false;
        }
        self.listed.push_back(key);
        true
    }

    /// The seat of which the most is lacked, if that is no less than `own`, hears nothing of it any more, if
    /// its room goes on without. Says whether there is one.
    pub(super) fn leap_largest(&mut self, own: usize, dropped: &mut Dropped) -> bool {
        let largest = self.entries.iter_mut().max_by_key(|(_, lag)| lag.bytes());
        let Some((_, lag)) = largest.filter(|(_, lag)| lag.bytes() >= own.max(1)) else {
            return false;
        };
        let leaps = lag.seat.when_slow() == SlowMember::Skip;
        if leaps && leap(&mut self.bytes, lag) {
            dropped.release(vec![Arc::clone(&lag.seat)]);
        }
        leaps
    }

    /// `seat` has waited, and does not any more.
    pub(super) fn begin(&mut self, seat: &dyn Seat) {
        let Some(key) = seat.cursor().entry() else { return };
        let Some(lag) = self.entries.get_mut(key) else { return };
        count(&mut self.bytes, lag);
        if lag.part == 0 && !lag.leaps() {
            self.remove(key);
        } else if !std::mem::replace(&mut lag.is_listed, true) {
            self.listed.push_back(key);
        }
    }

    /// What `seat` lacks is gone, and it goes on without.
    pub(super) fn leap(&mut self, seat: &dyn Seat) {
        if let Some(lag) = seat.cursor().entry().and_then(|key| self.entries.get_mut(key)) {
            leap(&mut self.bytes, lag);
        }
    }

    /// Gives the driver up to `most` seats that are listed.
    pub(super) fn take(&mut self, most: usize, into: &mut Vec<Turn>) {
        while into.len() < most
            && let Some(key) = self.listed.pop_front()
        {
            if let Some(lag) = self.entries.get_mut(key) {
                (lag.is_listed, lag.is_taken) = (false, true);
                let seat = Arc::clone(&lag.seat);
                let (outcome, parts) = (Outcome::Untouched, VecDeque::new());
                into.push(Turn { seat, key, outcome, parts, released: false });
            }
        }
    }

    /// Takes back what [`take`](Self::take) gave.
    pub(super) fn settle(&mut self, turn: &mut Turn) {
        let Turn { seat, key, outcome, released, .. } = turn;
        let Some(lag) = self.entries.get_mut(*key).filter(|it| Arc::ptr_eq(&it.seat, seat)) else {
            // Forgotten meanwhile. What the turn itself kept, its room could not cut then.
            if let Outcome::Read { behind: Some(hold), .. } = std::mem::take(outcome) {
                *released = hold.release();
            }
            return;
        };
        lag.is_taken = false;
        match std::mem::take(outcome) {
            Outcome::Untouched => {
                *released = lag.spares() && lag.hold.take().is_some_and(Hold::release);
                if !std::mem::replace(&mut lag.is_listed, true) {
                    self.listed.push_front(*key);
                }
            }
            Outcome::Lost { end } if lag.seat.when_slow() == SlowMember::Skip => {
                lag.counted = lag.counted.max(end);
                *released = leap(&mut self.bytes, lag);
                if !std::mem::replace(&mut lag.is_listed, true) {
                    self.listed.push_back(*key);
                }
            }
            Outcome::Gone | Outcome::Lost { .. } | Outcome::Untold => {
                *released = lag.hold.take().is_some_and(Hold::release);
                self.remove(*key);
            }
            Outcome::Read { end, behind, all } => {
                lag.counted = lag.counted.max(end);
                count(&mut self.bytes, lag);
                let leaps = lag.leaps();
                // Listed again meanwhile, it lacks what was not there when it was read: the old hold, which is
                // further back, keeps that as well. So it is where it goes on, if it leaps.
                let spares = leaps && lag.part == 0;
                if spares || !leaps && all && (behind.is_some() || lag.part == 0) {
                    let (behind, spare) =
                        if lag.part > 0 { (behind, None) } else { (None, behind) };
                    let before = std::mem::replace(&mut lag.hold, behind);
                    let spare = spare.is_some_and(Hold::release);
                    *released = before.is_some_and(Hold::release) || spare;
                }
                let lacks = lag.part > 0 || leaps;
                if lacks && !std::mem::replace(&mut lag.is_listed, true) {
                    // Behind the others: none of a hundred rooms waits for one that talks much.
                    self.listed.push_back(*key);
                } else if !lacks && !lag.is_listed {
                    self.remove(*key);
                }
            }
        }
    }

    /// `seat` hears nothing any more; says whether it was behind.
    pub(super) fn forget(&mut self, seat: &dyn Seat) -> bool {
        let key = seat.cursor().entry();
        key.is_some_and(|key| {
            self.remove(key);
            true
        })
    }

    /// Forgets all of them; returns whose they were.
    pub(super) fn clear(&mut self) -> Vec<Arc<dyn Seat>> {
        let lags = std::mem::take(self);
        let seats = lags.entries.into_iter().map(|(_, lag)| lag.seat);
        seats.inspect(|seat| seat.cursor().set_entry(None)).collect()
    }

    /// All that decides what becomes of them.
    #[cfg(test)]
    pub(super) fn state(
        &self,
        held_from: impl Fn(&Hold) -> Option<u64>,
        into: &mut impl std::hash::Hasher,
    ) {
        use std::hash::Hash;
        for (key, it) in &self.entries {
            let hold = it.hold.as_ref().map(&held_from);
            let Lag { is_listed, is_taken, counted, part, .. } = it;
            let cursor = it.seat.cursor();
            (key, cursor.position(), cursor.leaps_to(), counted, part, hold).hash(into);
            (is_listed, is_taken).hash(into);
        }
        (&self.listed, self.bytes).hash(into);
    }

    fn remove(&mut self, key: usize) {
        let Some(lag) = self.entries.try_remove(key) else { return };
        if lag.is_listed {
            // The key may be another's next.
            self.listed.retain(|it| *it != key);
        }
        self.bytes = self.bytes.saturating_sub(lag.bytes());
        lag.seat.cursor().set_entry(None);
        if self.entries.is_empty() && self.entries.capacity() > KEPT {
            *self = Self::default();
        } else if let Some(less) =
            capacity::smaller(self.listed.len(), self.listed.capacity(), KEPT)
        {
            self.listed.shrink_to(less);
        }
    }
}

impl Lag {
    /// What of it counts: what the keys of a room have is there whoever lacks it.
    fn bytes(&self) -> usize {
        if self.seat.cursor().is_keyed() { 0 } else { self.part }
    }

    fn leaps(&self) -> bool {
        self.seat.cursor().leaps_to().is_some()
    }

    /// Whether it needs nothing of the log: it goes on behind all that there is.
    fn spares(&self) -> bool {
        self.part == 0 && self.leaps()
    }
}

/// It hears nothing of what it lacks; says whether its room may be able to cut its log.
fn leap(sum: &mut usize, lag: &mut Lag) -> bool {
    lag.seat.cursor().leap(lag.counted);
    count(sum, lag);
    // Whoever is writing for it may come to stand behind where it leaps to, and then does not.
    !lag.is_taken && lag.hold.take().is_some_and(Hold::release)
}

/// Sets right what of `lag` is counted in `sum`.
fn count(sum: &mut usize, lag: &mut Lag) {
    let lacks = lag.counted.saturating_sub(lag.seat.cursor().from());
    let before = lag.bytes();
    lag.part = usize::try_from(lacks).unwrap_or(usize::MAX);
    *sum = sum.saturating_sub(before).saturating_add(lag.bytes());
}

/// Rooms: a connection that is behind in more gives the room for them back.
const KEPT: usize = 4;

#[cfg(test)]
#[path = "tests/lags.rs"]
mod tests;
