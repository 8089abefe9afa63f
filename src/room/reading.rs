//! Choose what of a keyed room's changes one member is sent next.

use bytes::Bytes;

use crate::{
    outbound::{Cursor, Hold, LARGE, Lacks},
    room::values::Values,
};

/// What goes out with one write.
pub(super) struct Reading<'a> {
    into: &'a mut Vec<u8>,
    begin: usize,
    most: usize,
    lacks: Lacks,
}

/// The newest of a key, and all that was changed behind `start`, up to `end`, and is not there any more.
struct Part<'a> {
    start: u64,
    end: u64,
    frame: &'a Bytes,
}

impl<'a> Reading<'a> {
    /// Puts `most` bytes, or one frame, behind what is in `into`.
    pub(super) fn new(into: &'a mut Vec<u8>, most: usize) -> Self {
        let begin = into.len();
        Self { into, begin, most, lacks: Lacks::default() }
    }

    /// Takes what the seat of `cursor` lacks up to `end`; says whether that is all.
    pub(super) fn read(&mut self, values: &Values, cursor: &Cursor, end: u64) -> bool {
        let gaps = cursor.gaps(end);
        let (in_order, fits) = self.in_order(values, cursor, &gaps);
        if fits {
            return in_order.into_iter().all(|part| self.take(&part));
        }
        // Who joins gets what was there first, and knows no newest of it.
        let is_joining = cursor.position() < cursor.born();
        let newest = gaps.last().filter(|_| !is_joining && gaps.len() < MOST_GAPS);
        let mut newest = newest.into_iter().flat_map(|gap| from_the_newest(values, *gap));
        for part in in_order {
            if !self.take(&part) || newest.next().is_some_and(|part| !self.take(&part)) {
                break;
            }
        }
        false
    }

    /// What is lacked, from the oldest on, until it is more than goes out with one write; says whether it is
    /// not.
    fn in_order<'v>(
        &self,
        values: &'v Values,
        cursor: &Cursor,
        gaps: &[(u64, u64)],
    ) -> (Vec<Part<'v>>, bool) {
        let (mut parts, mut len) = (Vec::new(), 0);
        for (start, stop) in gaps.iter().copied() {
            let is_heard = |version, is_value| is_value || version > cursor.born();
            let slots = values.between(start, stop);
            let mut slots =
                slots.filter(|(version, it)| is_heard(*version, it.is_value)).peekable();
            if slots.peek().is_none() {
                cursor.heard(start, stop);
            }
            let mut start = start;
            while let Some((version, slot)) = slots.next() {
                // What is not there any more needs nothing to be heard.
                let end = if slots.peek().is_some() { version } else { stop };
                parts.push(Part { start, end, frame: &slot.frame });
                start = end;
                len += slot.frame.len();
                if len > self.most {
                    return (parts, false);
                }
            }
        }
        (parts, true)
    }

    /// Takes one part more, if it goes together with those that were taken.
    fn take(&mut self, part: &Part<'_>) -> bool {
        let copied = self.into.len() - self.begin;
        let is_enough = copied > 0 && copied + part.frame.len() > self.most;
        if self.lacks.large.is_some() || is_enough {
            return false;
        }
        if part.frame.len() > LARGE {
            self.lacks.large = Some(part.frame.clone());
        } else {
            self.into.extend_from_slice(part.frame);
        }
        self.lacks.parts.push((part.start, part.end));
        true
    }

    /// What was taken of a room whose last change is `end`, and what keeps the rest.
    pub(super) fn finish(self, end: u64, behind: Option<Hold>) -> Lacks {
        Lacks { end, behind, ..self.lacks }
    }
}

/// What was changed in the gap, the newest first.
fn from_the_newest(values: &Values, (start, stop): (u64, u64)) -> impl Iterator<Item = Part<'_>> {
    let mut end = stop;
    let mut slots = values.between(start, stop).rev().peekable();
    std::iter::from_fn(move || {
        let (_, slot) = slots.next()?;
        let before = slots.peek().map_or(start, |(version, _)| *version);
        Some(Part { start: before, end: std::mem::replace(&mut end, before), frame: &slot.frame })
    })
}

/// Of what a member lacks, pieces that are apart from each other: each write that begins with the newest
/// makes one more.
const MOST_GAPS: usize = 16;
