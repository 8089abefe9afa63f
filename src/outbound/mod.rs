//! Hold what a peer is to get, within bounds: of one connection, and of all.

pub use self::send_error::SendError;
pub(crate) use self::{
    dropped::{Dropped, Queued},
    limits::{ENTRY_OVERHEAD, Encoded, OutboundLimits, PUBLISH_WAIT},
    queue::{KEPT_ENTRIES, OutboundQueue, OutboundSender, Taken},
};

mod limits;
mod send_error;
mod dropped;
mod queue;
pub(crate) mod frame;
pub mod budget;
