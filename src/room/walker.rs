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
    outbound::{Dropped, View},
    room::{
        members::{Circle, STEP},
        state::{Room, Subscriber},
    },
};

/// A walk round one lane.
pub(super) struct Walk<R: 'static> {
    room: Arc<Room<R>>,
    lane: usize,
    view: View,
    seats: Vec<Arc<Subscriber<R>>>,
    is_over: bool,
}

impl<R: 'static> Walk<R> {
    pub(super) fn new(room: Arc<Room<R>>, lane: usize) -> Self {
        Self { room, lane, view: View::default(), seats: Vec::with_capacity(STEP), is_over: false }
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
            self.is_over = self.room.circle_ends(self.lane, &circle);
        }
    }

    /// Visits some members; says whether there are others in this circle.
    fn step(&mut self, circle: &mut Circle, writes: bool) -> bool {
        let Self { room, lane, view, seats, .. } = self;
        let more = room.step(*lane, circle, view, seats);
        // Dropped when the members have been served.
        let mut dropped = Dropped::default();
        for seat in seats.drain(..) {
            let outlet = seat.connection().outbound();
            circle.crowded |= if writes {
                outlet.visit(&seat, view, &mut dropped)
            } else {
                outlet.leave(&seat, view, &mut dropped)
            };
        }
        view.forget();
        more
    }
}

impl<R: 'static> Drop for Walk<R> {
    fn drop(&mut self) {
        while !self.is_over {
            let mut circle = Circle::default();
            while self.step(&mut circle, false) {}
            self.is_over = self.room.circle_ends(self.lane, &circle);
        }
    }
}
