//! Choose the code and the words a connection ends with: the only place that does.
//!
//! `reason` has the table of all ways in which a connection ends; `requested` which of them an application
//! may ask for; `code` what may stand in a close frame.

pub use self::{
    code::CloseCode,
    reason::{CloseReason, Retry},
    requested::{ApplicationClose, Close, InvalidClose},
};

pub(crate) use self::reason::Outgoing;

mod reason;
mod requested;
mod code;
