//! Keep what a room has said for those who come back.
//!
//! Each message of a room that keeps something has a number, and a member is told which is the last that it
//! has heard. Who comes back with that gets exactly what it missed, or is told that it does not: if its
//! log is another one by now, if too much was said or too long ago, if it would be more than half of what
//! may be held for it, or if it was removed meanwhile. Never a part.

use std::{collections::VecDeque, num::NonZeroUsize, time::Duration};

use tokio::time::Instant;

use crate::{
    quota::RateKeyValue,
    room::position::{Epoch, Position},
};

/// How much of what a room has said is kept: the last messages, for a time.
///
/// No more than 256 KiB of a room is kept, nor more than 64 MiB of all rooms together.
///
/// A position is no proof that its holder was there: who may join the room can name any, and gets what is kept
/// from there on, but for what was said while it was removed. What a newcomer must not read is not to be kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct History {
    pub(super) messages: NonZeroUsize,
    pub(super) ttl: Duration,
}

/// The history of one room.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) history: History,
    epoch: Epoch,
    /// Number of the next message.
    next: u64,
    /// Users that were removed, and the number from which on they may hear what was said: none as long as
    /// they are out.
    removed: VecDeque<(RateKeyValue, Option<u64>)>,
}

impl History {
    /// The last `messages`, for `ttl`. A hundred and two minutes are what a phone needs that changes its
    /// network, or a server that starts again.
    pub const fn new(messages: NonZeroUsize, ttl: Duration) -> Self {
        Self { messages, ttl }
    }
}

impl Kept {
    pub(super) fn new(history: History) -> Self {
        Self { history, epoch: Epoch::new(), next: 1, removed: VecDeque::new() }
    }

    /// The position behind everything that was said.
    pub(super) fn position(&self) -> Position {
        Position { epoch: self.epoch, number: self.next - 1 }
    }

    /// The position behind the message that is said next.
    pub(super) fn next(&self) -> Position {
        Position { epoch: self.epoch, number: self.next }
    }

    /// A message was said.
    pub(super) fn said(&mut self) {
        self.next += 1;
    }

    /// Whether the message of this number, said at `at`, is still kept at `now`.
    pub(super) fn keeps(&self, number: u64, at: Instant, now: Instant) -> bool {
        let messages = self.history.messages.get() as u64;
        number.saturating_add(messages) >= self.next
            && now.saturating_duration_since(at) < self.history.ttl
    }

    /// Which message is the first behind `position`, if that is of this log.
    pub(super) fn next_behind(&self, position: Position) -> Option<u64> {
        let known = position.epoch == self.epoch && position.number < self.next;
        known.then_some(position.number + 1)
    }

    /// Which message is the first that `user` lacks, if it may be given those from there on.
    pub(super) fn lacks(&self, user: &RateKeyValue, since: Position) -> Option<u64> {
        let removed = self.removed.iter().find(|(it, _)| it == user);
        let allowed = removed.is_none_or(|(_, from)| from.is_some_and(|from| since.number >= from));
        self.next_behind(since).filter(|_| allowed)
    }

    /// `user` is out. When there are too many of them to remember, the log is another one from here on: who
    /// was out knows no position of it.
    pub(super) fn removed(&mut self, user: RateKeyValue) {
        self.removed.retain(|(it, _)| *it != user);
        if self.removed.len() >= MARKERS {
            self.removed.clear();
            self.epoch = Epoch::new();
        }
        self.removed.push_back((user, None));
    }

    /// `user` is in: from here on it hears what is said.
    pub(super) fn joined(&mut self, user: &RateKeyValue) {
        let now = self.next - 1;
        if let Some((_, from)) =
            self.removed.iter_mut().find(|(it, from)| it == user && from.is_none())
        {
            *from = Some(now);
        }
    }
}

/// Removals that a room remembers. More are rare, and then cost everybody one recovery.
const MARKERS: usize = 128;

/// What a room keeps of its history, in bytes.
pub(super) const MOST_BYTES: u64 = 256 * 1024;

/// What all rooms keep together, in bytes.
pub(super) const MOST_OF_ALL: usize = 64 * 1024 * 1024;
