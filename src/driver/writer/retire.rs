//! Forget what a socket has begun to take.

use super::Writer;
use crate::{
    driver::batch::{Batch, COPIED, Piece, What},
    outbound::{Encoded, Pen, Queued, Rest, frame},
};

impl Writer {
    /// Forgets what was begun by the `written` bytes of a batch, but for the rest of the last of it.
    pub(super) fn retire(
        &mut self,
        written: usize,
        batch: &Batch,
        pen: &mut Pen,
        begun: &mut Encoded,
    ) {
        let (mut at, mut left) = (0_usize, written);
        for Piece { what, len } in &batch.pieces {
            let taken = left.min(*len);
            left -= taken;
            let bytes = batch.bytes.get(at..at.saturating_add(*len)).unwrap_or_default();
            at = at.saturating_add(*len);
            match what {
                What::Control if taken > 0 => {
                    // The last byte that was taken says which frame is to be finished.
                    let (end, _) = frame::begun(&self.control, taken);
                    if taken < end {
                        let rest = self.control.get(taken..end).unwrap_or_default();
                        pen.rest = Rest::copied(rest);
                    }
                    self.control.drain(..end);
                }
                What::Own if taken > 0 => {
                    let Some(Queued { message, .. }) = self.taken.pop_front() else { return };
                    self.owned = self.owned.saturating_sub(1);
                    begun.add(&message);
                    self.messages += 1;
                    if taken < *len {
                        pen.rest = Rest::of(message, taken, COPIED);
                    }
                }
                What::Gap(turn, to) if taken > 0 => {
                    self.messages += 1;
                    if taken < *len {
                        pen.rest = Rest::copied(bytes.get(taken..).unwrap_or_default());
                    }
                    if let Some(turn) = self.turns.get(*turn) {
                        turn.seat.told(*to);
                    }
                }
                What::Control | What::Own | What::Gap(..) => {}
                What::Room(turn) | What::Large(turn) if taken == 0 => {
                    if let Some(turn) = self.turns.get_mut(*turn) {
                        turn.stays();
                    }
                }
                What::Room(turn) => {
                    let (end, frames) = frame::begun(bytes, taken);
                    self.messages += frames;
                    if let Some(turn) = self.turns.get_mut(*turn) {
                        turn.begun(frames, end);
                        if end < *len {
                            turn.stays();
                        }
                    }
                    if taken < end {
                        pen.rest = Rest::copied(bytes.get(taken..end).unwrap_or_default());
                    }
                }
                What::Large(turn) => {
                    self.messages += 1;
                    if let Some(turn) = self.turns.get_mut(*turn) {
                        turn.begun(1, *len);
                    }
                    if let Some(large) = &batch.large {
                        pen.rest = Rest::piece_of(large, taken);
                    }
                }
            }
        }
    }
}
