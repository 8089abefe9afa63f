//! Carry a part of a room's log to the sockets of its members.

use bytes::Bytes;

use crate::outbound::{frame, pen::Rest, seat::Hold};

/// Whole frames of a log, one behind the other: a few that are small, or one that is large. Taken once
/// for many members.
#[derive(Debug, Default)]
pub(crate) struct View {
    start: u64,
    end: u64,
    copied: Vec<u8>,
    large: Option<Bytes>,
    /// How many frames.
    frames: u64,
    /// What keeps each part of it in the log, by where the part ends.
    holds: Vec<(u64, Hold)>,
}

/// What became of a write from a view.
#[derive(Debug)]
pub(crate) struct Cut {
    /// Where the last frame ends that was begun.
    pub(crate) end: u64,
    /// How many were begun.
    pub(crate) frames: u64,
    /// What is left of the last.
    pub(crate) rest: Rest,
}

impl View {
    /// Begins anew, at `start`, with nothing.
    pub(crate) fn begin(&mut self, start: u64) {
        (self.start, self.end, self.frames) = (start, start, 0);
        self.copied.clear();
        self.large = None;
        self.holds.clear();
    }

    /// Takes one frame more, if it goes together with those that are in it.
    pub(crate) fn add(&mut self, frame: &Bytes, most: usize) -> bool {
        let is_empty = self.start == self.end;
        if frame.len() > LARGE {
            if !is_empty {
                return false;
            }
            self.large = Some(frame.clone());
        } else if self.large.is_some() || !is_empty && self.copied.len() + frame.len() > most {
            return false;
        } else {
            self.copied.extend_from_slice(frame);
        }
        self.end += frame.len() as u64;
        self.frames += 1;
        true
    }

    /// What it has up to `end` is kept by `hold`.
    pub(crate) fn hold(&mut self, end: u64, hold: Hold) {
        self.holds.push((end, hold));
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// What keeps the log from `position` on.
    pub(super) fn hold_at(&self, position: u64) -> Option<Hold> {
        let covers = |(end, _): &&(u64, Hold)| position < *end;
        self.holds.iter().find(covers).map(|(_, hold)| hold.clone())
    }

    /// What of it stands from `position` on; nothing if that is before or behind it.
    pub(crate) fn from(&self, position: u64) -> &[u8] {
        let bytes = self.large.as_deref().unwrap_or(&self.copied);
        let at = position.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| bytes.get(at..)).unwrap_or_default()
    }

    /// The same, up to `until`.
    pub(super) fn part(&self, position: u64, until: u64) -> &[u8] {
        let bytes = self.from(position);
        let most = usize::try_from(until.saturating_sub(position)).unwrap_or(usize::MAX);
        bytes.get(..most).unwrap_or(bytes)
    }

    /// The socket has taken `written` bytes from `position` on, at least one, of those up to `until`.
    pub(super) fn cut(&self, position: u64, until: u64, written: usize) -> Cut {
        let bytes = self.part(position, until);
        if written == bytes.len() && position == self.start && until >= self.end {
            return Cut { end: self.end, frames: self.frames, rest: Rest::default() };
        }
        if let Some(large) = &self.large {
            let rest = Rest::piece_of(large, written);
            return Cut { end: self.end, frames: 1, rest };
        }
        let (end, frames) = frame::begun(bytes, written);
        let rest = Rest::copied(bytes.get(written..end).unwrap_or_default());
        Cut { end: position + end as u64, frames, rest }
    }

    /// Holds nothing of the log any more, and no more room than most walks need.
    pub(crate) fn forget(&mut self) {
        self.large = None;
        self.holds.clear();
        if self.copied.capacity() > KEPT {
            self.copied = Vec::new();
        }
    }
}

/// A frame that is larger is written from where it lies, so that what a socket lacks of it is a piece
/// that all share.
pub(crate) const LARGE: usize = 4 * 1024;

/// As much as most walks need.
const KEPT: usize = 16 * 1024;
