//! Keep what a room has said until everybody has it: a log of whole frames.
//!
//! A member is a position in it, in bytes; positions only rise, and none is used twice. What a room says is
//! held once, whoever has not read it yet, and charged once to the memory budget, to the room.
//!
//! Frames stand in segments, and a segment has a [`Hold`]: who is behind keeps the one that it stands in,
//! and so all behind it. The front of the log is cut when nobody holds it and everybody was offered it: a
//! count of one says that nobody has the hold and, as it is only taken under the room's lock or from who
//! has it, that nobody can get it.

use std::{collections::VecDeque, sync::Weak};

use bytes::Bytes;

use crate::outbound::{
    Hold, LARGE, Lacks, View,
    budget::{Account, Evict, MemoryBudget},
};

/// What a room has said and not everybody has heard.
#[derive(Debug, Default)]
pub(super) struct Log {
    segments: VecDeque<Segment>,
    /// Position behind the last frame.
    end: u64,
    account: Option<Account>,
}

/// Some frames, one behind the other.
#[derive(Debug)]
struct Segment {
    /// Position of its first frame.
    start: u64,
    /// Each with the position of its end.
    frames: Vec<(u64, Bytes)>,
    hold: Hold,
}

impl Log {
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
        if self.account.as_ref().is_some_and(|account| !account.try_grow(price(&frame))) {
            return false;
        }
        let start = self.end;
        self.end += frame.len() as u64;
        let entry = (self.end, frame);
        match self.segments.back_mut().filter(|segment| segment.has_room()) {
            Some(segment) => segment.frames.push(entry),
            None => {
                let frames = vec![entry];
                self.segments.push_back(Segment { start, frames, hold: Hold::default() });
            }
        }
        true
    }

    /// What stands from `start` on, as much as goes into one view of about `most` bytes.
    pub(super) fn view(&self, start: u64, most: usize, view: &mut View) {
        view.begin(start);
        for segment in self.from(start) {
            let mut all = true;
            for (_, frame) in segment.from(start) {
                all = view.add(frame, most);
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

    /// Puts what stands from `position` to `until` behind what is in `into`, `most` bytes or one frame.
    pub(super) fn read(&self, position: u64, until: u64, into: &mut Vec<u8>, most: usize) -> Lacks {
        let end = self.end.min(until);
        if position < self.start() && position < end {
            return Lacks { is_lost: true, ..Lacks::default() };
        }
        let mut lacks = Lacks { end, before: self.hold_at(position), ..Lacks::default() };
        let begin = into.len();
        let mut at = position;
        for (ends, frame) in self.from(position).flat_map(|segment| segment.from(position)) {
            let copied = into.len() - begin;
            if *ends > end || copied > 0 && copied + frame.len() > most {
                break;
            }
            if frame.len() > LARGE {
                lacks.large = Some(frame.clone());
                break;
            }
            into.extend_from_slice(frame);
            at = *ends;
        }
        lacks.behind = self.hold_at(at);
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
        {
            self.cut_front();
        }
    }

    /// Forgets what stands before `offered`, whoever holds it.
    pub(super) fn cut(&mut self, offered: u64) {
        while self.segments.front().is_some_and(|front| front.end() <= offered) {
            self.cut_front();
        }
    }

    /// Whether what stands at `position` is gone.
    pub(super) fn has_lost(&self, position: u64) -> bool {
        position < self.start()
    }

    fn cut_front(&mut self) {
        let Some(segment) = self.segments.pop_front() else { return };
        if let Some(account) = &self.account {
            account.shrink(segment.frames.iter().map(|(_, frame)| price(frame)).sum());
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

impl Segment {
    fn end(&self) -> u64 {
        self.frames.last().map_or(self.start, |(end, _)| *end)
    }

    fn has_room(&self) -> bool {
        self.end() - self.start < SEGMENT_BYTES && self.frames.len() < SEGMENT_FRAMES
    }

    /// The frames that end behind `position`.
    fn from(&self, position: u64) -> impl Iterator<Item = &(u64, Bytes)> {
        let first = self.frames.partition_point(|(end, _)| *end <= position);
        self.frames.iter().skip(first)
    }
}

/// What a frame costs: itself, its place in its segment, and what its bytes are counted by.
fn price(frame: &Bytes) -> usize {
    frame.len() + PLACE
}

/// What a frame takes beside its bytes.
const PLACE: usize = 96;

/// What is cut in one piece. Small, so that who is behind keeps little more than it needs.
const SEGMENT_BYTES: u64 = 16 * 1024;
const SEGMENT_FRAMES: usize = 128;
