//! Give each user, and each address, a share of all rooms.
//!
//! A cap on the rooms of a connection says little where one user opens many, and a cap on all rooms is
//! reached by whoever wants it reached. What is counted is memberships, because whoever is in a room can
//! have made it. An entry is there as long as somebody is in a room, so the tables are no larger than
//! what they count.

use std::{
    collections::{HashMap, hash_map},
    net::IpAddr,
    num::NonZeroUsize,
    sync::Arc,
};

use crate::{
    capacity,
    quota::{Counts, Limits, RateKeyValue},
    room::{join_refused::JoinRefused, pace::UsersPace},
};

/// Whose share a membership is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    /// Tenant and id.
    pub(super) user: RateKeyValue,
    /// Without one there is no address to count.
    pub(super) address: Option<IpAddr>,
}

/// The most memberships that a user may have, and an address.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShareLimits {
    pub(super) user: NonZeroUsize,
    pub(super) address: NonZeroUsize,
}

/// Who has how many memberships, joins under way included.
#[derive(Debug, Default)]
pub(super) struct Shares {
    users: HashMap<RateKeyValue, Share>,
    addresses: Counts,
}

/// What a user has open, and what all of it has in common.
#[derive(Debug, Default)]
struct Share {
    memberships: usize,
    pace: Arc<UsersPace>,
}

impl Shares {
    /// Whether `holder` may have one membership more. The user's share first: it is the narrower one.
    pub(super) fn check(&self, limits: ShareLimits, holder: &Holder) -> Result<(), JoinRefused> {
        if self.users.get(&holder.user).is_some_and(|it| it.memberships >= limits.user.get()) {
            return Err(JoinRefused::UsersShare);
        }
        let each = Limits { all: NonZeroUsize::MAX, each: limits.address };
        self.addresses.check(each, holder.address).map_err(|_full| JoinRefused::AddressesShare)
    }

    /// Takes what [`check`](Self::check) has found, and returns the pace at which the user publishes.
    pub(super) fn take(&mut self, holder: &Holder) -> Arc<UsersPace> {
        self.addresses.take(holder.address);
        let share = self.users.entry(holder.user).or_default();
        share.memberships += 1;
        Arc::clone(&share.pace)
    }

    pub(super) fn give_back(&mut self, holder: &Holder) {
        if let hash_map::Entry::Occupied(mut entry) = self.users.entry(holder.user) {
            entry.get_mut().memberships -= 1;
            if entry.get().memberships == 0 {
                entry.remove();
            }
        }
        if let Some(less) = capacity::smaller(self.users.len(), self.users.capacity(), KEPT) {
            self.users.shrink_to(less);
        }
        self.addresses.give_back(holder.address);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.addresses.all() == 0 && self.addresses.networks() == 0
    }
}

/// Users: a table this small is not worth giving back.
const KEPT: usize = 64;
