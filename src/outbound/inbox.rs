//! Decide what may be written to a connection, by whom, and what is too much: rules, without a socket.
//!
//! All of it stands under one short lock, the [`Outlet`](crate::outbound::Outlet)'s, and each function here
//! is one critical section or a part of one. The pen is in, or somebody writes at this moment. Then:
//!
//! * **Nothing sleeps.** After every critical section, if the pen is in, nothing is parked, and there is
//!   something to write, the driver is awake. If it is parked, the driver is awake or waits for the
//!   socket. Whoever finds the pen out only leaves what it has: who puts the pen back looks.
//! * **A walker writes log bytes to a clean socket and nothing else.** It gets no pen while something of
//!   the connection's own waits, or another room's news, or the rest of a frame: order, and one write
//!   for all of it, are the driver's.
//! * **What is over the bound is decided once**, by whoever makes the sum pass. A room that goes on without
//!   those who are behind is left behind there; *where* they stand is left to who has the pen.

use std::{collections::VecDeque, sync::Arc, task::Waker};

use tokio::time::Instant;

use crate::{
    outbound::{
        dropped::{Dropped, Queued},
        lags::{Lags, Outcome, Turn},
        latest::Latest,
        limits::{Encoded, OutboundLimits, STALLED},
        pen::Pen,
        seat::Seat,
        slow_member::SlowMember,
        view::View,
    },
    quota::clock,
};

/// What waits for one peer.
pub(super) struct Inbox {
    pen: Option<Pen>,
    /// Walkers may take the pen: it has a socket.
    direct: bool,
    /// The socket took less than there was, or the driver has something of its own in its hands: only
    /// the driver may take the pen.
    parked: bool,
    /// The driver found the pen out.
    wanted: bool,
    /// Replies, pushes and notices, first in first out.
    pub(super) own: VecDeque<Queued>,
    /// What a later value of the same key replaces, as long as the driver has not begun with it.
    pub(super) latest: Latest,
    pub(super) lags: Lags,
    /// Payload and overhead of what is queued here, or taken by the driver and not yet begun.
    pub(super) queued: usize,
    /// Bytes begun and not yet taken by the socket.
    pub(super) in_flight: usize,
    /// Messages queued here or taken and not yet begun.
    pub(super) messages: usize,
    pub(super) peak_bytes: usize,
    /// Bytes that the session may hold; the connection's limits hold besides.
    pub(super) bound: usize,
    /// When the socket last took something, if there is anything left that it has not taken.
    moved: Option<Instant>,
    /// What of `queued` and `in_flight` the account is charged.
    pub(super) charged: usize,
    /// What walkers have written since the driver last looked.
    walked: Walked,
    pub(super) end: End,
    pub(super) waker: Option<Waker>,
}

/// Whether anything is accepted, and what the driver has to be told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    Open,
    /// Nothing is accepted any more; what was may still go out.
    Sealed,
    /// The bound was passed; the driver has not acted on it yet.
    Overflowed,
    /// The process's budget is used up; the driver has not acted on it yet.
    Evicted,
    /// A walker's write failed.
    Broken,
    /// Nothing is accepted, and nothing goes out but the end.
    Closed,
    /// The driver's task is over.
    Over,
}

/// What walkers have written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Walked {
    pub(crate) bytes: u64,
    pub(crate) frames: u64,
}

/// What the driver has to write.
#[derive(Debug)]
pub(crate) enum Begin {
    /// Nothing.
    Nothing,
    /// Something, with this pen.
    Write(Pen),
    /// Something, and a walker has the pen: it wakes the driver.
    PenIsOut,
    /// The bound was passed: the queue is gone.
    Overflowed,
    /// The process needs the memory: the queue is gone.
    Evicted,
    /// The socket failed.
    Broken,
}

/// What a step of the driver's came to.
#[derive(Debug)]
pub(crate) struct Step {
    /// What has left the queue.
    pub(crate) begun: Encoded,
    /// Control frames that wait.
    pub(crate) control: usize,
    /// The socket has taken something.
    pub(crate) progressed: bool,
    /// It takes no more.
    pub(crate) is_full: bool,
    /// The driver has something in its hands that is not begun.
    pub(crate) has_more: bool,
}

