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

use crate::{message::Message, outbound::slow_member::SlowMember};

/// A connection's place in a room.
pub(crate) trait Seat: Send + Sync {
    /// How far it has heard the room.
    fn cursor(&self) -> &Cursor;

    /// Whether nothing of the room is to be heard here any more.
    fn is_gone(&self) -> bool;

    /// What becomes of it if it is what its connection is too far behind in.
    fn when_slow(&self) -> SlowMember;

    /// Puts whole frames from the position on behind what is in `into`: `most` bytes, or one frame; or says
    /// that nothing is to be heard any more. The room's lock is taken, and both are decided under it:
    /// what is said after a removal is not read.
    fn read(&self, into: &mut Vec<u8>, most: usize) -> Option<Lacks>;

    /// Where it goes on that is to [leap](Cursor::leap), and what it is told of that; nothing if it cannot be
    /// told. The room's lock is taken, and code of the application's runs without it.
    fn gap(&self) -> Option<Gap>;

    /// It was told so, and goes on at `to`. By who has the pen; code of the application's runs.
    fn told(&self, to: u64);

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
    /// What it does not hear. Boxed, because few seats have any.
    skips: Mutex<Option<Box<Skips>>>,
    has_skips: AtomicBool,
    /// One more than its key among the lags of its connection; zero without one. Under the outlet's lock.
    entry: AtomicUsize,
    /// In a keyed room the version at which it joined; [`LOG`] in others.
    born: AtomicU64,
}

/// What a seat does not hear of its room.
#[derive(Debug, Default)]
struct Skips {
    /// What it said itself: where each piece begins and ends.
    own: VecDeque<(u64, u64)>,
    /// Where it goes on, once it was told that it does not hear what stands before.
    leap: u64,
    /// What stands before was said before it came.
    replay: u64,
    /// It hears nothing yet.
    waits: bool,
}

/// A hole in what a seat hears.
#[derive(Debug)]
pub(crate) struct Gap {
    /// Where it ends.
    pub(crate) to: u64,
    pub(crate) message: Message,
}

