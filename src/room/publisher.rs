//! Bound what one publisher may do at once, and in all.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::{
    message::Message,
    quota::{Measured, Meter},
    room::{
        outcome::{Published, Undelivered},
        shares::Holder,
    },
};

/// A connection that publishes in the rooms it is in.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) turn: Turn,
    /// Whose memberships they are.
    pub(super) holder: Holder,
    pub(super) quota: PublishQuota,
}

/// How much a user may publish, on all of its connections together.
#[derive(Debug)]
pub(super) struct PublishQuota(Meter);

/// Deliveries that a task has made since it last let others run; many bytes count as several.
///
/// Queueing for ten thousand members never waits, so that nothing else would stop one connection's
/// handler from keeping a worker thread busy.
#[derive(Debug, Default)]
pub(super) struct Turn(AtomicUsize);

impl Publisher {
    pub(super) fn new(holder: Holder, meter: Meter) -> Self {
        Self { turn: Turn::default(), holder, quota: PublishQuota(meter) }
    }
}

impl PublishQuota {
    /// Charges the delivery of `message` to `members`, or refuses it.
    pub(super) fn charge(&self, message: &Message, members: usize) -> Result<(), Undelivered> {
        let cost = message.len().div_ceil(1024).max(1).saturating_mul(members.max(1));
        let cost = u32::try_from(cost).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX);
        let burst = self.0.burst();
        match self.0.take(cost.min(burst)) {
            Measured::Within => Ok(()),
            Measured::Exceeded(_) => Err(Undelivered::OverQuota { cost, burst }),
        }
    }
}

impl Turn {
    /// Counts what was published, and lets other tasks run when it is time: also those that write it
    /// out. What is published until then waits in every member's queue, whether it is slow or not.
    pub(super) async fn spend(&self, published: Published) {
        let deliveries = published.members.max(published.bytes.div_ceil(BYTES_PER_DELIVERY));
        let spent = self.0.fetch_add(deliveries, Ordering::Relaxed).saturating_add(deliveries);
        if spent >= DELIVERIES_PER_TURN {
            self.0.store(0, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    }
}

/// A room of 10,000 is five turns, between which those who are not in it are served.
const DELIVERIES_PER_TURN: usize = 2048;

/// So that a turn is over after 64 KiB, too: a sixteenth of the default bound of a queue.
const BYTES_PER_DELIVERY: usize = 32;
