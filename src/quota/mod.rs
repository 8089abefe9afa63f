//! Give each address a share of what all addresses use.
//!
//! A cap that everybody shares is a tool for whoever reaches it first. So each pool has two limits: how
//! much there is, and how much of it one address may have. What an address is stands in `network`: an
//! IPv6 subscriber has millions of them. `slots` counts what is open, `rate` what comes in a time; who
//! opens and hangs up at once is seen by the second only.

pub use self::slots::{PeerSlot, PeerSlots};
pub(crate) use self::{
    network::Network,
    rate::{AddressRate, TooFast},
    slots::{Counts, Full, Limits},
};

mod network;
mod slots;
mod rate;