/// What a log had for a seat.
#[derive(Debug, Default)]
pub(crate) struct Lacks {
    /// A frame too large to be copied, behind what was.
    pub(crate) large: Option<Bytes>,
    /// In a keyed room: of each frame, which changes it covers, from the first but one to the last.
    pub(crate) parts: Vec<(u64, u64)>,
    /// Where the log ends, for this seat.
    pub(crate) end: u64,
    /// The position has fallen off the log, or is too old: what it lacks is gone.
    pub(crate) is_lost: bool,
    /// It is to be told that there is a gap, before anything else.
    pub(crate) has_gap: bool,
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
            born: AtomicU64::new(LOG),
        }
    }

    /// Its room is keyed, and has the changes up to `version`: of them it is to get what is there. Before anybody
    /// sees the seat.
    pub(crate) fn set_born(&self, version: u64) {
        self.born.store(version, Ordering::Relaxed);
    }

    /// In a keyed room, the version at which it joined.
    pub(crate) fn born(&self) -> u64 {
        self.born.load(Ordering::Relaxed)
    }

    /// Whether its positions are versions, of which it lacks no bytes that are held for it.
    pub(crate) fn is_keyed(&self) -> bool {
        self.born() != LOG
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
        self.change(|skips| match skips.own.back_mut().filter(|(_, last)| *last == start) {
            Some((_, last)) => *last = end,
            None => skips.own.push_back((start, end)),
        });
    }

    /// What stands before `to` is heard no more, but for what is begun already: whoever has the pen may be in
    /// the middle of it, and so the position stays. Under the outlet's lock.
    pub(crate) fn leap(&self, to: u64) {
        self.change(|skips| {
            skips.leap = skips.leap.max(to);
            // What it publishes while it reads nothing is not to pile up. A piece that is read at this moment
            // is before the first of them.
            while skips.own.front().is_some_and(|(_, end)| *end <= to) {
                skips.own.pop_front();
            }
        });
    }

    /// What stands before `end` was said before it came, and is old for that reason.
    pub(crate) fn replays(&self, end: u64) {
        self.change(|skips| skips.replay = end);
    }

    /// It hears nothing from here on until it [begins](Self::begin); what is said meanwhile is kept for it.
    pub(super) fn wait(&self) {
        self.change(|skips| skips.waits = true);
    }

    /// It hears everything from `position` on, if that is behind where it stands. Nobody else moves the position
    /// while it waits.
    pub(super) fn begin(&self, position: u64) {
        self.change(|skips| skips.waits = false);
        self.set_position(self.position().max(position));
    }

    /// Whether it hears nothing yet.
    pub(super) fn waits(&self) -> bool {
        self.look(|skips| skips.waits).unwrap_or(false)
    }

    /// Whether it is given what was said before it came.
    pub(crate) fn is_replaying(&self) -> bool {
        self.look(|skips| skips.replay > self.position()).unwrap_or(false)
    }

    /// Where it is to go on, if it is to be told that it does not hear what stands before.
    pub(crate) fn leaps_to(&self) -> Option<u64> {
        self.look(|skips| Some(skips.leap).filter(|to| *to > self.position())).flatten()
    }

    /// Where what it is to hear begins.
    pub(crate) fn from(&self) -> u64 {
        self.leaps_to().unwrap_or(self.position())
    }

    /// Where the next bytes stand that are to be heard, and where they end at the latest: there, if it is to
    /// leap first. By who has the pen, who moves the position over what is not to be heard.
    pub(crate) fn span(&self) -> (u64, u64) {
        if !self.has_skips.load(Ordering::Acquire) {
            return (self.position(), u64::MAX);
        }
        let mut skips = self.skips();
        let Some(it) = &mut *skips else { return (self.position(), u64::MAX) };
        if it.waits || it.leap > self.position() {
            return (self.position(), self.position());
        }
        while let Some((start, end)) = it.own.front().copied()
            && start <= self.position()
        {
            self.set_position(self.position().max(end));
            it.own.pop_front();
        }
        let next = it.own.front().map_or(u64::MAX, |(start, _)| *start);
        if it.own.is_empty() && it.replay <= self.position() {
            *skips = None;
            self.has_skips.store(false, Ordering::Release);
        }
        (self.position(), next)
    }

    fn change(&self, change: impl FnOnce(&mut Skips)) {
        change(self.skips().get_or_insert_default());
        self.has_skips.store(true, Ordering::Release);
    }

    fn look<T>(&self, look: impl FnOnce(&Skips) -> T) -> Option<T> {
        if !self.has_skips.load(Ordering::Acquire) {
            return None;
        }
        self.skips().as_deref().map(look)
    }

    /// The pieces of what it lacks up to `end`, by who has the pen.
    pub(crate) fn gaps(&self, end: u64) -> Vec<(u64, u64)> {
        let (mut from, _) = self.span();
        let mut gaps = Vec::new();
        self.look(|skips| {
            for (start, stop) in skips.own.iter().copied().take_while(|(start, _)| *start < end) {
                gaps.push((from, start));
                from = stop;
            }
        });
        if from < end {
            gaps.push((from, end));
        }
        gaps
    }

    /// It lacks nothing between `start` and `end` any more, wherever that is. By who has the pen.
    pub(crate) fn heard(&self, start: u64, end: u64) {
        if start <= self.position() {
            self.set_position(self.position().max(end));
            return;
        }
        self.change(|Skips { own, .. }| {
            let at = own.partition_point(|(first, _)| *first < start);
            let mut heard = (start, end);
            if let Some((_, last)) = own.get(at).filter(|(first, _)| *first == end) {
                heard.1 = *last;
                own.remove(at);
            }
            match at.checked_sub(1).and_then(|at| own.get_mut(at)) {
                Some((_, last)) if *last == start => *last = heard.1,
                _ => own.insert(at, heard),
            }
        });
    }

    /// It was told that it is to forget what it has heard of its keyed room, which has the changes up to
    /// `version`: it begins as who joins. By who has the pen.
    pub(crate) fn begin_anew(&self, version: u64) {
        *self.skips() = None;
        self.has_skips.store(false, Ordering::Release);
        self.set_born(version);
        self.set_position(0);
    }

    /// Held to add or take a range. No other lock is taken under it.
    fn skips(&self) -> MutexGuard<'_, Option<Box<Skips>>> {
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

/// No version: positions are those of a log, in bytes.
const LOG: u64 = u64::MAX;
