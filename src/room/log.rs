//! Keep what a room has said until everybody has it: a log of whole frames.
//!
//! A member is a position in it, in bytes; positions only rise, and none is used twice. What a room says is
//! held once, whoever has not read it yet, and charged once to the memory budget, to the room.
//!
//! Frames stand in segments, and a segment has a [`Hold`]: who is behind keeps the one that it stands in,
//! and so all behind it. The front of the log is cut when nobody holds it and everybody was offered it: a
//! count of one says that nobody has the hold and, as it is only taken under the room's lock or from who
//! has it, that nobody can get it. What the room's [`History`](crate::room::History) keeps stays as well.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    outbound::{
        Hold, LARGE, Lacks, View,
        budget::{Account, Evict, MemoryBudget},
    },
    quota::clock,
    room::{
        history::{Kept, MOST_BYTES, MOST_OF_ALL},
        position::Position,
    },
};

/// What a room has said and not everybody has heard.
#[derive(Debug, Default)]
pub(super) struct Log {
    segments: VecDeque<Segment>,
    /// Position behind the last frame.
    end: u64,
    account: Option<Account>,
    kept: Option<Box<Kept>>,
    /// What the histories of all rooms take together.
    of_all: Arc<AtomicUsize>,
    /// Of that, what this room's takes.
    counted: usize,
}

/// Some frames, one behind the other.
#[derive(Debug)]
struct Segment {
    /// Position of its first frame.
    start: u64,
    frames: Vec<Entry>,
    /// What the room's account is charged for them.
    charged: usize,
    hold: Hold,
}

/// A frame, the position of its end, and when it was said.
#[derive(Debug)]
struct Entry {
    end: u64,
    bytes: Bytes,
    at: Instant,
}

impl Log {
    /// A log that keeps what `kept` says, and counts it in `of_all`.
    pub(super) fn new(kept: Option<Kept>, of_all: Arc<AtomicUsize>) -> Self {
        let mut log = Self::default();
        (log.kept, log.of_all) = (kept.map(Box::new), of_all);
        log
    }

    /// The history, if it keeps one.
    pub(super) fn kept(&mut self) -> Option<&mut Kept> {
        self.kept.as_deref_mut()
    }

    /// Position behind the last frame.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Position of the first frame that is still there.
    fn start(&self) -> u64 {
        self.segments.front().map_or(self.end, |segment| segment.start)
    }

    /// Charges what it holds to an account of `budget`, if it has none yet.
    pub(super) fn open_account(&mut self, budget: &MemoryBudget, room: Weak<dyn Evict>) {
        self.account.get_or_insert_with(|| budget.open(room));
    }

    pub(super) fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// Puts `frame` behind all others, if there is memory for it.
    pub(super) fn append(&mut self, frame: Bytes) -> bool {
        // What was said before the room had an account is never charged.
        let charge = self.account.as_ref().map_or(0, |_| price(&frame));
        if self.account.as_ref().is_some_and(|account| !account.try_grow(charge)) {
            return false;
        }
        let start = self.end;
        self.end += frame.len() as u64;
        if let Some(kept) = &mut self.kept {
            kept.said();
            self.counted += price(&frame);
            self.of_all.fetch_add(price(&frame), Ordering::Relaxed);
        }
        let entry = Entry { end: self.end, bytes: frame, at: clock::now() };
        match self.segments.back_mut().filter(|segment| segment.has_room()) {
            Some(segment) => {
                segment.frames.push(entry);
                segment.charged += charge;
            }
            None => {
                let (frames, charged, hold) = (vec![entry], charge, Hold::default());
                self.segments.push_back(Segment { start, frames, charged, hold });
            }
        }
        true
    }

    /// What stands from `start` on, as much as goes into one view of about `most` bytes.
    pub(super) fn view(&self, start: u64, most: usize, view: &mut View) {
        view.begin(start);
        for segment in self.from(start) {
            let mut all = true;
            for entry in segment.from(start) {
                all = view.add(&entry.bytes, most);
                if !all {
                    break;
                }
            }
            view.hold(segment.end(), segment.hold.clone());
            if !all {
                return;
            }
        }
    }

    /// Puts what stands from `position` to `next` behind what is in `into`, `most` bytes or one frame. The
    /// log ends at `until`.
    pub(super) fn read(
        &self,
        position: u64,
        next: u64,
        until: u64,
        into: &mut Vec<u8>,
        most: usize,
    ) -> Lacks {
        let end = self.end.min(until);
        let mut lacks = Lacks { end, ..Lacks::default() };
        if position >= end {
            return lacks;
        }
        if position < self.start() {
            lacks.is_lost = true;
            return lacks;
        }
        let begin = into.len();
        for segment in self.from(position) {
            for Entry { end: ends, bytes: frame, .. } in segment.from(position) {
                let copied = into.len() - begin;
                let is_enough = copied > 0 && copied + frame.len() > most;
                if *ends > end.min(next) || is_enough || frame.len() > LARGE {
                    let is_next = *ends <= end.min(next) && !is_enough;
                    lacks.large = is_next.then(|| frame.clone());
                    lacks.behind = Some(segment.hold.clone());
                    return lacks;
                }
                into.extend_from_slice(frame);
            }
        }
        lacks
    }

    /// What keeps the log from `position` on.
    pub(super) fn hold_at(&self, position: u64) -> Option<Hold> {
        self.from(position).next().map(|segment| segment.hold.clone())
    }

