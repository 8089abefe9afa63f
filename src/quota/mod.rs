//! Say how much of what there may be in a time, and whose share it is.
//!
//! `amount` says how much; `meter` counts against it, `table` for those who share a bucket; `clock` is the
//! one clock of all that.
//!
//! A cap that all share is a tool for the first who reaches it. So each pool has two limits: how
//! much there is, and how much of it one address may have. What an address is stands in `network`: an
//! IPv6 subscriber has millions of them. `slots` counts what is open, `rate` what comes in a time; who
//! opens and hangs up at once is seen by the second only. `failures` counts what came to nothing, which is
//! spent by those who guess and by nobody else.

pub use self::{
    amount::Quota,
    slots::{PeerSlot, PeerSlots},
    table::RateKeyValue,
};
pub(crate) use self::{
    failures::{ENTRIES as FAILURES, FailedLogins, Failure, Failures},
    meter::{Measured, Meter},
    network::Network,
    rate::{AddressRate, TooFast},
    slots::{Counts, Full, Limits},
    table::MeterTable,
};

mod amount;
pub(crate) mod clock;
mod meter;
mod table;
mod network;
mod slots;
mod rate;
mod failures;
