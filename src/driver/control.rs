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
        let quota = config.control_frames;
        let rate = quota.rate();
        let window = Duration::try_from_secs_f64(f64::from(quota.at_once()) / rate);
        // Where nothing is ever earned, it does not matter for how long.
        let window = window.unwrap_or(Duration::MAX);
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
        self.refilled = since;
        if frames > 0 {
            self.refilled += Duration::from_secs_f64(f64::from(frames) / self.rate);
        }
        frames
    }
}
