//! Say how much there is in a time.

use std::time::Duration;

/// So much in a time, and so much at once.
///
/// Zero is nothing, not "no limit": with a rate or a burst of zero, whatever costs anything is over
/// the quota.
#[must_use]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    pub(super) rate: u32,
    per: Duration,
    pub(super) burst: u32,
}

impl Quota {
    /// `count` each second, and as many at once.
    pub const fn per_second(count: u32) -> Self {
        Self::per(count, Duration::from_secs(1))
    }

    /// `count` each minute, and as many at once.
    pub const fn per_minute(count: u32) -> Self {
        Self::per(count, Duration::from_secs(60))
    }

    /// At most `count` at once: what may be used up in a moment after a pause.
    pub const fn burst(mut self, count: u32) -> Self {
        self.burst = count;
        self
    }

    const fn per(count: u32, per: Duration) -> Self {
        Self { rate: count, per, burst: count }
    }

    /// How long one takes to be there again; for ever, if there are none.
    pub(crate) fn interval(self) -> Duration {
        self.per.checked_div(self.rate).map_or(Duration::MAX, |it| it.max(Duration::from_nanos(1)))
    }

    /// How many there are after a pause.
    pub(crate) const fn at_once(self) -> u32 {
        self.burst
    }
}
