//! Set the bounds of one connection.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use crate::{
    outbound::{ENTRY_OVERHEAD, OutboundLimits, PUBLISH_WAIT},
    quota::Quota,
};

/// The bounds of one connection.
///
/// Every bound has a finite default. What it costs to raise one stands at its setter. What the bounds
/// are together is looked at by [`WebSocketEndpoint::connection`](crate::WebSocketEndpoint::connection),
/// which refuses those that cannot work.
///
/// | setting | default | why this number |
/// |---|---|---|
/// | `auth_timeout` | 5 s | a fetch and a round trip; what waits longer is not a client |
/// | `handler_timeout` | 30 s | the usual limit of an HTTP request |
/// | `message_timeout` | 10 s | 64 KiB at 52 kbit/s |
/// | `ping_interval` / `pong_timeout` | 30 s / 10 s | below the 60 s idle limit of common proxies |
/// | `idle_timeout` | none | a silent listener is a normal client |
/// | `write_timeout` | 20 s | at 15 KB/s a peer reads 300 KB: what its own kernel may hold, unseen |
/// | `close_timeout` | 5 s | a round trip, and what was under way |
/// | `unsent_bytes` | 64 KiB | at 1 Gbit/s half a millisecond, in which the task wakes |
/// | `max_message_size` | 64 KiB | OWASP's WebSocket cheat sheet |
/// | `max_first_message_size` | 4 KiB | credentials are small; nobody is known yet |
/// | `max_fragments` | 64 | a browser sends one; streaming clients a few |
/// | `control_frames` | 50/s, burst 100 | a ping each 20 ms |
/// | `max_outbound_message_size` | `max_message_size` + 16 KiB | what may come in may go out again, in an envelope |
/// | `max_outbound_bytes` | 1 MiB, or four of the largest messages | seconds of a busy room |
/// | `max_outbound_messages` | 4,096 | so that tiny messages cannot multiply their bookkeeping |
#[must_use]
#[derive(Clone, Debug)]
pub struct ConnectionConfig {
    pub(crate) auth_timeout: Duration,
    pub(crate) handler_timeout: Duration,
    pub(crate) message_timeout: Duration,
    pub(crate) ping_interval: Duration,
    pub(crate) pong_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) write_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) unsent_bytes: u32,
    pub(crate) max_message_size: usize,
    pub(crate) max_first_message_size: usize,
    pub(crate) max_fragments: u32,
    pub(crate) control_frames: Quota,
    pub(super) max_outbound_bytes: Option<usize>,
    pub(super) max_outbound_messages: usize,
    pub(super) max_outbound_message_size: Option<usize>,
}

