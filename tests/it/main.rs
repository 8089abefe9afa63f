//! The promises of the crate, over real sockets.

mod support_http;
mod echo;
mod handshake;
mod origin;
mod admission;

mod support_slow;
mod metered;
mod backpressure;
mod fairness;
mod rate_limit;
mod compose;
mod panics;
