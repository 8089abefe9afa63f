//! Tell the time once for each turn of a connection.
//!
//! A turn handles up to 32 messages, each of which would ask the clock for its rate limits. The
//! driver asks once and lends the answer to whatever it calls. A turn is short; code that holds it up
//! sees time stand still, which gives no peer more than its due.

use std::cell::Cell;

use governor::clock::Clock;
use tokio::time::Instant;

/// A turn: while it lives, [`now`] answers with its time.
#[derive(Debug)]
pub(crate) struct Turn {
    outer: Option<Instant>,
}

/// What [`now`] says, for governor: the clock is tokio's, which tests can pause.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TurnClock;

impl Turn {
    pub(crate) fn begin() -> (Self, Instant) {
        let now = Instant::now();
        let outer = TURN_TIME.replace(Some(now));
        (Self { outer }, now)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURN_TIME.set(self.outer);
    }
}

/// The time of the turn, or of tokio's clock outside of one.
pub(crate) fn now() -> Instant {
    TURN_TIME.get().unwrap_or_else(Instant::now)
}

impl Clock for TurnClock {
    type Instant = std::time::Instant;

    fn now(&self) -> std::time::Instant {
        now().into_std()
    }
}

thread_local! {
    static TURN_TIME: Cell<Option<Instant>> = const { Cell::new(None) };
}
