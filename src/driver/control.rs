//! Earn control frames at a rate, up to a burst.

use std::time::{Duration, Instant};

use crate::driver::config::ConnectionConfig;

/// What is earned since the last look.
#[derive(Debug)]
pub(crate) struct ControlBudget {
    rate: f64,
    /// What is earned in this time is a burst; more is never saved up.
    window: Duration,
    refilled: Instant,
}

impl ControlBudget {
    pub(crate) fn new(config: &ConnectionConfig, now: Instant) -> Self {
        let rate = f64::from(config.control_frames_per_second);
        let window = Duration::from_secs_f64(f64::from(config.control_frames_burst) / rate);
        Self { rate, window, refilled: now }
    }

    /// The peer has spent nothing of a burst: the time until now earns it nothing.
    pub(crate) fn is_full(&mut self, now: Instant) {
        self.refilled = now;
    }

    /// Frames that the peer may send again, for the time since this was last asked.
    pub(crate) fn refill(&mut self, now: Instant) -> u32 {
        let since = now.checked_sub(self.window).map_or(self.refilled, |it| it.max(self.refilled));
        // Whole frames only: the rest of the time stays on the account.
        let frames = (now.saturating_duration_since(since).as_secs_f64() * self.rate) as u32;
        self.refilled = since + Duration::from_secs_f64(f64::from(frames) / self.rate);
        frames
    }
}
