//! What a connection's write side knows of a room that it hears.
//!
//! A room is a log, and a member is a position in it. Whoever has the connection's pen moves the position,
//! and nobody else; the outlet's lock orders those who have it one after the other.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;

/// A connection's place in a room.
pub(crate) trait Seat: Send + Sync {
    /// How far it has heard the room.
    fn cursor(&self) -> &Cursor;

    /// Whether nothing of the room is to be heard here any more.
    fn is_gone(&self) -> bool;

    /// Puts whole frames from the position on behind what is in `into`: `most` bytes, or one frame; or says
    /// that nothing is to be heard any more. The room's lock is taken, and both are decided under it:
    /// what is said after a removal is not read.
    fn read(&self, into: &mut Vec<u8>, most: usize) -> Option<Lacks>;

    /// What was held is held no more: the room may cut its log. The room's lock is taken.
    fn released(&self);
}

/// How far a seat has heard its room.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// Position of the first byte that was not begun.
    position: AtomicU64,
    /// Where the log ends for it: when it has left in good order there is an end.
    until: AtomicU64,
    /// What it does not hear, because it said that itself: where each piece begins and ends. Boxed, because
    /// few seats have any.
    skips: Mutex<Ranges>,
    has_skips: AtomicBool,
    /// One more than its key among the lags of its connection; zero without one. Under the outlet's lock.
    entry: AtomicUsize,
}

type Ranges = Option<Box<VecDeque<(u64, u64)>>>;

/// What a log had for a seat.
#[derive(Debug, Default)]
pub(crate) struct Lacks {
    /// A frame too large to be copied, behind what was.
    pub(crate) large: Option<Bytes>,
    /// Where the log ends, for this seat.
    pub(crate) end: u64,
    /// The position has fallen off the log: what it lacks is gone.
    pub(crate) is_lost: bool,
    /// Keeps the log from the end of what was copied on, if that is not all.
    pub(crate) behind: Option<Hold>,
}

/// Keeps a part of a log, and all behind it, from being cut while nobody needs the memory more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hold(Arc<()>);

impl Cursor {
    /// A seat that has heard all before `position`.
    pub(crate) fn new(position: u64) -> Self {
        Self {
            position: AtomicU64::new(position),
            until: AtomicU64::new(u64::MAX),
            skips: Mutex::default(),
            has_skips: AtomicBool::new(false),
            entry: AtomicUsize::new(0),
        }
    }

    pub(crate) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Only by who has the pen, or before anybody sees the seat.
    pub(crate) fn set_position(&self, position: u64) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// Begun, by who has the pen, are so many bytes more.
    pub(crate) fn advance(&self, bytes: usize) {
        self.set_position(self.position().saturating_add(bytes as u64));
    }

    /// What stands between `start` and `end` is not heard. Under the room's lock, before anybody else sees
    /// it in the log.
    pub(crate) fn skip(&self, start: u64, end: u64) {
        let mut skips = self.skips();
        let skips = skips.get_or_insert_default();
        match skips.back_mut().filter(|(_, last)| *last == start) {
            Some((_, last)) => *last = end,
            None => skips.push_back((start, end)),
        }
        self.has_skips.store(true, Ordering::Release);
    }

    /// Where the next bytes stand that are to be heard, and where they end at the latest. By who has the pen,
    /// who moves the position over what is not to be heard.
    pub(crate) fn span(&self) -> (u64, u64) {
        if !self.has_skips.load(Ordering::Acquire) {
            return (self.position(), u64::MAX);
        }
        let mut skips = self.skips();
        let Some(ranges) = &mut *skips else { return (self.position(), u64::MAX) };
        while let Some((start, end)) = ranges.front().copied()
            && start <= self.position()
        {
            self.set_position(self.position().max(end));
            ranges.pop_front();
        }
        let next = ranges.front().map_or(u64::MAX, |(start, _)| *start);
        if ranges.is_empty() {
            *skips = None;
            self.has_skips.store(false, Ordering::Release);
        }
        (self.position(), next)
    }

    /// Held to add or take a range. No other lock is taken under it.
    fn skips(&self) -> MutexGuard<'_, Ranges> {
        self.skips.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn until(&self) -> u64 {
        self.until.load(Ordering::Relaxed)
    }

    /// Nothing from `end` on is heard. Under the room's lock.
    pub(crate) fn ends_at(&self, end: u64) {
        self.until.store(end, Ordering::Relaxed);
    }

    pub(super) fn entry(&self) -> Option<usize> {
        self.entry.load(Ordering::Relaxed).checked_sub(1)
    }

    pub(super) fn set_entry(&self, key: Option<usize>) {
        self.entry.store(key.map_or(0, |key| key + 1), Ordering::Relaxed);
    }
}

impl Hold {
    /// Whether nobody else has it.
    pub(crate) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Gives it back; says whether only the log has it now. Looked at afterwards: of two who give it back at
    /// once, one sees that it was the last.
    pub(super) fn release(self) -> bool {
        let of_log = Arc::downgrade(&self.0);
        drop(self);
        of_log.strong_count() <= 1
    }

    #[cfg(test)]
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
