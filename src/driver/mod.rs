//! One connection: its bounds, its deadlines, and the loop that owns its socket.
//!
//! Below the upgrade there is no HTTP any more: a connection is a byte stream, a stack to call with
//! each message, and a [`ConnectionConfig`]. Reading order: `config`, `phase` and `state` (when),
//! `scanner`, `transport`, `ping` and `wire` (bytes), `lent`, `contexts` and `engine` (frames in), `writer`
//! (frames out), `calls`,
//! `alarm`, `task` (the loop), `ending`.

use std::sync::Arc;

use crate::driver::{
    calls::Calls,
    engine::Engine,
    scanner::{FrameScanner, ScannerLimits},
    state::State,
    stats::ConnectionStats,
    task::Driver,
    transport::Transport,
    wire::Wire,
    writer::Writer,
};

pub(crate) use self::permit::Permit;
pub use self::{
    authentication::Authentication, config::ConnectionConfig, config_error::ConnectionConfigError,
};

mod config;
mod config_error;
mod authentication;
mod phase;
mod state;
mod timers;
mod control;
pub(crate) mod scanner;
mod pool;
mod wire;
pub(crate) mod transport;
mod ping;
mod unread;
mod lent;
mod contexts;
mod engine;
mod batch;
mod written;
mod writer;
pub(crate) mod calls;
mod permit;
mod alarm;
mod task;
mod ending;
mod refusal;
pub(crate) mod stats;

#[cfg(test)]
mod tests;

/// Serves one connection on `io` until it ends; `ahead` is what was read of it before, and `stats` has
/// been recorded since its handshake.
pub(crate) fn serve<Io: Transport>(
    io: Io,
    ahead: Box<[u8]>,
    stats: ConnectionStats,
    config: Arc<ConnectionConfig>,
    authentication: Authentication,
    calls: Calls,
    permit: Box<dyn Permit>,
) -> Driver<Io> {
    let connection = stats.connection().clone();
    let scanner = FrameScanner::new(ScannerLimits {
        max_message: config.max_message_size,
        max_first_message: match authentication {
            // Whom the handshake has told of has nothing to log in with.
            Authentication::Required if connection.user_id().is_none() => {
                config.max_first_message_size.min(config.max_message_size)
            }
            Authentication::Required | Authentication::Optional => config.max_message_size,
        },
        max_fragments: config.max_fragments,
        control_burst: config.control_frames.at_once(),
    });
    let mut wire = Wire::new(io, config.unsent_bytes, scanner, connection.input_charge());
    wire.limit_unsent();
    wire.take_ahead(ahead);
    let engine = Engine::new(wire, config.max_message_size);
    // Half of what may be held for the peer: the other half is for what it did not ask for.
    let read_below = config.outbound_bytes() / 2;
    let opened = connection.opened().into_std();
    let state = State::new(config, authentication, fastrand::f64(), opened);
    Driver::new(engine, state, Writer::default(), stats, calls, read_below, permit)
}
