//! A kit for tests of endpoints.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "in a test, what must not happen panics"
)]

pub use self::invariant::Invariant;

mod invariant;

#[doc(hidden)]
pub mod wire;
#[doc(hidden)]
pub mod socket;
#[doc(hidden)]
pub mod records;
#[doc(hidden)]
pub mod driven;
