//! Record what happened, outside delivery: every refusal, login, join, publication and close.
//!
//! Delivery is not a record: a message that reached a room proves nothing a week later. An
//! [`AuditSink`] gets typed events, none of which carries a token, a payload or any other text of the
//! peer's choosing but a room name (which has an alphabet) and the id of a user who was verified.
//!
//! [`TracingSink`] is the default. It hands events to a worker thread over a bounded queue, so that a
//! log that stalls never holds up a connection; what does not fit is counted, and the count is in the
//! stream (`audit.dropped`).
//!
//! # Example
//!
//! ```
//! use tower_websocket::{AuditEvent, AuditSink};
//!
//! /// Keeps what concerns logins.
//! #[derive(Debug)]
//! struct Logins(std::sync::mpsc::SyncSender<String>);
//!
//! impl AuditSink for Logins {
//!     fn record(&self, event: AuditEvent) {
//!         if let AuditEvent::AuthFailed { connection, rule } = event {
//!             let _ = self.0.try_send(format!("{connection} {rule}"));
//!         }
//!     }
//! }
//! ```

use std::{
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use crate::handle::ConnectionId;

/// Takes audit events.
///
/// `record` is called on the connection's task: it must only enqueue. A panic in it costs that
/// connection, with 1011.
pub trait AuditSink: Send + Sync + 'static {
    /// Takes one event.
    fn record(&self, event: AuditEvent);
}

impl<T: AuditSink + ?Sized> AuditSink for Arc<T> {
    fn record(&self, event: AuditEvent) {
        (**self).record(event);
    }
}

/// One thing that happened.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum AuditEvent {
    /// A handshake was refused; there is no connection.
    UpgradeRefused {
        /// The address the request came from, where it is known.
        peer: Option<SocketAddr>,
        /// The rule that refused it.
        rule: &'static str,
        /// The HTTP status of the answer.
        status: u16,
    },
    /// A connection is open; nothing is known of its peer yet.
    Connected {
        /// The connection.
        connection: ConnectionId,
        /// The address it came from, where it is known.
        peer: Option<SocketAddr>,
    },
    /// The peer was authenticated.
    Authenticated {
        /// The connection.
        connection: ConnectionId,
        /// The user's id.
        user: Arc<str>,
    },
    /// The peer's credentials were refused, or could not be verified.
    AuthFailed {
        /// The connection.
        connection: ConnectionId,
        /// Why: `auth.required`, `auth.failed` or `auth.error`.
        rule: &'static str,
    },
    /// The peer entered a room.
    Joined {
        /// The connection.
        connection: ConnectionId,
        /// The user's id.
        user: Arc<str>,
        /// The room's key.
        room: Arc<str>,
    },
    /// The peer left a room: it asked to, was removed, or its connection ended.
    Left {
        /// The connection.
        connection: ConnectionId,
        /// The user's id.
        user: Arc<str>,
        /// The room's key.
        room: Arc<str>,
    },
    /// A message was published to a room.
    Published {
        /// The connection it came from; `None` if the application published it.
        connection: Option<ConnectionId>,
        /// The room's key.
        room: Arc<str>,
        /// Payload bytes of the encoded message.
        bytes: usize,
        /// Members whose queue took it.
        members: usize,
    },
    /// A layer refused something.
    Refused(Refusal),
    /// The connection is over.
    Closed(Closed),
}

/// A decision against a peer: who decided, by which rule, on what numbers.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The connection.
    pub connection: ConnectionId,
    /// The user's id, once authenticated.
    pub user: Option<Arc<str>>,
    /// The layer that decided.
    pub layer: &'static str,
    /// The rule it decided by.
    pub rule: &'static str,
    /// What was seen, where the rule is about a number.
    pub observed: Option<u64>,
    /// What is allowed, where the rule is about a number.
    pub limit: Option<u64>,
    /// How often the same rule refused this connection since its last record: there is at most one
    /// record for a connection and rule each second.
    pub suppressed: u64,
}

/// How a connection ended, and what it did until then.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Closed {
    /// The connection.
    pub connection: ConnectionId,
    /// The address it came from, where it is known.
    pub peer: Option<SocketAddr>,
    /// The user's id, if it was authenticated.
    pub user: Option<Arc<str>>,
    /// The rule that ended it.
    pub rule: &'static str,
    /// The close code meant for the peer.
    pub intended_code: Option<u16>,
    /// Whether the close frame went out to the socket.
    pub flushed: bool,
    /// The close code the peer sent, legal or not.
    pub received_code: Option<u16>,
    /// From the accepted handshake to the last byte.
    pub duration: Duration,
    /// Bytes read from the socket.
    pub bytes_in: u64,
    /// Bytes the socket took.
    pub bytes_out: u64,
    /// Data messages handed to the stack.
    pub messages_in: u64,
    /// Data messages written.
    pub messages_out: u64,
    /// The most bytes ever held for the peer.
    pub queued_peak: usize,
    /// The longest time the socket took nothing although there was something to write.
    pub longest_stall: Duration,
    /// The last round trip of a ping and its pong.
    pub rtt: Option<Duration>,
    /// How long the last message took its handler.
    pub last_handler_time: Option<Duration>,
}

