//! One connection, and all orders in which its walkers, its driver, pushes and its peer can meet.
//!
//! The rules are the crate's own. Here are a kernel that takes only as much as the peer has made room for, and
//! a driver and walkers that do no more than what `writer.rs` and `outlet/` do between two critical sections.
//! Whatever is accepted has to come out by itself: nobody calls again after the last of them.

use std::{
    hash::{Hash, Hasher},
    mem::take,
    sync::{Mutex, atomic::AtomicBool},
};

use bytes::Bytes;

use self::{
    driver::Driver,
    peer::{Heard, Kernel, Place, message},
};
use super::*;
use crate::outbound::{
    explore::{World, explore},
    frame::Frame,
    seat::Cursor,
};

pub(super) use self::peer::FRAME;

#[path = "model_driver.rs"]
mod driver;
#[path = "model_peer.rs"]
mod peer;

/// How a world is made.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// Publications in each room.
    pub(super) said: [u8; 2],
    pub(super) pushes: u8,
    /// What the kernel takes at first, in bytes, and then each time that the peer reads.
    pub(super) room: usize,
    pub(super) reads: &'static [usize],
    pub(super) bound: usize,
    pub(super) closes: bool,
    /// Rooms go on without who is too far behind.
    pub(super) skips: bool,
}

impl Plan {
    pub(super) const ORDINARY: Self = Self {
        said: [0; 2],
        pushes: 0,
        room: 0,
        reads: &[],
        bound: ENOUGH,
        closes: false,
        skips: false,
    };
}

pub(super) struct Model {
    plan: Plan,
    inbox: Inbox,
    /// The driver will look: as the outlet's flag.
    awake: bool,
    /// The driver's task is to be polled.
    woken: bool,
    driver: Driver,
    walkers: [Walker; 2],
    places: [Arc<Place>; 2],
    pushed: u8,
    kernel: Kernel,
    reads: usize,
    closed: bool,
    heard: Heard,
}

#[derive(Default)]
struct Walker {
    said: u8,
    /// It has not been round with all that was said.
    walks: bool,
    view: View,
    pen: Option<Pen>,
    wrote: Option<(Walked, bool)>,
}

impl Model {
    pub(super) fn new(plan: Plan) -> Self {
        let mut inbox = Inbox::new();
        inbox.direct = true;
        let slow_member = if plan.skips { SlowMember::Skip } else { SlowMember::Close };
        let place = |source| {
            let (log, gone) = (Mutex::default(), AtomicBool::new(false));
            Arc::new(Place { source, slow_member, log, cursor: Cursor::new(0), gone })
        };
        Self {
            plan,
            inbox,
            awake: true,
            woken: true,
            driver: Driver::default(),
            walkers: Default::default(),
            places: [place(0), place(1)],
            pushed: 0,
            kernel: Kernel { room: plan.room, ..Kernel::default() },
            reads: 0,
            closed: false,
            heard: Heard::default(),
        }
    }

    fn limits(&self) -> OutboundLimits {
        OutboundLimits::of(self.plan.bound, 1000)
    }

    fn wake(&mut self) {
        self.woken |= !std::mem::replace(&mut self.awake, true);
    }

    fn walk(&mut self, at: usize) {
        let (limits, pushed) = (self.limits(), self.heard_or_pushed());
        let (walker, place) = (&mut self.walkers[at], &self.places[at]);
        let mut dropped = Dropped::default();
        if let Some((walked, is_full)) = walker.wrote.take() {
            let mut wake = self.inbox.put_back(walker.pen.take().unwrap(), walked, is_full);
            wake |= self.inbox.leave(place, &walker.view, limits, &mut dropped);
            if wake {
                self.wake();
            }
            self.is_within();
        } else if let Some(pen) = &mut walker.pen {
            assert!(pen.rest.is_empty(), "only the driver writes what is left of a frame");
            let position = place.cursor.position();
            let bytes = walker.view.from(position);
            let taken = self.kernel.write(&mut self.heard, bytes);
            if taken > 0 {
                let cut = walker.view.cut(position, u64::MAX, taken);
                pen.rest = cut.rest;
                place.cursor.set_position(cut.end);
            }
            walker.wrote = Some((Walked { bytes: taken as u64, frames: 0 }, taken < bytes.len()));
        } else if take(&mut walker.walks) {
            match self.inbox.visit(place, &walker.view, limits, &mut dropped) {
                Visit::Write(pen) => {
                    assert!(self.inbox.own.is_empty() && self.inbox.end == End::Open);
                    walker.pen = Some(pen);
                }
                Visit::Left { wake: true } => self.wake(),
                Visit::Left { wake: false } => {}
                Visit::Over => assert_ne!(self.inbox.end, End::Open),
            }
            self.is_within();
        } else {
            let mut log = place.log.lock().unwrap();
            log.extend_from_slice(&Frame::of(&message(at, walker.said, pushed)).bytes);
            walker.said += 1;
            walker.walks = true;
            walker.view.begin(0);
            for frame in log.chunks(FRAME) {
                walker.view.add(&Bytes::copy_from_slice(frame), usize::MAX);
            }
        }
    }

    /// When a walker has come by. What the driver has seen before that is not decided yet, nor the rest of a
    /// frame.
    fn is_within(&self) {
        assert!(self.inbox.end != End::Open || self.inbox.bytes() <= self.plan.bound + FRAME);
    }

    /// What a frame that is said now comes behind.
    fn heard_or_pushed(&self) -> u8 {
        if self.inbox.end == End::Open { self.pushed } else { 0 }
    }

