//! Take what waits for a peer, as the driver of one that reads at once does. For tests.

use std::{
    collections::VecDeque,
    task::{Context, Waker},
};

use bytes::Bytes;

use crate::{
    message::Message,
    outbound::{Begin, Encoded, Outcome, Outlet, Step, frame},
};

/// What was taken, and what the driver would have found.
#[derive(Debug, Default)]
pub(crate) struct Drained {
    pub(crate) messages: Vec<Message>,
    /// The bound was passed.
    pub(crate) overflowed: bool,
    /// The process needs the memory.
    pub(crate) evicted: bool,
}

/// Takes about `most` bytes of what waits, in whole messages.
pub(crate) fn drain(outlet: &Outlet, most: usize) -> Drained {
    let cx = Context::from_waker(Waker::noop());
    let mut drained = Drained::default();
    let (mut taken, mut turns, mut left) = (VecDeque::new(), Vec::new(), most);
    loop {
        let (begin, _) = outlet.begin(&cx, true, &mut taken, &mut turns);
        drained.overflowed = matches!(begin, Begin::Overflowed);
        drained.evicted = matches!(begin, Begin::Evicted);
        let Begin::Write(pen) = begin else { return drained };
        let mut begun = Encoded::default();
        for entry in taken.drain(..) {
            left = left.saturating_sub(entry.message.len());
            begun.add(&entry.message);
            drained.messages.push(entry.message);
        }
        for turn in &mut turns {
            if left > 0 {
                let mut bytes = Vec::new();
                let Some(lacks) = turn.seat.read(&mut bytes, left) else {
                    turn.outcome = Outcome::Gone;
                    continue;
                };
                if lacks.has_gap {
                    let Some(gap) = turn.seat.gap() else {
                        turn.outcome = Outcome::Untold;
                        continue;
                    };
                    left = left.saturating_sub(gap.message.len());
                    turn.seat.told(gap.to);
                    drained.messages.push(gap.message);
                    turn.outcome = Outcome::Read { end: lacks.end, behind: None, all: false };
                    continue;
                }
                bytes.extend(lacks.large.iter().flatten());
                if bytes.len() > left {
                    left = 0;
                    continue;
                }
                left -= bytes.len();
                let (len, messages) = (bytes.len(), frame::messages(&Bytes::from(bytes)));
                turn.parts = lacks.parts.into();
                turn.begun(messages.len() as u64, len);
                drained.messages.extend(messages);
                turn.outcome = match lacks.is_lost {
                    true => Outcome::Lost { end: lacks.end },
                    false => Outcome::Read { end: lacks.end, behind: lacks.behind, all: true },
                };
            }
        }
        let step =
            Step { begun, control: 0, progressed: most > 0, is_full: left == 0, has_more: false };
        let more = outlet.finish(&cx, pen, &step, &mut turns);
        turns.drain(..).for_each(|turn| turn.seat.released());
        if !more {
            return drained;
        }
    }
}
