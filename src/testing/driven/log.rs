//! The log of a room against a list of all that was ever said.

pub use crate::room::driven::{LogOperation, LogRun};