/// What a walker's visit came to.
#[derive(Debug)]
pub(super) enum Visit {
    /// It may write.
    Write(Pen),
    /// It left what it had; the driver is to be woken, or not.
    Left { wake: bool },
    /// Nothing is heard here any more.
    Over,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            pen: Some(Pen::default()),
            direct: false,
            parked: false,
            wanted: false,
            own: VecDeque::new(),
            latest: Latest::default(),
            lags: Lags::default(),
            queued: 0,
            in_flight: 0,
            messages: 0,
            peak_bytes: 0,
            bound: usize::MAX,
            moved: None,
            charged: 0,
            walked: Walked::default(),
            end: End::Open,
            waker: None,
        }
    }

    /// Walkers write to the socket of `pen`, too.
    pub(super) fn attach(&mut self, pen: Pen) {
        self.direct = pen.socket.is_some();
        self.pen = Some(pen);
    }

    pub(super) fn is_direct(&self) -> bool {
        self.direct
    }

    /// What is held for the peer, as a part of the bound in bytes: a message counts as no less than
    /// `share`.
    pub(super) fn held(&self, share: usize) -> usize {
        self.bytes().max(self.messages.saturating_mul(share))
    }

    /// Whether nothing of the connection's own waits here.
    fn has_no_own(&self) -> bool {
        self.own.is_empty() && self.latest.is_empty()
    }

    /// What the peer lacks, in bytes: of its own, and of its rooms.
    pub(super) fn bytes(&self) -> usize {
        self.queued.saturating_add(self.in_flight).saturating_add(self.lags.bytes())
    }

    /// Whether the peer is behind by more than half of what may be held for it, although it keeps
    /// reading. One whose socket has taken nothing for a second does not count.
    pub(super) fn is_crowded(&self, limits: OutboundLimits) -> bool {
        let moving = |at| clock::now().saturating_duration_since(at) < STALLED;
        self.held(limits.share()) > limits.bytes.min(self.bound) / 2
            && self.end == End::Open
            && self.moved.is_none_or(moving)
    }

    /// Whether waking the driver now leads to anything: while it is parked, the socket wakes it.
    pub(super) fn heeds_news(&self) -> bool {
        !self.parked && self.pen.is_some()
    }

    /// A walker comes by with news of `seat`'s room.
    pub(super) fn visit<S: Seat + 'static>(
        &mut self,
        seat: &Arc<S>,
        view: &View,
        limits: OutboundLimits,
        dropped: &mut Dropped,
    ) -> Visit {
        if self.end != End::Open {
            return Visit::Over;
        }
        let is_clean = self.direct
            && !self.parked
            && !self.wanted
            && self.has_no_own()
            && self.lags.nothing_is_listed();
        match self.pen.take_if(|pen| is_clean && pen.rest.is_empty()) {
            Some(pen) => Visit::Write(pen),
            None => Visit::Left { wake: self.leave(seat, view, limits, dropped) },
        }
    }

    /// Leaves the news of `seat`'s room to the driver; says whether to wake it.
    pub(super) fn leave<S: Seat + 'static>(
        &mut self,
        seat: &Arc<S>,
        view: &View,
        limits: OutboundLimits,
        dropped: &mut Dropped,
    ) -> bool {
        if self.end != End::Open || seat.is_gone() || seat.cursor().position() >= view.end() {
            return false;
        }
        let is_news = self.lags.list(
            seat.cursor(),
            || Arc::clone(seat) as Arc<dyn Seat>,
            view.end(),
            |position| view.hold_at(position),
        );
        let most = limits.bytes.min(self.bound);
        self.peak_bytes = self.peak_bytes.max(self.bytes().min(most));
        if self.bytes() > most && !self.make_room(0, most, dropped) {
            self.shut(End::Overflowed, dropped);
            return true;
        }
        is_news && self.heeds_news()
    }

    /// A walker puts the pen back, after a write of so much; says whether to wake the driver.
    pub(super) fn put_back(&mut self, pen: Pen, walked: Walked, is_full: bool) -> bool {
        self.in_flight = pen.rest.held();
        self.pen = Some(pen).filter(|_| self.end != End::Over);
        self.walked.bytes += walked.bytes;
        self.walked.frames += walked.frames;
        self.parked |= is_full;
        if is_full && (walked.bytes > 0 || self.moved.is_none()) {
            self.moved = Some(clock::now());
        }
        is_full
            || self.wanted
            || self.end != End::Open
            || !self.has_no_own()
            || !self.lags.nothing_is_listed()
    }

    /// The driver begins a step: it gets what there is to write, and the pen. `is_idle` says that it has
    /// nothing left from the last one.
    pub(super) fn begin(
        &mut self,
        is_idle: bool,
        taken: &mut VecDeque<Queued>,
        turns: &mut Vec<Turn>,
    ) -> Begin {
        match self.end {
            End::Open | End::Sealed | End::Closed | End::Over => {}
            End::Overflowed => return Begin::Overflowed,
            End::Evicted => return Begin::Evicted,
            End::Broken => return Begin::Broken,
        }
        if taken.is_empty() {
            std::mem::swap(&mut self.own, taken);
        } else {
            taken.append(&mut self.own);
        }
        if self.own.capacity() > KEPT_ENTRIES && self.own.is_empty() {
            self.own = VecDeque::new();
        }
        let nothing =
            is_idle && taken.is_empty() && self.latest.is_empty() && self.lags.nothing_is_listed();
        if nothing && self.pen.as_ref().is_none_or(|pen| pen.rest.is_empty()) {
            (self.parked, self.wanted) = (false, false);
            return Begin::Nothing;
        }
        let Some(pen) = self.pen.take() else {
            self.wanted = true;
            return Begin::PenIsOut;
        };
        (self.parked, self.wanted) = (false, false);
        // What the driver has in its hands is not replaced: it takes what it can begin with.
        if is_idle && pen.rest.is_empty() {
            taken.extend(self.latest.take_all());
        }
        self.lags.take(SEATS_PER_STEP, turns);
        Begin::Write(pen)
    }

    /// The driver puts the pen back; says whether there is more to write at once. The seats whose room may
    /// cut its log are left in `turns`.
    pub(super) fn finish(&mut self, pen: Pen, step: &Step, turns: &mut Vec<Turn>) -> bool {
        self.in_flight = pen.rest.held().saturating_add(step.control);
        self.pen = Some(pen).filter(|_| self.end != End::Over);
        self.queued = self.queued.saturating_sub(step.begun.charge);
        self.messages = self.messages.saturating_sub(step.begun.messages);
        // From the last, because those that were not touched go back to the front.
        for turn in turns.iter_mut().rev() {
            let ends = match turn.outcome {
                Outcome::Lost { .. } => turn.seat.when_slow() == SlowMember::Close,
                Outcome::Untold => true,
                _ => false,
            };
            if ends && self.end == End::Open {
                self.end = End::Overflowed;
            }
            self.lags.settle(turn);
        }
        turns.retain(Turn::has_released);
        if self.bytes() == 0 {
            self.moved = None;
        } else if step.progressed || self.moved.is_none() {
            self.moved = Some(clock::now());
        }
        // What the driver has in its hands is older than what a walker comes with: the `joined` of its room.
        self.parked = step.is_full || step.has_more;
        // An end that came meanwhile did not wake the driver, and no socket has to be waited for.
        matches!(self.end, End::Overflowed | End::Evicted | End::Broken)
            || !step.is_full
                && (step.has_more || !self.has_no_own() || !self.lags.nothing_is_listed())
    }

    /// The driver has more to write than its turn has time for.
    pub(super) fn reserve(&mut self) {
        self.parked = true;
    }

    /// The driver takes the pen for good, if it is in.
    pub(super) fn take_pen(&mut self) -> Option<Pen> {
        self.wanted = self.pen.is_none();
        self.pen.take()
    }

    /// What walkers have written since the last call.
    pub(super) fn take_walked(&mut self) -> Walked {
        std::mem::take(&mut self.walked)
    }

    #[cfg(test)]
    pub(super) fn state(
        &self,
        held_from: impl Fn(&crate::outbound::Hold) -> Option<u64>,
        into: &mut impl std::hash::Hasher,
    ) {
        use std::hash::Hash;
        let pen = self.pen.as_ref().map(|it| it.rest.as_bytes());
        (pen, self.parked, self.wanted, self.end as u8, self.waker.is_some()).hash(into);
        let own = self.own.iter().map(|it| it.message.as_bytes());
        own.collect::<Vec<_>>().hash(into);
        self.lags.state(held_from, into);
        (self.queued, self.in_flight, self.messages).hash(into);
    }

    /// Ends it: what is queued and not in the driver's hands is given up.
    pub(super) fn shut(&mut self, end: End, dropped: &mut Dropped) {
        self.end = end;
        let mut own = std::mem::take(&mut self.own);
        own.extend(self.latest.take_all());
        let mut given_up = Encoded::default();
        own.iter().for_each(|entry| given_up.add(&entry.message));
        self.queued = self.queued.saturating_sub(given_up.charge);
        self.messages = self.messages.saturating_sub(given_up.messages);
        dropped.add(own);
        dropped.release(self.lags.clear());
    }
}

/// Room for this many messages is kept when the queue has been emptied: a push now and then allocates
/// nothing. More is given back.
pub(crate) const KEPT_ENTRIES: usize = 16;

/// Rooms that go out together in one write, at most.
const SEATS_PER_STEP: usize = 16;

#[cfg(test)]
#[path = "tests/model_outlet.rs"]
mod model_outlet;
#[cfg(test)]
#[path = "tests/model_outlet_end.rs"]
mod model_outlet_end;
#[cfg(test)]
#[path = "tests/model_outlet_skip.rs"]
mod model_outlet_skip;
