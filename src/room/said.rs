//! What a room keeps of what it has said: everything in order, or the newest of each key.

use std::sync::Weak;

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    outbound::{
        Cursor, Hold, Lacks, View,
        budget::{Account, Evict, MemoryBudget},
    },
    room::{history::Kept, log::Log, outcome::Undelivered, position::Position, values::Values},
};

/// A room is a log, or it is keyed. Positions are those of its kind: bytes, or versions.
#[derive(Debug)]
pub(super) enum Said {
    Log(Log),
    Values(Box<Values>),
}

impl Said {
    /// Whether the room is keyed.
    pub(super) fn is_keyed(&self) -> bool {
        matches!(self, Self::Values(_))
    }

    /// What its keys have, if it is keyed.
    pub(super) fn values(&mut self) -> Result<&mut Values, Undelivered> {
        match self {
            Self::Log(_) => Err(Undelivered::NotKeyed),
            Self::Values(values) => Ok(values),
        }
    }

    /// The history, if it keeps one.
    pub(super) fn kept(&mut self) -> Option<&mut Kept> {
        match self {
            Self::Log(log) => log.kept(),
            Self::Values(_) => None,
        }
    }

    /// Position behind all that was said.
    pub(super) fn end(&self) -> u64 {
        match self {
            Self::Log(log) => log.end(),
            Self::Values(values) => values.version(),
        }
    }

    /// Charges what it holds to an account of `budget`, if it has none yet.
    pub(super) fn open_account(&mut self, budget: &MemoryBudget, room: Weak<dyn Evict>) {
        match self {
            Self::Log(log) => log.open_account(budget, room),
            Self::Values(values) => values.open_account(budget),
        }
    }

    pub(super) fn account(&self) -> Option<&Account> {
        match self {
            Self::Log(log) => log.account(),
            Self::Values(values) => values.account(),
        }
    }

    /// Puts `frame` behind all others, if it is a log and there is memory for it.
    pub(super) fn append(&mut self, frame: Bytes) -> bool {
        match self {
            Self::Log(log) => log.append(frame),
            Self::Values(_) => false,
        }
    }

    /// What stands from `start` on, as much as goes into one view.
    pub(super) fn view(&self, start: u64, view: &mut View) {
        match self {
            Self::Log(log) => log.view(start, VIEW, view),
            Self::Values(values) => values.view(start, KEYED_VIEW, view),
        }
    }

    /// Puts what the seat of `cursor` lacks behind what is in `into`, `most` bytes or one frame.
    pub(super) fn read(&self, cursor: &Cursor, into: &mut Vec<u8>, most: usize) -> Lacks {
        match self {
            Self::Log(log) => {
                let (position, next) = cursor.span();
                log.read(position, next, cursor.until(), into, most)
            }
            Self::Values(values) => values.read(cursor, into, most),
        }
    }

    /// What keeps it from `position` on, if anything has to.
    pub(super) fn hold_at(&self, position: u64) -> Option<Hold> {
        match self {
            Self::Log(log) => log.hold_at(position),
            Self::Values(values) => values.hold_at(position),
        }
    }

    /// Forgets what nobody needs: everybody was offered what stands before `offered`.
    pub(super) fn trim(&mut self, offered: u64) {
        match self {
            Self::Log(log) => log.trim(offered),
            Self::Values(values) => values.trim(offered),
        }
    }

    /// Where the message of this number begins, if it and all behind it are kept.
    pub(super) fn find(&self, number: u64) -> Option<u64> {
        match self {
            Self::Log(log) => log.find(number),
            Self::Values(_) => None,
        }
    }

    /// The same of a message that somebody holds, if it is kept or not.
    pub(super) fn start_of(&self, number: u64) -> Option<u64> {
        match self {
            Self::Log(log) => log.start_of(number),
            Self::Values(_) => None,
        }
    }

    /// Forgets what may go whoever lacks it.
    pub(super) fn cut(&mut self, offered: u64) {
        match self {
            Self::Log(log) => log.cut(offered),
            Self::Values(_) => {}
        }
    }

    /// Whether what stands at `position` is gone, of a log.
    pub(super) fn has_lost(&self, position: u64) -> bool {
        match self {
            Self::Log(log) => log.has_lost(position),
            Self::Values(_) => false,
        }
    }

    /// Whether what stands at `position` was said before `time`, of a log.
    pub(super) fn is_older(&self, position: u64, time: Instant) -> bool {
        match self {
            Self::Log(log) => log.is_older(position, time),
            Self::Values(_) => false,
        }
    }

    /// The position in the history of who has heard all before `position`, if there is a history.
    pub(super) fn name(&self, position: u64) -> Option<Position> {
        match self {
            Self::Log(log) => log.name(position),
            Self::Values(_) => None,
        }
    }

    /// Bytes of a log that it keeps, or removals.
    #[cfg(test)]
    pub(super) fn keeps(&self) -> u64 {
        match self {
            Self::Log(log) => log.bytes(),
            Self::Values(values) => values.kept() as u64,
        }
    }

    /// From where on `hold` keeps it, if it still does.
    #[cfg(test)]
    pub(super) fn held_from(&self, hold: &Hold) -> Option<u64> {
        match self {
            Self::Log(log) => log.held_from(hold),
            Self::Values(values) => values.held_from(hold),
        }
    }
}

/// What one visit writes at most, if it is not one frame.
const VIEW: usize = 64 * 1024;

/// The same in a keyed room: all of one that has its default bound, so that what has changed last is never
/// behind a view.
const KEYED_VIEW: usize = 256 * 1024;