/// Writes each event as one `tracing` event at INFO with target `tower_websocket::audit`.
///
/// Events go through a bounded queue to a worker thread of the sink's own. Clones share both.
#[derive(Clone, Debug)]
pub struct TracingSink {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Dropped with the last clone, which ends the worker.
    queue: SyncSender<AuditEvent>,
    dropped: Arc<AtomicU64>,
}

impl TracingSink {
    /// A sink with a worker of its own.
    pub fn new() -> Self {
        Self::with_writer(write)
    }

    /// The sink that connections use unless they are given another: one for the process.
    pub(crate) fn shared() -> Self {
        static SHARED: OnceLock<TracingSink> = OnceLock::new();
        SHARED.get_or_init(Self::new).clone()
    }

    fn with_writer(write: impl Fn(&AuditEvent) + Send + 'static) -> Self {
        let (queue, events) = sync_channel(QUEUED_EVENTS);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        // Without a thread every event is counted as dropped, which is what happens to it.
        let _ = thread::Builder::new()
            .name("websocket-audit".into())
            .spawn(move || work(&events, &lost, write));
        Self { shared: Arc::new(Shared { queue, dropped }) }
    }
}

impl Default for TracingSink {
    fn default() -> Self {
        Self::new()
    }
}

impl AuditSink for TracingSink {
    fn record(&self, event: AuditEvent) {
        if self.shared.queue.try_send(event).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn work(events: &Receiver<AuditEvent>, dropped: &AtomicU64, write: impl Fn(&AuditEvent)) {
    // Waits with a limit so that losses are reported even if nothing follows them.
    loop {
        let event = events.recv_timeout(Duration::from_secs(1));
        let lost = dropped.swap(0, Ordering::Relaxed);
        let report = || tracing::warn!(target: TARGET, event = "audit.dropped", count = lost);
        if lost > 0 && catch_unwind(AssertUnwindSafe(report)).is_err() {
            dropped.fetch_add(lost, Ordering::Relaxed);
        }
        match event {
            Ok(event) => {
                // A subscriber that panics costs one event, which is counted, not the audit log.
                if catch_unwind(AssertUnwindSafe(|| write(&event))).is_err() {
                    dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn write(event: &AuditEvent) {
    match event {
        AuditEvent::UpgradeRefused { peer, rule, status } => {
            tracing::info!(target: TARGET, event = "handshake.rejected", peer = peer.map(tracing::field::display), rule, status);
        }
        AuditEvent::Connected { connection, peer } => {
            tracing::info!(target: TARGET, event = "connected", %connection, peer = peer.map(tracing::field::display));
        }
        AuditEvent::Authenticated { connection, user } => {
            tracing::info!(target: TARGET, event = "authenticated", %connection, user = user.escape_debug().to_string());
        }
        AuditEvent::AuthFailed { connection, rule } => {
            tracing::info!(target: TARGET, event = "auth.failed", %connection, rule);
        }
        AuditEvent::Joined { connection, user, room } => {
            tracing::info!(target: TARGET, event = "joined", %connection, user = user.escape_debug().to_string(), room = &**room);
        }
        AuditEvent::Left { connection, user, room } => {
            tracing::info!(target: TARGET, event = "left", %connection, user = user.escape_debug().to_string(), room = &**room);
        }
        AuditEvent::Published { connection, room, bytes, members } => {
            tracing::info!(target: TARGET, event = "published", connection = connection.map(tracing::field::display), room = &**room, bytes, members);
        }
        AuditEvent::Refused(refusal) => {
            tracing::info!(
                target: TARGET,
                event = "refused",
                connection = %refusal.connection,
                user = refusal.user.as_deref(),
                layer = refusal.layer,
                rule = refusal.rule,
                observed = refusal.observed,
                limit = refusal.limit,
                suppressed = refusal.suppressed,
            );
        }
        AuditEvent::Closed(closed) => {
            tracing::info!(
                target: TARGET,
                event = "closed",
                connection = %closed.connection,
                peer = closed.peer.map(tracing::field::display),
                user = closed.user.as_deref(),
                rule = closed.rule,
                intended_code = closed.intended_code,
                flushed = closed.flushed,
                received_code = closed.received_code,
                duration_ms = closed.duration.as_millis() as u64,
                bytes_in = closed.bytes_in,
                bytes_out = closed.bytes_out,
                messages_in = closed.messages_in,
                messages_out = closed.messages_out,
                queued_peak = closed.queued_peak,
                longest_stall_ms = closed.longest_stall.as_millis() as u64,
                rtt_us = closed.rtt.map(|it| it.as_micros() as u64),
                last_handler_us = closed.last_handler_time.map(|it| it.as_micros() as u64),
            );
        }
    }
}

/// The `tracing` target of every audit event.
const TARGET: &str = "tower_websocket::audit";

/// About a second of events at full load; past it they are counted, not kept.
const QUEUED_EVENTS: usize = 8192;

#[cfg(test)]
#[path = "tests/audit.rs"]
mod tests;
