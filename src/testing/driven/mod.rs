//! Drive the crate operation by operation: what its own properties and fuzz targets share.
//! No promises.

#![allow(
    clippy::exhaustive_enums,
    missing_debug_implementations,
    reason = "only this repository's tests see it"
)]

pub mod decoder;
pub mod served;
pub mod operation;
pub mod bytes;
mod checks;
pub mod rooms;
pub mod log;
pub mod pieces;
