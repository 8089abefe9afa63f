//! Bound what one user may publish.

use std::num::NonZeroU32;

use crate::{
    quota::{Measured, Meter},
    room::{outcome::Undelivered, shares::Holder},
};

/// A connection that publishes in the rooms it is in.
#[derive(Debug)]
pub(super) struct Publisher {
    /// Whose memberships they are.
    pub(super) holder: Holder,
    pub(super) quota: PublishQuota,
    /// What it is given of what it has missed: KiB.
    pub(super) replayed: PublishQuota,
}

/// How much a user may publish, on all of its connections together.
#[derive(Debug)]
pub(super) struct PublishQuota(Meter);

impl Publisher {
    pub(super) fn new(holder: Holder, published: Meter, replayed: Meter) -> Self {
        Self { holder, quota: PublishQuota(published), replayed: PublishQuota(replayed) }
    }
}

impl PublishQuota {
    /// Charges the delivery of `bytes` of payload to `members`, or refuses it.
    pub(super) fn charge(&self, bytes: usize, members: usize) -> Result<(), Undelivered> {
        let cost = bytes.div_ceil(1024).max(1).saturating_mul(members.max(1));
        let cost = u32::try_from(cost).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX);
        let burst = self.0.burst();
        match self.0.take(cost.min(burst)) {
            Measured::Within => Ok(()),
            Measured::Exceeded(_) => Err(Undelivered::OverQuota { cost, burst }),
        }
    }
}
