//! Know how much of what the socket took the peer may not have read, and what time to give it for that.
//!
//! A ping lies in the peer's own kernel behind what came before it, and nothing tells its sender how far
//! the peer has read, but the last pong: whoever answered a ping has read all that was before it.

use std::time::Duration;

/// What the socket took since the last ping that was answered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unread {
    bytes: u64,
    /// Of them, those behind the ping that is out.
    behind_ping: u64,
}

impl Unread {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.behind_ping = self.behind_ping.saturating_add(bytes);
    }

    pub(crate) fn ping_is_out(&mut self) {
        self.behind_ping = 0;
    }

    pub(crate) fn ping_is_answered(&mut self) {
        self.bytes = self.behind_ping;
    }

    /// The time in which a slow line carries it, in whole seconds and no more than `most`.
    pub(crate) fn time(&self, most: Duration) -> Duration {
        Duration::from_secs(self.bytes / SLOW_LINE).min(most)
    }
}

/// Bytes a second: 64 kbit/s, a phone at the edge of its cell.
const SLOW_LINE: u64 = 8_000;
