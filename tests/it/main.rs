//! The promises of the crate, over real sockets.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "the lints know test functions, not their helpers"
)]

mod support_http;
mod echo;
mod handshake;
mod origin;
mod admission;

mod slow_peer;
mod support_slow;
mod metered;
mod backpressure;
mod fairness;
mod rate_limit;
mod compose;
mod panics;
mod audit;