impl ConnectionConfig {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            auth_timeout: Duration::from_secs(5),
            handler_timeout: Duration::from_secs(30),
            message_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(30),
            pong_timeout: Duration::from_secs(10),
            idle_timeout: None,
            write_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(5),
            unsent_bytes: 64 * 1024,
            max_message_size: 64 * 1024,
            max_first_message_size: 4 * 1024,
            max_fragments: 64,
            control_frames: Quota::per_second(50).burst(100),
            max_outbound_bytes: None,
            max_outbound_messages: 4096,
            max_outbound_message_size: None,
        }
    }

    /// Time from the accepted handshake to valid credentials, the verifier's time included. Raised,
    /// a peer holds an unauthenticated slot for longer.
    pub const fn auth_timeout(mut self, timeout: Duration) -> Self {
        self.auth_timeout = timeout;
        self
    }

    /// Time one message may take its handler, and before that its stack to be ready for it. Raised, a
    /// stuck handler holds its connection for longer; the connection's pings go on meanwhile.
    pub const fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.handler_timeout = timeout;
        self
    }

    /// Time from the first byte of a message, or of a control frame, to its last. Raised, a peer that
    /// sends a byte now and then holds a partial message for longer.
    pub const fn message_timeout(mut self, timeout: Duration) -> Self {
        self.message_timeout = timeout;
        self
    }

    /// Time between two pings, whatever comes from the peer meanwhile. The first ping of a connection
    /// comes at a random moment in this interval, so that a fleet's pings do not come in step.
    /// Each pong is one of the peer's [`control_frames`](Self::control_frames), which bounds how short
    /// it may be.
    pub const fn ping_interval(mut self, interval: Duration) -> Self {
        self.ping_interval = interval;
        self
    }

    /// Time from a ping that went out to its pong. Raised, a dead peer is a member for longer. A peer that
    /// was sent more than 8,000 bytes since its last pong has a second more for each 8,000, and no more
    /// of it than [`write_timeout`](Self::write_timeout): so long it may take a slow line to get to the
    /// ping. With the defaults a line of 10 KB/s has time for the 300 KB that a peer's kernel may hold.
    pub const fn pong_timeout(mut self, timeout: Duration) -> Self {
        self.pong_timeout = timeout;
        self
    }

    /// Time without a data message after which the connection closes with 1001.
    pub const fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// Time without a byte taken by the socket, while there are bytes to write, after which the peer
    /// is a slow consumer. A peer that reads slowly empties the buffer of its own kernel first, and for
    /// as long its socket takes nothing. Raised, the queue of a peer that is gone is held for longer.
    pub const fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// Time for the closing handshake, and before it as much again for what was accepted to go out
    /// ([`CloseReason`](crate::CloseReason) says which closes wait for it). A close frame that waits for a
    /// slow line has so much from the last byte that the socket took, four times at most. Raised, a
    /// peer that was closed keeps its place for longer.
    pub const fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// Bytes that the kernel may have taken for the peer and not sent yet (`TCP_NOTSENT_LOWAT`), on a TCP
    /// socket under Linux. By itself it takes some megabytes before it is full: memory that no other
    /// limit counts, in front of each ping and of the close frame, which a slow peer then does not get
    /// to read in time.
    ///
    /// Besides these the kernel holds what is under way and not acknowledged, which the network and
    /// the peer's window bound; and it may go over by one write, of 16 KiB or one message. Raised, each
    /// peer that reads slowly costs so much more; lowered, the task wakes more often for a fast one.
    /// What no kernel can count, from 2 GiB on, is no bound.
    pub const fn unsent_bytes(mut self, bytes: NonZeroUsize) -> Self {
        let most = i32::MAX as u32;
        let bytes = bytes.get();
        self.unsent_bytes = if bytes < most as usize { bytes as u32 } else { most };
        self
    }

    /// Payload bytes of one message, all fragments together. Raised, each connection can make the
    /// server hold four times as much more coming in, and as much going out unless
    /// [`max_outbound_bytes`](Self::max_outbound_bytes) is set.
    pub const fn max_message_size(mut self, bytes: NonZeroUsize) -> Self {
        self.max_message_size = bytes.get();
        self
    }

    /// Payload bytes of the first data message, which comes from somebody unknown. It may be no larger
    /// than any other: of this and [`max_message_size`](Self::max_message_size) the smaller counts.
    pub const fn max_first_message_size(mut self, bytes: NonZeroUsize) -> Self {
        self.max_first_message_size = bytes.get();
        self
    }

    /// Frames of one message, empty ones included.
    pub const fn max_fragments(mut self, frames: NonZeroU32) -> Self {
        self.max_fragments = frames.get();
        self
    }

    /// Control frames from the peer. They must be enough for the pongs to [`ping_interval`](Self::ping_interval).
    pub const fn control_frames(mut self, quota: Quota) -> Self {
        self.control_frames = quota;
        self
    }

    /// Bytes held for the peer: payload, and 64 for each message. Over it the queue is dropped and
    /// the connection closes with 1013. Raised, each peer that does not read costs so much more.
    ///
    /// It must hold two of the largest messages: what a room publishes is held up when half of it is
    /// used, and one more has to fit then. Unless set it is 1 MiB, or room for four of them.
    pub const fn max_outbound_bytes(mut self, bytes: NonZeroUsize) -> Self {
        self.max_outbound_bytes = Some(bytes.get());
        self
    }

    /// Messages held for the peer: two at least, for the same reason.
    pub const fn max_outbound_messages(mut self, messages: NonZeroUsize) -> Self {
        self.max_outbound_messages = messages.get();
        self
    }

    /// Payload bytes of one message to the peer. Whoever makes a larger one is told so
    /// ([`SendError::TooLarge`](crate::SendError::TooLarge),
    /// [`PublishError::TooLarge`](crate::room::PublishError::TooLarge)), and nothing is queued; if it
    /// is the handler's answer, the handler has failed: 1011.
    ///
    /// It must be no less than [`max_message_size`](Self::max_message_size): otherwise what a peer may
    /// say could not be passed on. Unless set it is 16 KiB more, for what is said about it: an id, a
    /// time, a sender, and what JSON makes longer when it is written again. Of 1,024 numbers, the most
    /// that [`JsonLimits`](crate::JsonLimits) lets through, each may grow by 14 bytes (`1e15`).
    pub const fn max_outbound_message_size(mut self, bytes: NonZeroUsize) -> Self {
        self.max_outbound_message_size = Some(bytes.get());
        self
    }

    pub(crate) const fn outbound_message_size(&self) -> usize {
        match self.max_outbound_message_size {
            Some(bytes) => bytes,
            None => self.max_message_size.saturating_add(ENVELOPE),
        }
    }

    pub(crate) const fn outbound_bytes(&self) -> usize {
        match self.max_outbound_bytes {
            Some(bytes) => bytes,
            None => {
                let four = messages_of(self.outbound_message_size(), 4);
                if four > OUTBOUND_BYTES { four } else { OUTBOUND_BYTES }
            }
        }
    }

    pub(crate) fn outbound_limits(&self) -> OutboundLimits {
        OutboundLimits {
            bytes: self.outbound_bytes(),
            messages: self.max_outbound_messages,
            message_size: self.outbound_message_size(),
            publish_wait: PUBLISH_WAIT.min(self.handler_timeout / 2),
        }
    }
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// What so many messages of `size` bytes take in the queue.
pub(super) const fn messages_of(size: usize, count: usize) -> usize {
    size.saturating_add(ENTRY_OVERHEAD).saturating_mul(count)
}

/// By how much a message may be longer on its way out.
pub(super) const ENVELOPE: usize = 16 * 1024;

const OUTBOUND_BYTES: usize = 1024 * 1024;
