//! Hold a room to what its members can read, while somebody who keeps reading is behind.
//!
//! What a member lacks of what is published is bounded, and passing the bound closes its connection. A burst that is within every quota can be more than that: then the members who
//! read at the rate of an ordinary line would be closed for what one of them said. So a publisher waits
//! *before* it publishes, while there is a member that is *crowded*: behind by more than half of its
//! bound, and still reading. Three things keep this from being a way to hold up a room:
//!
//! 1. A member that takes nothing does not count after a second.
//! 2. However slow the members are, the room may publish 1 MB/s. Who reads less than that is sooner or
//!    later over its bound, is closed with 1013, and counts no longer.
//! 3. Nobody waits for longer than a few seconds; then the publisher is told
//!    ([`PublishError::Overloaded`](crate::room::PublishError::Overloaded)).
//!
//! It also waits until all members have been *offered* what was said last, whether they took it or not.
//! That takes as long as a walk, and no member can make it longer.
//!
//! Those who wait stand in line, and one of them at a time looks whether it may. A user has a pace of its
//! own besides, over all of its rooms: what it says in one of them is not to crowd somebody who is in all.

use std::{
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
    time::{Instant, sleep_until, timeout_at},
};

use crate::room::outcome::Undelivered;

/// When the next message may be published, as long as somebody is crowded.
#[derive(Debug, Default)]
pub(super) struct Pace {
    due: Option<Instant>,
    /// Somebody was, when what was published last was offered.
    slowed: bool,
}

/// A user's pace, over all rooms of all of its connections.
#[derive(Debug, Default)]
pub(super) struct UsersPace(Mutex<Pace>);

/// Where publishers wait for their turn, first come first served.
#[derive(Debug)]
pub(super) struct Line(Semaphore);

impl Pace {
    /// When the next may be published, if that is later than `now`.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        self.due.filter(|due| self.slowed && *due > now)
    }

    /// A message of this cost was published. What was owed before it is not added: it was published
    /// because that was over, or because nobody was crowded. Else members on fast lines would run up what a
    /// slow one makes everybody wait for.
    pub(super) fn published(&mut self, cost: usize, now: Instant) {
        let micros = u64::try_from(cost).unwrap_or(u64::MAX).saturating_mul(MICROS_PER_BYTE);
        self.due = now.checked_add(Duration::from_micros(micros)).max(self.due);
    }

    /// Somebody is crowded, or nobody.
    pub(super) fn slow_down(&mut self, slowed: bool) {
        self.slowed = slowed;
    }
}

impl UsersPace {
    /// Held to read or set a time. No other lock is taken under it.
    pub(super) fn lock(&self) -> MutexGuard<'_, Pace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    pub(super) fn new() -> Self {
        Self(Semaphore::new(1))
    }

    /// Whether nobody waits.
    pub(super) fn is_free(&self) -> bool {
        self.0.available_permits() > 0
    }

    /// Waits for its turn, and then until `attempt` is not told to wait; not longer than `patience`.
    /// Whoever is dropped meanwhile has published nothing, and nobody waits for it.
    pub(super) async fn wait<T>(
        &self,
        patience: Duration,
        walked: &Notify,
        attempt: impl Fn() -> Result<T, Undelivered>,
    ) -> Result<T, Undelivered> {
        // Who publishes from a thread of its own has nothing to wait with.
        if Handle::try_current().is_err() {
            return Err(Undelivered::Overloaded { waited: Duration::ZERO });
        }
        let began = Instant::now();
        let deadline = began + patience;
        let overloaded = || Undelivered::Overloaded { waited: began.elapsed() };
        let Ok(Ok(_turn)) = timeout_at(deadline, self.0.acquire()).await else {
            return Err(overloaded());
        };
        loop {
            // Before the attempt: what is walked after it is not missed.
            let mut circle = pin!(walked.notified());
            circle.as_mut().enable();
            let attempted = attempt();
            let now = Instant::now();
            match attempted {
                Err(Undelivered::NotBefore(_) | Undelivered::Unwalked) if now >= deadline => {
                    return Err(overloaded());
                }
                Err(Undelivered::NotBefore(due)) => {
                    sleep_until(due.min(now + LOOK_AGAIN).min(deadline)).await;
                }
                Err(Undelivered::Unwalked) => {
                    let _late = timeout_at(deadline, circle).await;
                }
                decided => return decided,
            }
        }
    }
}

/// 1 MB/s, that is 8 Mbit/s: what an ordinary mobile line takes.
const MICROS_PER_BYTE: u64 = 1;

/// A member on a faster line has long caught up: so often whoever is first in line looks at all members
/// of a room whether somebody is still crowded.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
