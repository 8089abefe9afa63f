//! Say how much a connection may hold for its peer.

use std::time::Duration;

/// How much a connection may hold for its peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct OutboundLimits {
    /// Payload bytes plus [`ENTRY_OVERHEAD`] for each message.
    pub(crate) bytes: usize,
    /// Messages, so that tiny ones cannot multiply their bookkeeping.
    pub(crate) messages: usize,
    /// Payload bytes of one message.
    pub(crate) message_size: usize,
    /// How long the connection's handler may wait for the members of a room to take what it publishes.
    pub(crate) publish_wait: Duration,
}

impl OutboundLimits {
    /// What each message is of the bound in bytes, however small it is.
    pub(crate) fn share(self) -> usize {
        self.bytes.checked_div(self.messages).unwrap_or(0)
    }

    #[cfg(test)]
    pub(crate) const fn of(bytes: usize, messages: usize) -> Self {
        Self { bytes, messages, message_size: usize::MAX, publish_wait: PUBLISH_WAIT }
    }
}

/// What a queued message costs beside its payload: the queue entry, its share of the shared
/// payload's header, and the frame header. Also the floor that keeps empty messages from being free.
pub(crate) const ENTRY_OVERHEAD: usize = 64;

/// Long enough for a burst of many to be taken by members at 8 Mbit/s, and well within the time of a
/// handler: who has to wait longer is told, and not closed for it.
pub(crate) const PUBLISH_WAIT: Duration = Duration::from_secs(5);

/// A round trip and its retransmissions: a socket that took nothing for so long is not waited for.
pub(crate) const STALLED: Duration = Duration::from_secs(1);
