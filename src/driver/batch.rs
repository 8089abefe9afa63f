//! Lay what is to be written side by side, for one write.

use std::{cell::RefCell, collections::VecDeque};

use bytes::Bytes;

use crate::outbound::{Gap, Outcome, Queued, Turn, frame::Header};

/// Frames that go out in one write. A thread keeps the room for one: it is filled and written in one go.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    /// What goes out behind them from where it lies.
    pub(super) large: Option<Bytes>,
    /// What both of them are, in order.
    pub(super) pieces: Vec<Piece>,
}

/// Some frames of one kind.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) what: What,
    /// Bytes on the wire.
    pub(super) len: usize,
}

#[derive(Debug)]
pub(super) enum What {
    /// All control frames.
    Control,
    /// The next message of the connection's own.
    Own,
    /// Frames that the room of this turn has said.
    Room(usize),
    /// One of them that is large.
    Large(usize),
    /// That the peer does not hear what its room said before a position.
    Gap(usize, u64),
}

impl Batch {
    pub(super) fn take() -> Self {
        let spare = SPARE.with(|spare| spare.try_borrow_mut().ok().and_then(|mut it| it.take()));
        spare.unwrap_or_default()
    }

    pub(super) fn give_back(mut self) {
        if self.bytes.capacity() > KEPT {
            return;
        }
        self.bytes.clear();
        self.pieces.clear();
        self.large = None;
        SPARE.with(|spare| {
            if let Ok(mut spare) = spare.try_borrow_mut() {
                *spare = Some(self);
            }
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Control frames, then messages, then what rooms have said: up to a chunk, or to a large frame.
    pub(super) fn fill(&mut self, control: &[u8], own: &VecDeque<Queued>, turns: &mut [Turn]) {
        if !control.is_empty() {
            self.bytes.extend_from_slice(control);
            self.piece(What::Control, control.len());
        }
        for Queued { message, .. } in own {
            if self.is_full() {
                return;
            }
            let header = Header::of(message);
            self.bytes.extend_from_slice(header.as_bytes());
            self.piece(What::Own, header.as_bytes().len() + message.len());
            if message.len() > COPIED {
                self.large = Some(message.clone().into_bytes());
            } else {
                self.bytes.extend_from_slice(message.as_bytes());
            }
        }
        for (at, turn) in turns.iter_mut().enumerate() {
            if self.is_full() {
                return;
            }
            self.read(at, turn);
        }
    }

    fn read(&mut self, at: usize, turn: &mut Turn) {
        let before = self.bytes.len();
        let Some(lacks) = turn.seat.read(&mut self.bytes, WRITE_CHUNK - before) else {
            turn.outcome = Outcome::Gone;
            return;
        };
        if lacks.is_lost {
            turn.outcome = Outcome::Lost { end: lacks.end };
            return;
        }
        if lacks.has_gap {
            self.tell(at, turn, lacks.end);
            return;
        }
        let len = self.bytes.len() - before;
        if len > 0 {
            self.piece(What::Room(at), len);
        }
        if let Some(large) = lacks.large {
            self.piece(What::Large(at), large.len());
            self.large = Some(large);
        }
        turn.parts = lacks.parts.into();
        turn.outcome = Outcome::Read { end: lacks.end, behind: lacks.behind, all: true };
    }

    /// Of what comes behind a gap nothing is read: where it begins is known when the notice is out.
    #[cold]
    fn tell(&mut self, at: usize, turn: &mut Turn, end: u64) {
        let Some(Gap { to, message }) = turn.seat.gap() else {
            turn.outcome = if turn.seat.is_gone() { Outcome::Gone } else { Outcome::Untold };
            return;
        };
        let header = Header::of(&message);
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(message.as_bytes());
        self.piece(What::Gap(at, to), header.as_bytes().len() + message.len());
        turn.outcome = Outcome::Read { end, behind: None, all: false };
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= WRITE_CHUNK || self.large.is_some()
    }

    fn piece(&mut self, what: What, len: usize) {
        self.pieces.push(Piece { what, len });
    }
}

thread_local! {
    static SPARE: RefCell<Option<Batch>> = const { RefCell::new(None) };
}

/// What goes out in one write. Large enough for it to be worth its system call, and small enough for a
/// ping or a close frame not to wait long.
pub(super) const WRITE_CHUNK: usize = 16 * 1024;

/// A payload up to this size is copied beside others: that costs less than a place of its own in a
/// vectored write.
pub(super) const COPIED: usize = 4 * 1024;

/// A batch has a chunk and the message that passes it.
const KEPT: usize = 2 * WRITE_CHUNK;
