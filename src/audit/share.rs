//! Say how much of the log each kind of record may have, and each address.
//!
//! | class | kinds | of the rate and the burst | may wait for the log |
//! |---|---|---|---|
//! | lives | `connected`, `authenticated`, `auth.failed`, `closed` | a half | 32,768 |
//! | decisions | `handshake.rejected`, `refused`, `joined`, `left`, `left.all`, `skipped` | a quarter | 8,192 |
//! | publications | `published` | a quarter | 8,192 |
//!
//! A class never takes what is another's: however much is said in rooms, there is a place for the
//! `closed` of everybody who was there. And of each class no address has more than an eighth (an IPv6
//! /56 a quarter, a /48 a half), so that others' lives are recorded beside those that one address makes
//! by the thousand. Whose address is not known is limited by the class only.

use std::{net::IpAddr, time::Duration};

use tokio::time::Instant;

use super::{AuditEvent, bucket::Bucket};
use crate::quota::{AddressRate, Quota};

/// What has room of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Class {
    Lives,
    Decisions,
    Publications,
}

/// Something for each class.
#[derive(Debug, Default)]
pub(super) struct PerClass<T> {
    lives: T,
    decisions: T,
    publications: T,
}

impl Class {
    pub(super) fn of(event: &AuditEvent) -> Self {
        match event {
            AuditEvent::Connected(_)
            | AuditEvent::Authenticated(_)
            | AuditEvent::AuthFailed(_)
            | AuditEvent::Closed(_) => Self::Lives,
            AuditEvent::UpgradeRefused(_)
            | AuditEvent::Refused(_)
            | AuditEvent::Joined(_)
            | AuditEvent::Left(_)
            | AuditEvent::LeftAll(_)
            | AuditEvent::Skipped(_) => Self::Decisions,
            AuditEvent::Published(_) => Self::Publications,
        }
    }

    /// How many records may wait to be written. Those of lives are three for each connection that
    /// [`Admission`](crate::Admission) lets in unless told otherwise: all may come at once, when a
    /// network fails or a server stops.
    pub(super) const fn room(self) -> usize {
        match self {
            Self::Lives => 32_768,
            Self::Decisions | Self::Publications => 8_192,
        }
    }

    /// One in so many of all records.
    const fn part(self) -> u32 {
        match self {
            Self::Lives => 2,
            Self::Decisions | Self::Publications => 4,
        }
    }
}

impl<T> PerClass<T> {
    fn of(make: impl Fn(Class) -> T) -> Self {
        Self {
            lives: make(Class::Lives),
            decisions: make(Class::Decisions),
            publications: make(Class::Publications),
        }
    }

    pub(super) fn get(&self, class: Class) -> &T {
        match class {
            Class::Lives => &self.lives,
            Class::Decisions => &self.decisions,
            Class::Publications => &self.publications,
        }
    }

    pub(super) fn get_mut(&mut self, class: Class) -> &mut T {
        match class {
            Class::Lives => &mut self.lives,
            Class::Decisions => &mut self.decisions,
            Class::Publications => &mut self.publications,
        }
    }
}

impl PerClass<Bucket> {
    pub(super) fn buckets(quota: Quota) -> Self {
        Self::of(|class| {
            let (interval, burst) = divided(quota, class.part());
            Bucket::new(interval, burst)
        })
    }
}

impl PerClass<AddressRate> {
    pub(super) fn shares(quota: Quota) -> Self {
        Self::of(|class| {
            let (interval, burst) = divided(quota, class.part() * SHARE);
            let (_, all) = divided(quota, class.part());
            AddressRate::new(interval, burst.max(all.min(LIFE)), MAX_ADDRESSES)
        })
    }

    /// Whether `peer` has some of its share left: asked before the class, so that who is over its own
    /// takes nothing of what all share.
    pub(super) fn take(&self, class: Class, peer: Option<IpAddr>, now: Instant) -> bool {
        peer.is_none_or(|peer| self.get(class).take(peer, now).is_ok())
    }
}

/// One in `part` of a quota, but one at least of what is not nothing.
fn divided(quota: Quota, part: u32) -> (Duration, u32) {
    (quota.interval().saturating_mul(part), quota.at_once().div_ceil(part))
}

/// The records of one life: `connected`, `authenticated` and `closed`. A share below that would record
/// beginnings without ends, on a server where nothing else happens.
const LIFE: u32 = 3;

/// One in so many of a class. A /48 may have four times as much, which is half of it.
const SHARE: u32 = 8;

/// Networks that are told apart in each class, each of which is an entry of a table; those that find
/// it full share one. Three for each connection that [`Admission`](crate::Admission) lets in unless
/// told otherwise: as many as an IPv6 address is counted in, and all may come from elsewhere.
const MAX_ADDRESSES: usize = 30_000;
