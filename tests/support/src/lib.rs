//! What several test binaries have in common: programs that run beside a test, a server with its peer and
//! its records, sockets that are slow or count, and turns for tests that measure.

pub mod echo;
pub mod head;
pub mod http;
pub mod metered;
pub mod program;
pub mod recorder;
pub mod slow;
pub mod slow_peer;
pub mod turns;
