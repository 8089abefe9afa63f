//! Say how much there is in a time.

use std::{fmt, num::NonZeroU32, time::Duration};

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

    /// One part of `parts` in the same time, but one at least, and as many at once.
    pub(crate) const fn share(self, parts: NonZeroU32) -> Self {
        let rate = self.rate / parts.get();
        Self::per(if rate == 0 { 1 } else { rate }, self.per)
    }

    /// How many are there again each second.
    pub(crate) fn rate(self) -> f64 {
        f64::from(self.rate) / self.per.as_secs_f64()
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

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, per, burst } = self;
        match per.as_secs() {
            1 => write!(f, "{rate} each second, {burst} at once"),
            60 => write!(f, "{rate} each minute, {burst} at once"),
            seconds => write!(f, "{rate} each {seconds} s, {burst} at once"),
        }
    }
}
