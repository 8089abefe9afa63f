//! Bound what one user may publish, and what it is given of what it has missed.

use std::{
    num::NonZeroU32,
    sync::{Arc, OnceLock},
};

use crate::{
    foreign::Caught,
    quota::{Measured, Meter, MeterTable},
    room::{hooks::Watch, outcome::Undelivered, shares::Holder},
};

/// A connection that is in rooms, and what its user may do there on all of its connections together.
pub(super) struct Publisher {
    /// Whose memberships they are.
    pub(super) holder: Holder,
    quotas: Arc<RoomQuotas>,
    /// Looked up at the first publication: most members only listen.
    published: OnceLock<RoomQuota>,
    /// Looked up when it first comes back to a room.
    replayed: OnceLock<RoomQuota>,
    /// Who is to be told of its memberships. It has the application's user.
    pub(super) watch: Caught<Option<Box<dyn Watch>>>,
}

/// What users may do in a process's rooms, by user: in KiB.
#[derive(Debug)]
pub(super) struct RoomQuotas {
    pub(super) published: MeterTable,
    pub(super) replayed: MeterTable,
}

/// What one user may do.
#[derive(Debug)]
pub(super) struct RoomQuota(Meter);

impl Publisher {
    pub(super) fn new(
        holder: Holder,
        quotas: Arc<RoomQuotas>,
        watch: Option<Box<dyn Watch>>,
    ) -> Self {
        let (published, replayed) = (OnceLock::new(), OnceLock::new());
        Self { holder, quotas, published, replayed, watch: Caught::new(watch) }
    }

    /// What is published. Not to be looked up under a room's lock: a table's is taken.
    pub(super) fn published(&self) -> &RoomQuota {
        self.published.get_or_init(|| self.look_up(&self.quotas.published))
    }

    /// What is replayed, likewise.
    pub(super) fn replayed(&self) -> &RoomQuota {
        self.replayed.get_or_init(|| self.look_up(&self.quotas.replayed))
    }

    fn look_up(&self, table: &MeterTable) -> RoomQuota {
        RoomQuota(table.meter(Some(self.holder.user)))
    }
}

impl RoomQuota {
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