    fn push(&mut self) {
        let entry = Queued { message: message(2, self.pushed, 0), borrowed: false };
        self.pushed += 1;
        if self.inbox.end == End::Open {
            let mut charge = Encoded::default();
            charge.add(&entry.message);
            self.inbox.queued += charge.charge;
            self.inbox.messages += 1;
            self.inbox.own.push_back(entry);
            if self.inbox.heeds_news() {
                self.wake();
            }
        }
    }

    fn shut(&mut self, end: End) {
        let mut dropped = Dropped::default();
        self.inbox.shut(end, &mut dropped);
        self.wake();
    }

    /// Nothing sleeps; and what is counted is there, and not more than may be.
    fn check(&self) {
        let Inbox { pen, parked, own, lags, end, .. } = &self.inbox;
        let nothing = own.is_empty() && lags.nothing_is_listed() && self.driver.taken.is_empty();
        let is_clean = pen.as_ref().is_some_and(|pen| pen.rest.is_empty());
        assert!(
            nothing && is_clean
                || pen.is_none()
                || self.driver.over
                || self.driver.last.is_some()
                || self.woken
                || *parked && self.kernel.registered,
            "asleep"
        );
        if nothing && is_clean {
            assert_eq!(self.inbox.bytes(), 0, "nothing is there, and something is counted");
        }
        if *end != End::Open {
            assert_eq!((lags.bytes(), own.len()), (0, 0), "after the end nothing is counted");
        }
    }
}

impl World for Model {
    fn able(&self) -> Vec<usize> {
        let Driver { pen, over, .. } = &self.driver;
        let walks = |at: usize| {
            let it = &self.walkers[at];
            it.pen.is_some() || it.walks || it.said < self.plan.said[at]
        };
        let can = [
            !over && (self.woken || pen.is_some()),
            walks(0),
            walks(1),
            self.pushed < self.plan.pushes,
            self.reads < self.plan.reads.len(),
            self.plan.closes && !self.closed,
        ];
        (0..can.len()).filter(|who| can[*who]).collect()
    }

    fn act(&mut self, who: usize) {
        match who {
            0 => self.drive(),
            1 | 2 => self.walk(who - 1),
            3 => self.push(),
            4 => {
                self.kernel.room += self.plan.reads[self.reads];
                self.reads += 1;
                self.woken |= take(&mut self.kernel.registered);
            }
            _ => {
                // A signal: its driver ends it.
                self.closed = true;
                self.wake();
            }
        }
        self.check();
    }

    fn state(&self, into: &mut impl Hasher) {
        let pen = |pen: &Option<Pen>| pen.as_ref().map(|it| it.rest.as_bytes().to_vec());
        let ids = |it: &VecDeque<Queued>| {
            it.iter().map(|it| it.message.clone().into_bytes()).collect::<Vec<_>>()
        };
        self.inbox.state(|_| None, into);
        let Driver { taken, turns, wrote, close, last, .. } = &self.driver;
        (pen(&self.driver.pen), ids(taken), pen(last), self.driver.ends, close, self.driver.over)
            .hash(into);
        for turn in turns {
            (turn.seat.cursor().entry(), format!("{:?}", turn.outcome)).hash(into);
        }
        format!("{wrote:?}").hash(into);
        for (it, place) in self.walkers.iter().zip(&self.places) {
            (
                it.said,
                it.walks,
                it.view.end(),
                pen(&it.pen),
                it.wrote.map(|(it, full)| (it.bytes, full)),
            )
                .hash(into);
            let cursor = &place.cursor;
            (cursor.position(), cursor.leaps_to(), cursor.entry()).hash(into);
            place.log.lock().unwrap().hash(into);
        }
        (self.awake, self.woken, self.pushed, self.kernel.room, self.kernel.registered).hash(into);
        (self.reads, self.closed, &self.heard).hash(into);
    }

    fn rests(&self) {
        let Plan { said: [first, second], pushes, .. } = self.plan;
        match self.inbox.end {
            End::Open if self.plan.reads.is_empty() => {
                // And what is left of a notice.
                assert!(self.inbox.bytes() <= self.plan.bound + FRAME);
                assert!(self.kernel.registered);
            }
            End::Open => {
                assert_eq!(self.heard.counts, [first, second, pushes], "it lies there");
                assert!(self.heard.partial.is_empty());
            }
            End::Over => assert_eq!((self.heard.closes, self.inbox.bytes()), (1, 0)),
            // The peer does not read.
            _ => {
                assert!(self.kernel.registered && self.driver.ends);
                assert_eq!((self.inbox.queued, self.inbox.messages, self.heard.closes), (0, 0, 0));
            }
        }
    }
}

// covers: DL-03, DL-13
#[test]
fn what_walkers_and_pushes_say_comes_out_by_itself_whole_and_in_order() {
    let reads: &[usize] = &[3, 100];
    let plan = Plan { said: [2, 1], pushes: 1, room: 6, reads, ..Plan::ORDINARY };
    assert!(explore(ALL, || Model::new(plan)) > 1_000);
}

// covers: DL-03, DL-13
#[test]
fn what_the_driver_has_in_its_hands_no_walker_overtakes() {
    // A kernel that is full behind a whole frame: nothing is left of one, and the next is not begun.
    let reads: &[usize] = &[FRAME, 100];
    let plan = Plan { said: [2, 0], pushes: 2, room: FRAME, reads, ..Plan::ORDINARY };
    assert!(explore(ALL, || Model::new(plan)) > 1_000);
}

/// Deeper than any order of calls.
pub(super) const ALL: usize = 100;

/// A bound that is never passed.
pub(super) const ENOUGH: usize = 1 << 20;
