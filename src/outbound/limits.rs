//! Say how much a connection may hold for its peer, and what counts of it.

use std::time::Duration;

use crate::message::Message;

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

/// Messages that left the queue for the protocol engine's buffer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Encoded {
    pub(crate) messages: usize,
    /// What they were charged when they were pushed.
    pub(crate) charge: usize,
}

impl Encoded {
    pub(crate) fn add(&mut self, message: &Message) {
        self.messages += 1;
        self.charge += message.len() + ENTRY_OVERHEAD;
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
