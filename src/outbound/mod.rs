//! Hold what a peer is to get, within bounds: of one connection, and of all.
//!
//! Reading order: `pen`, `seat` and `view` (what is written, by whom), `lags` and `inbox` (the rules),
//! `outlet` and `rooms` (their lock).

pub(crate) use self::{
    dropped::{Dropped, Queued},
    inbox::{Begin, KEPT_ENTRIES, Step, Walked},
    lags::{Outcome, Turn},
    limits::{ENTRY_OVERHEAD, Encoded, OutboundLimits, PUBLISH_WAIT},
    outlet::Outlet,
    pen::{Pen, Rest},
    rooms::Replay,
    seat::{Cursor, Gap, Hold, Lacks, Seat},
    view::{LARGE, View},
};
pub use self::{send_error::SendError, slow_member::SlowMember};

mod limits;
mod slow_member;
mod send_error;
pub(crate) mod frame;
mod pen;
mod seat;
mod view;
mod dropped;
mod lags;
mod latest;
mod inbox;
mod outlet;
mod rooms;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod drained;
#[cfg(test)]
#[path = "tests/explore.rs"]
pub(crate) mod explore;
pub mod budget;
