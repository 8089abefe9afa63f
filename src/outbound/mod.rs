//! Hold what a peer is to get, within bounds: of one connection, and of all.

pub(crate) use self::{
    dropped::{Dropped, Queued},
    limits::{ENTRY_OVERHEAD, Encoded, OutboundLimits, PUBLISH_WAIT},
    queue::{KEPT_ENTRIES, OutboundQueue, Taken},
};
pub use self::{queue::OutboundSender, send_error::SendError};

mod limits;
mod send_error;
mod dropped;
mod queue;
pub mod budget;
