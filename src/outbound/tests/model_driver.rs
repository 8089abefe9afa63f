//! What a driver does between its critical sections.

use std::mem::take;

use super::{super::*, Model, peer::FRAME};
use crate::outbound::{
    frame::{self, Frame},
    inbox::model_outlet::ENOUGH,
    pen::Rest,
    seat::Lacks,
};

#[derive(Default)]
pub(super) struct Driver {
    pub(super) taken: VecDeque<Queued>,
    pub(super) turns: Vec<Turn>,
    pub(super) pen: Option<Pen>,
    pub(super) wrote: Option<Step>,
    /// It writes the close frame, and is over.
    pub(super) ends: bool,
    pub(super) close: Vec<u8>,
    /// The pen, for good.
    pub(super) last: Option<Pen>,
    pub(super) over: bool,
}

impl Model {
    pub(super) fn drive(&mut self) {
        if let Some(step) = self.driver.wrote.take() {
            let pen = self.driver.pen.take().unwrap();
            let more = self.inbox.finish(pen, &step, &mut self.driver.turns);
            self.driver.turns.clear();
            self.awake &= more;
            // Polled again at once; and a signal is looked at once more.
            self.woken |= more || self.closed;
        } else if let Some(mut pen) = self.driver.pen.take() {
            let step = self.step(&mut pen);
            self.driver.pen = Some(pen);
            self.driver.wrote = Some(step);
        } else if self.driver.ends {
            self.woken = false;
            self.finish();
        } else {
            (self.woken, self.awake) = (false, true);
            let Driver { taken, turns, .. } = &mut self.driver;
            if !self.closed {
                let begin = self.inbox.begin(taken.is_empty(), taken, turns);
                self.awake &= matches!(begin, Begin::Write(_));
                match begin {
                    Begin::Write(pen) => return self.driver.pen = Some(pen),
                    Begin::Nothing | Begin::PenIsOut => return,
                    Begin::Overflowed => assert!(self.plan.bound < ENOUGH && !self.plan.skips),
                    Begin::Evicted | Begin::Broken => panic!("{begin:?}"),
                }
            }
            self.driver.ends = true;
            self.driver.close = vec![frame::CLOSE, 0];
            let mut discarded = Encoded::default();
            self.driver.taken.drain(..).for_each(|it| discarded.add(&it.message));
            self.inbox.queued -= discarded.charge;
            self.inbox.messages -= discarded.messages;
            self.shut(End::Closed);
            self.woken = true;
        }
    }

    /// One step of the driver's: what is left of a frame, then one batch.
    fn step(&mut self, pen: &mut Pen) -> Step {
        let Self { driver: Driver { taken, turns, .. }, kernel, heard, .. } = self;
        let written = kernel.write(heard, pen.rest.as_bytes());
        pen.rest.advance(written);
        let (mut progressed, mut begun) = (written > 0, Encoded::default());
        let mut is_full = !pen.rest.is_empty();
        if !is_full {
            let mut batch: Vec<_> =
                taken.iter().flat_map(|it| Frame::of(&it.message).bytes).collect();
            let mut ends = Vec::new();
            for turn in &mut *turns {
                let mut leaps = None;
                turn.outcome = match turn.seat.read(&mut batch, FRAME) {
                    None => Outcome::Gone,
                    Some(Lacks { end, has_gap: true, .. }) => {
                        let gap = turn.seat.gap().unwrap();
                        batch.extend_from_slice(&Frame::of(&gap.message).bytes);
                        leaps = Some(gap.to);
                        Outcome::Read { end, behind: None, all: false }
                    }
                    Some(Lacks { end, behind, .. }) => Outcome::Read { end, behind, all: true },
                };
                ends.push((batch.len(), leaps));
            }
            let written = kernel.write(heard, &batch);
            let at = written.next_multiple_of(FRAME);
            pen.rest = Rest::copied(&batch[written..at]);
            let mut from = taken.len() * FRAME;
            taken.drain(..(at / FRAME).min(taken.len())).for_each(|it| begun.add(&it.message));
            for (turn, (end, leaps)) in turns.iter_mut().zip(ends) {
                match leaps {
                    Some(to) if at > from => turn.seat.told(to),
                    Some(_) => {}
                    None => turn.seat.cursor().advance(at.clamp(from, end) - from),
                }
                if at < end {
                    turn.stays();
                }
                from = end;
            }
            progressed |= written > 0;
            is_full = written == 0 && !batch.is_empty();
        }
        kernel.registered |= is_full;
        let has_more = !taken.is_empty() || !pen.rest.is_empty();
        Step { begun, control: 0, progressed, is_full, has_more }
    }

    /// The close frame, with the pen for good.
    fn finish(&mut self) {
        self.awake = false;
        let Some(mut pen) = self.driver.last.take().or_else(|| self.inbox.take_pen()) else {
            return;
        };
        loop {
            if pen.rest.is_empty() {
                pen.rest = Rest::copied(&take(&mut self.driver.close));
            }
            let written = self.kernel.write(&mut self.heard, pen.rest.as_bytes());
            pen.rest.advance(written);
            if !pen.rest.is_empty() {
                self.kernel.registered = true;
                self.driver.last = Some(pen);
                return;
            }
            if self.driver.close.is_empty() {
                self.shut(End::Over);
                (self.inbox.queued, self.inbox.in_flight, self.inbox.messages) = (0, 0, 0);
                self.driver.over = true;
                return;
            }
        }
    }
}
