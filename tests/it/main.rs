//! The promises of the crate, over real sockets.
#![cfg(test)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed; clippy.toml knows test functions, not helpers"
)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "the lints know test functions, not their helpers"
)]

mod support_http;
mod support_client;
mod support;
mod echo;
mod handshake;
mod origin;
mod admission;
mod auth_first;
mod auth_deadline;
mod frames;
mod closing;
mod messages;
mod heartbeat;
mod ghosts;

mod slow_peer;
mod support_slow;
mod metered;
mod backpressure;
mod budget;
mod fairness;
mod rate_limit;
mod compose;
mod panics;
mod audit;
