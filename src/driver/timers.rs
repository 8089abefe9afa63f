//! Keep a connection's deadlines: a table of named times, the first of which is always known.

use std::{
    num::NonZeroU64,
    time::{Duration, Instant},
};

/// A named deadline.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Timer {
    Auth,
    Session,
    Handler,
    Message,
    Ping,
    Pong,
    Idle,
    Write,
    Quiet,
    Close,
}

/// The deadlines that are set.
#[derive(Debug)]
pub(crate) struct Timers {
    /// What times are counted from.
    zero: Instant,
    deadlines: [Option<Tick>; Timer::ALL.len()],
    /// The first of them that runs; or, if `stale`, no later than it.
    first: Option<Tick>,
    stale: bool,
    /// Those that stand still have done so since this time.
    paused: Option<Tick>,
}

/// Nanoseconds, one more than there are from a connection's zero: half as large as an instant that may be
/// none, of which each connection has a dozen. Enough for five centuries; what is later is none.
type Tick = NonZeroU64;

impl Timer {
    pub(crate) const ALL: [Self; 10] = [
        Self::Auth,
        Self::Session,
        Self::Handler,
        Self::Message,
        Self::Ping,
        Self::Pong,
        Self::Idle,
        Self::Write,
        Self::Quiet,
        Self::Close,
    ];

    /// Whether the deadline stands still while the driver does not read.
    fn pauses(self) -> bool {
        matches!(self, Self::Message | Self::Pong | Self::Idle)
    }
}

impl Timers {
    /// None is set; no time before `zero` is told apart from it.
    pub(crate) fn new(zero: Instant) -> Self {
        Self { zero, deadlines: [None; Timer::ALL.len()], first: None, stale: false, paused: None }
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.at(timer).is_some()
    }

    /// Sets a deadline `time` from `now`. A time too long for the clock to count is never over.
    pub(crate) fn start(&mut self, timer: Timer, now: Instant, time: Duration) {
        self.set(timer, now.checked_add(time));
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.set_at(timer, None);
    }

    pub(crate) fn set(&mut self, timer: Timer, deadline: Option<Instant>) {
        self.set_at(timer, deadline.and_then(|it| self.tick(it)));
    }

    fn set_at(&mut self, timer: Timer, deadline: Option<Tick>) {
        let Some(slot) = self.deadlines.get_mut(timer as usize) else { return };
        let old = std::mem::replace(slot, deadline);
        if old.is_some() && old == self.first {
            self.stale = true;
        }
        let runs = self.paused.is_none() || !timer.pauses();
        if let Some(deadline) = deadline.filter(|_| runs)
            && self.first.is_none_or(|first| deadline < first)
        {
            self.first = Some(deadline);
        }
    }

    /// Stops them all.
    pub(crate) fn clear(&mut self) {
        self.deadlines = Default::default();
        self.first = None;
        self.stale = false;
    }

    /// The first deadline that runs.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.first_at().map(|it| self.instant(it))
    }

    fn first_at(&self) -> Option<Tick> {
        if !self.stale {
            return self.first;
        }
        let runs = |timer: &Timer| self.paused.is_none() || !timer.pauses();
        Timer::ALL.into_iter().filter(runs).filter_map(|timer| self.at(timer)).min()
    }

    /// Whether any deadline has passed. Where nothing has changed, that is one comparison.
    pub(crate) fn any_is_due(&mut self, now: Instant) -> bool {
        // Looked for only when the first one is gone: most turns move none, or a later one.
        self.first = self.first_at();
        self.stale = false;
        self.first.is_some_and(|first| self.instant(first) <= now)
    }

    /// Stops `timer` if it has passed, and says so.
    pub(crate) fn take_due(&mut self, timer: Timer, now: Instant) -> bool {
        let stands_still = timer.pauses() && self.paused.is_some();
        let due = !stands_still && self.get(timer).is_some_and(|deadline| deadline <= now);
        if due {
            self.stop(timer);
        }
        due
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// Lets those that pause stand still.
    pub(crate) fn pause(&mut self, now: Instant) {
        if self.paused.is_none() {
            self.paused = self.tick(now);
            self.stale = true;
        }
    }

    /// Lets them run again, later by as much as they stood still; says by how much.
    pub(crate) fn resume(&mut self, now: Instant) -> Duration {
        let Some(since) = self.paused.take() else { return Duration::ZERO };
        let stood_still = now.saturating_duration_since(self.instant(since));
        for timer in Timer::ALL.into_iter().filter(|timer| timer.pauses()) {
            let deadline = self.get(timer);
            self.set(timer, deadline.and_then(|it| it.checked_add(stood_still)));
        }
        stood_still
    }

    pub(crate) fn get(&self, timer: Timer) -> Option<Instant> {
        self.at(timer).map(|it| self.instant(it))
    }

    fn at(&self, timer: Timer) -> Option<Tick> {
        self.deadlines.get(timer as usize).copied().flatten()
    }

    fn tick(&self, at: Instant) -> Option<Tick> {
        let since = at.saturating_duration_since(self.zero);
        let nanos = since.as_secs().checked_mul(NANOS)?.checked_add(since.subsec_nanos().into())?;
        Tick::new(nanos.checked_add(1)?)
    }

    /// It was an instant once, and so is one.
    fn instant(&self, tick: Tick) -> Instant {
        self.zero.checked_add(Duration::from_nanos(tick.get() - 1)).unwrap_or(self.zero)
    }
}

const NANOS: u64 = 1_000_000_000;
