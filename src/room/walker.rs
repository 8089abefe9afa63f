//! Go round the members of a room that has something to say.
//!
//! A walk is a task for a lane of a room. It begins when something is published while none goes round, and
//! ends when all members of the lane have been offered everything. Each step takes a view of the log
//! and some members under the room's lock; then, without it, writes to each what it lacks, or leaves that to
//! its driver. So nobody waits for a member, and what is published meanwhile goes out with the next write.
//!
//! * A walk is over in the same hold of the lock in which it is seen that nothing was published since the
//!   *first* step of its circle: those who were visited first have not been offered what came later.
//! * A walk that ends otherwise, because its runtime does or by a panic, goes round once more without
//!   writing: each member's driver has a runtime of its own.

use std::sync::Arc;

use tokio::{runtime::Handle, task::yield_now};

use crate::{
    outbound::{Dropped, Outlet, Seat, View},
    room::members::{Circle, STEP},
};

/// What has members to go round.
pub(super) trait Walked: Send + Sync + 'static {
    type Member: Seat + 'static;

    /// The next step of a circle of `lane`: what is to be offered, and to whom. Says whether there is
    /// another step to come.
    fn step(
        &self,
        lane: usize,
        circle: &mut Circle,
        view: &mut View,
        members: &mut Vec<Arc<Self::Member>>,
    ) -> bool;

    /// A circle is over; says whether the walk is, too.
    fn circle_ends(&self, lane: usize, circle: &Circle) -> bool;

    /// Where what is said to `member` goes out.
    fn outlet(member: &Self::Member) -> &Outlet;
}

/// A walk round one lane.
pub(super) struct Walk<T: Walked> {
    room: Arc<T>,
    lane: usize,
    view: View,
    members: Vec<Arc<T::Member>>,
    is_over: bool,
}

impl<T: Walked> Walk<T> {
    pub(super) fn new(room: Arc<T>, lane: usize) -> Self {
        Self {
            room,
            lane,
            view: View::default(),
            members: Vec::with_capacity(STEP),
            is_over: false,
        }
    }

    /// Walks on `runtime`; without one, at once, and without writing.
    pub(super) fn start(self, runtime: Option<&Handle>) {
        if let Some(runtime) = runtime {
            drop(runtime.spawn(self.run()));
        }
    }

    async fn run(mut self) {
        while !self.is_over {
            // What is published by those who are ready now goes out with the first write.
            yield_now().await;
            let mut circle = Circle::default();
            while self.step(&mut circle, true) {
                yield_now().await;
            }
            self.ends(&circle);
        }
    }

    /// A circle is over, and maybe the walk.
    pub(super) fn ends(&mut self, circle: &Circle) {
        self.is_over = self.room.circle_ends(self.lane, circle);
    }

    #[cfg(test)]
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Visits some members; says whether there are others in this circle.
    pub(super) fn step(&mut self, circle: &mut Circle, writes: bool) -> bool {
        let Self { room, lane, view, members, .. } = self;
        let more = room.step(*lane, circle, view, members);
        // As members are looked at in the room: what lies behind them, in one go.
        members.iter().for_each(|member| T::outlet(member).touch());
        // Dropped when the members have been served.
        let mut dropped = Dropped::default();
        for member in members.drain(..) {
            let outlet = T::outlet(&member);
            circle.crowded |= if writes {
                outlet.visit(&member, view, &mut dropped)
            } else {
                outlet.leave(&member, view, &mut dropped)
            };
        }
        view.forget();
        more
    }
}

impl<T: Walked> Drop for Walk<T> {
    fn drop(&mut self) {
        while !self.is_over {
            let mut circle = Circle::default();
            while self.step(&mut circle, false) {}
            self.ends(&circle);
        }
    }
}
