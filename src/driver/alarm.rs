//! Wake the connection's task for its next deadline.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Waker},
    time::Instant,
};

use tokio::{
    task::coop::has_budget_remaining,
    time::{Sleep, sleep_until},
};

/// The connection's one timer.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: Pin<Box<Sleep>>,
    /// Whom the timer wakes.
    armed: Option<Waker>,
}

impl Alarm {
    pub(crate) fn new(deadline: Instant) -> Self {
        Self { timer: Box::pin(sleep_until(deadline.into())), armed: None }
    }

    /// Sees to it that the task wakes for `deadline`, or earlier.
    ///
    /// Deadlines move with nearly every message; the timer moves only when it would come too late.
    #[inline]
    pub(crate) fn set(&mut self, deadline: Instant, cx: &mut Context<'_>) {
        let armed = self.armed.as_ref().is_some_and(|it| it.will_wake(cx.waker()));
        if !armed || self.is_late(deadline) {
            self.arm(deadline, cx);
        }
    }

    fn is_late(&self, deadline: Instant) -> bool {
        self.timer.is_elapsed() || deadline < self.timer.deadline().into_std()
    }

    fn arm(&mut self, deadline: Instant, cx: &mut Context<'_>) {
        if self.is_late(deadline) {
            self.timer.as_mut().reset(deadline.into());
        }
        // Without budget left, tokio does not look at the timer, and asks for another turn.
        self.armed = has_budget_remaining().then(|| cx.waker().clone());
        if self.timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}
