//! Be visited: what walks, drivers and the memory budget ask of a room and of those who are in it.

use std::sync::{Arc, atomic::Ordering};

use super::{Room, Subscriber};
use crate::{
    outbound::{
        Cursor, Dropped, Gap, Lacks, OutboundLimits, Outlet, Seat, SlowMember, View, budget::Evict,
    },
    quota::clock,
    room::{
        announce::{ANNOUNCED, GONE},
        lane::SlotIndex,
        members::{Circle, Indexed},
        scope::{self, RoomNotice},
        walker::Walked,
    },
};

impl<R> Indexed for Subscriber<R> {
    fn index(&self) -> &SlotIndex {
        &self.index
    }

    fn lose(&self) -> bool {
        self.phase.swap(GONE, Ordering::AcqRel) == ANNOUNCED
    }

    fn limits(&self) -> OutboundLimits {
        self.connection.outbound().limits()
    }

    fn is_crowded(&self) -> bool {
        self.room.settings.slow_member == SlowMember::Close
            && self.connection.outbound().is_crowded()
    }

    fn touch(&self) {
        let phase = self.phase.load(Ordering::Relaxed);
        std::hint::black_box((phase, self.cursor.position(), self.connection.outbound()));
    }
}

impl<R: 'static> Seat for Subscriber<R> {
    fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    fn is_gone(&self) -> bool {
        self.is_gone() && self.cursor.until() == u64::MAX
    }

    fn when_slow(&self) -> SlowMember {
        self.room.settings.slow_member
    }

    fn read(&self, into: &mut Vec<u8>, most: usize) -> Option<Lacks> {
        let members = self.room.lock();
        if Seat::is_gone(self) {
            return None;
        }
        let (position, next) = self.cursor.span();
        let lacks =
            || Lacks { end: members.log.end().min(self.cursor.until()), ..Lacks::default() };
        if next == position {
            return Some(Lacks { has_gap: true, ..lacks() });
        }
        if let Some(oldest) = self.room.settings.max_lag.and_then(|it| clock::now().checked_sub(it))
            && members.log.is_older(position, oldest)
            && !self.cursor.is_replaying()
        {
            return Some(Lacks { is_lost: true, ..lacks() });
        }
        Some(members.log.read(&self.cursor, into, most))
    }

    fn gap(&self) -> Option<Gap> {
        let (to, position) = {
            let members = self.room.lock();
            let to = self.cursor.leaps_to().filter(|_| !Seat::is_gone(self))?;
            let to = if members.log.has_lost(to) { members.log.end() } else { to };
            (to, members.log.name(to))
        };
        let notice = RoomNotice::Gap(scope::Gap::new(self.name().clone()));
        let message = self.room.encoder.notice(notice, position)?;
        let fits = message.len() <= self.connection.outbound().limits().message_size;
        fits.then_some(Gap { to, message })
    }

    fn told(&self, to: u64) {
        let mut bytes = to.saturating_sub(self.cursor.position());
        if self.cursor.is_keyed() {
            // It forgets what it has heard, and gets what there is.
            bytes = 0;
            self.cursor.begin_anew(self.room.lock().log.end());
        } else {
            self.cursor.set_position(to);
        }
        self.connection.record_skipped(Arc::clone(&self.room.label), bytes);
    }

    fn released(&self) {
        self.room.lock().trim();
    }
}

impl<R: 'static> Walked for Room<R> {
    type Member = Subscriber<R>;

    fn step(
        &self,
        lane: usize,
        circle: &mut Circle,
        view: &mut View,
        members: &mut Vec<Arc<Subscriber<R>>>,
    ) -> bool {
        self.lock().step(lane, circle, view, members)
    }

    fn circle_ends(&self, lane: usize, circle: &Circle) -> bool {
        let over = self.lock().circle_ends(lane, circle);
        self.walked.notify_waiters();
        over
    }

    fn outlet(member: &Subscriber<R>) -> &Outlet {
        member.connection.outbound()
    }
}

impl<R: 'static> Evict for Room<R> {
    fn evict(&self, dropped: &mut Dropped) {
        let lost = {
            let mut members = self.lock();
            let lost = members.cut();
            if let Some(account) = members.log.account() {
                account.stay();
            }
            lost
        };
        for seat in lost {
            seat.connection.outbound().lose(&*seat, dropped);
        }
    }
}
