//! Record what happened, outside delivery: every refusal, login, join, publication and close.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::handle::ConnectionId;

pub use self::tracing_sink::TracingSink;

pub(crate) mod thinner;
mod tracing_sink;

/// Takes audit events.
///
/// Delivery is not a record: a message that reached a room proves nothing a week later. An
/// [`AuditSink`] gets typed events, none of which carries a token, a payload or any other text of the
/// peer's choosing but a room name (which has an alphabet) and the id of a user who was verified.
///
/// [`TracingSink`] is the default. It hands events to a worker thread over a bounded queue, so that a
/// log that stalls never holds up a connection; what does not fit is counted, and the count is in the
/// stream (`audit.dropped`).
///
/// `record` is called on the connection's task: it must only enqueue. A panic in it costs that
/// connection, with 1011.
///
/// # Example
///
/// ```
/// use tower_websocket::{AuditEvent, AuditSink};
///
/// /// Keeps what concerns logins.
/// #[derive(Debug)]
/// struct Logins(std::sync::mpsc::SyncSender<String>);
///
/// impl AuditSink for Logins {
///     fn record(&self, event: AuditEvent) {
///         if let AuditEvent::AuthFailed { connection, rule } = event {
///             let _ = self.0.try_send(format!("{connection} {rule}"));
///         }
///     }
/// }
/// ```
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
        /// How many refusals by this rule were not recorded since its last record: there are at most
        /// 100 records for an endpoint and rule each second.
        suppressed: u64,
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
