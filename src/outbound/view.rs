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
    /// In a keyed room, the version up to which each frame goes, and where it begins.
    versions: Vec<(u64, usize)>,
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
        self.versions.clear();
        self.holds.clear();
    }

    /// There is nothing behind it before `end`.
    pub(crate) fn end_at(&mut self, end: u64) {
        self.end = end;
    }

    /// Takes one change of a keyed room more, up to `version`, if it goes together with those that are in it.
    pub(crate) fn add_change(&mut self, frame: &Bytes, version: u64, most: usize) -> bool {
        let begins = self.copied.len();
        let is_added = self.add(frame, most);
        if is_added {
            self.versions.push((version, begins));
            self.end = version;
        }
        is_added
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
        if !self.versions.is_empty() {
            return self.changes(position, until);
        }
        let bytes = self.from(position);
        let most = usize::try_from(until.saturating_sub(position)).unwrap_or(usize::MAX);
        bytes.get(..most).unwrap_or(bytes)
    }

    /// The same of a keyed room, where positions are versions.
    fn changes(&self, position: u64, until: u64) -> &[u8] {
        let bytes = self.large.as_deref().unwrap_or(&self.copied);
        let begins = |nth: usize| self.versions.get(nth).map_or(bytes.len(), |(_, at)| *at);
        let of = |version: u64| self.versions.partition_point(|(it, _)| *it <= version);
        let changes = begins(of(position))..begins(of(until));
        bytes.get(changes).filter(|_| position >= self.start).unwrap_or_default()
    }

    /// Where the last of `frames` stands that were begun from `position` on, and which are `bytes` long.
    fn behind(&self, position: u64, frames: u64, bytes: usize) -> u64 {
        let newer = self.versions.iter().map(|(version, _)| *version).filter(|it| *it > position);
        let last = usize::try_from(frames).ok().and_then(|frames| newer.take(frames).last());
        last.unwrap_or_else(|| position.saturating_add(bytes as u64))
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
        Cut { end: self.behind(position, frames, end), frames, rest }
    }

    /// Holds nothing of the log any more, and no more room than most walks need.
    pub(crate) fn forget(&mut self) {
        self.large = None;
        self.holds.clear();
        if self.copied.capacity() > KEPT {
            self.copied = Vec::new();
        }
        if self.versions.capacity() > KEPT_VERSIONS {
            self.versions = Vec::new();
        }
    }
}

/// A frame that is larger is written from where it lies, so that what a socket lacks of it is a piece
/// that all share.
pub(crate) const LARGE: usize = 4 * 1024;

/// As much as most walks need.
const KEPT: usize = 16 * 1024;
const KEPT_VERSIONS: usize = 256;