    /// Forgets what nobody needs: everybody was offered what stands before `offered`.
    pub(super) fn trim(&mut self, offered: u64) {
        while let Some(front) = self.segments.front()
            && front.hold.is_alone()
            && front.end() <= offered
            && !self.is_history(front)
        {
            self.cut_front();
        }
    }

    /// Whether a segment is kept for those who come back.
    fn is_history(&self, segment: &Segment) -> bool {
        let (Some(kept), Some(last)) = (&self.kept, segment.frames.last()) else { return false };
        let behind = self.count_behind(segment.end());
        let number = kept.position().number - behind;
        self.end - segment.start <= MOST_BYTES.max(segment.end() - segment.start)
            && self.of_all.load(Ordering::Relaxed) <= MOST_OF_ALL
            && kept.keeps(number, last.at, clock::now())
    }

    /// How many frames there are behind `position`.
    fn count_behind(&self, position: u64) -> u64 {
        self.from(position).map(|segment| segment.from(position).count() as u64).sum()
    }

    /// Where the message of this number begins, if it and all behind it are kept.
    pub(super) fn find(&self, number: u64) -> Option<u64> {
        let kept = self.kept.as_ref()?;
        match self.entry(number)? {
            None => Some(self.end),
            Some(it) => kept.keeps(number, it.at, clock::now()).then(|| it.start()),
        }
    }

    /// The same of a message that may be there for another reason: because somebody has it to hear.
    pub(super) fn start_of(&self, number: u64) -> Option<u64> {
        Some(self.entry(number)?.map_or(self.end, Entry::start))
    }

    /// The message of this number, if it is there; inside, none for the one that is said next.
    fn entry(&self, number: u64) -> Option<Option<&Entry>> {
        let kept = self.kept.as_ref()?;
        let Some(last) = kept.position().number.checked_sub(number) else { return Some(None) };
        let mut left = usize::try_from(last).ok()?;
        for segment in self.segments.iter().rev() {
            let Some(at) = segment.frames.len().checked_sub(left + 1) else {
                left -= segment.frames.len();
                continue;
            };
            return segment.frames.get(at).map(Some);
        }
        None
    }

    /// Forgets the older half of it, whoever holds that, but nothing that was not offered to everybody. Who
    /// reads is a moment behind, at the end, where its driver writes for it.
    pub(super) fn cut(&mut self, offered: u64) {
        let middle = self.start() + (self.end - self.start()) / 2;
        while let Some(front) = self.segments.front()
            && front.start < middle
            && front.end() <= offered
        {
            self.cut_front();
        }
    }

    /// The position in the history of who has heard all before `position`, if there is a history.
    pub(super) fn name(&self, position: u64) -> Option<Position> {
        let kept = self.kept.as_ref()?;
        let Position { epoch, number } = kept.position();
        Some(Position { epoch, number: number.saturating_sub(self.count_behind(position)) })
    }

    /// Whether what stands at `position` was said before `time`.
    pub(super) fn is_older(&self, position: u64, time: Instant) -> bool {
        let first = self.from(position).next().and_then(|it| it.from(position).next());
        first.is_some_and(|entry| entry.at < time)
    }

    /// Whether what stands at `position` is gone.
    pub(super) fn has_lost(&self, position: u64) -> bool {
        position < self.start()
    }

    /// Bytes that it keeps.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.end - self.start()
    }

    /// From where on `hold` keeps it, if it still does.
    #[cfg(test)]
    pub(super) fn held_from(&self, hold: &Hold) -> Option<u64> {
        self.segments.iter().find(|it| it.hold.is(hold)).map(|it| it.start)
    }

    fn cut_front(&mut self) {
        let Some(segment) = self.segments.pop_front() else { return };
        let price = segment.frames.iter().map(|entry| price(&entry.bytes)).sum();
        if let Some(account) = &self.account {
            account.shrink(segment.charged);
        }
        if self.kept.is_some() {
            self.counted -= price;
            self.of_all.fetch_sub(price, Ordering::Relaxed);
        }
        if self.segments.is_empty() {
            self.segments = VecDeque::new();
        }
    }

    /// The segments that have anything from `position` on.
    fn from(&self, position: u64) -> impl Iterator<Item = &Segment> {
        let first = self.segments.partition_point(|segment| segment.end() <= position);
        self.segments.range(first..)
    }
}

impl Entry {
    /// Position of its first byte.
    fn start(&self) -> u64 {
        self.end - self.bytes.len() as u64
    }
}

impl Segment {
    fn end(&self) -> u64 {
        self.frames.last().map_or(self.start, |entry| entry.end)
    }

    fn has_room(&self) -> bool {
        self.end() - self.start < SEGMENT_BYTES && self.frames.len() < SEGMENT_FRAMES
    }

    /// The frames that end behind `position`.
    fn from(&self, position: u64) -> impl Iterator<Item = &Entry> {
        let first = self.frames.partition_point(|entry| entry.end <= position);
        self.frames.iter().skip(first)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.of_all.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

/// What a frame costs: itself, its place in its segment, and what its bytes are counted by.
fn price(frame: &Bytes) -> usize {
    frame.len() + PLACE
}

/// What a frame takes beside its bytes.
pub(super) const PLACE: usize = 112;

/// What is cut in one piece. Small, so that who is behind keeps little more than it needs.
pub(super) const SEGMENT_BYTES: u64 = 16 * 1024;
const SEGMENT_FRAMES: usize = 128;
