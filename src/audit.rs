//! Record what happened, outside delivery: every refusal, login, join, publication and close.

use std::{
    fmt,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    thread,
    time::Duration,
};

use crate::handle::ConnectionId;

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
/// Events go through a bounded queue to a worker thread of the sink's own, which writes them in
/// batches: at the latest 20 ms after they were recorded. Clones share both. Before the process
/// ends, [`flush`](Self::flush) what is queued.
///
/// # Deployment
///
/// This crate logs no token, cookie, query or message at any level. The protocol engine beneath it
/// does: at TRACE it prints whole messages, at DEBUG the peer's close reason, both through the `log`
/// crate. A subscriber that takes `log` records must cap it, whatever else it is told to show:
///
/// ```text
/// RUST_LOG=debug,tungstenite=info,tokio_tungstenite=info
/// ```
#[derive(Clone)]
pub struct TracingSink {
    /// Dropped with the last clone, which ends the worker.
    queue: Arc<Queue>,
}

/// What the sink and its worker share.
struct Queue {
    inner: Mutex<Queued>,
    /// Something for the worker to do.
    work: Condvar,
    /// The worker has written all there was.
    idle: Condvar,
}

#[derive(Default)]
struct Queued {
    events: Vec<AuditEvent>,
    /// Events there was no room for, or no worker, or that the subscriber panicked on.
    lost: u64,
    /// Somebody waits for the queue to be written.
    flush: bool,
}

impl TracingSink {
    /// A sink with a worker of its own.
    pub fn new() -> Self {
        Self::with_writer(write)
    }

    /// The sink that connections use unless they are given another: one for the process.
    pub fn shared() -> Self {
        static SHARED: OnceLock<TracingSink> = OnceLock::new();
        SHARED.get_or_init(Self::new).clone()
    }

    /// Waits until what was recorded is written, at most `limit`. Blocks the thread: for the end of a
    /// process. Says whether everything was written.
    pub fn flush(&self, limit: Duration) -> bool {
        let mut queued = self.queue.lock();
        queued.flush = true;
        self.queue.work.notify_all();
        let waited = self.queue.idle.wait_timeout_while(queued, limit, |it| it.flush);
        !waited.unwrap_or_else(PoisonError::into_inner).0.flush
    }

    fn with_writer(write: impl Fn(&AuditEvent) + Send + 'static) -> Self {
        let queue =
            Arc::new(Queue { inner: Mutex::default(), work: Condvar::new(), idle: Condvar::new() });
        let worker = Arc::downgrade(&queue);
        // Without a thread the queue fills, and every further event is counted as lost, which is
        // what happens to it.
        let _ = thread::Builder::new()
            .name("websocket-audit".into())
            .spawn(move || work(&worker, write));
        Self { queue }
    }
}

impl Default for TracingSink {
    fn default() -> Self {
        Self::new()
    }
}

impl AuditSink for TracingSink {
    fn record(&self, event: AuditEvent) {
        let mut queued = self.queue.lock();
        if queued.events.len() >= QUEUED_EVENTS {
            queued.lost += 1;
            return;
        }
        queued.events.push(event);
        // The worker wakes for the first event of a batch, not for each: waking a thread costs more
        // than all the rest.
        if queued.events.len() == 1 {
            self.queue.work.notify_one();
        }
    }
}

impl Queue {
    /// Held to push an event or to take the batch. Nothing in it can be half done.
    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for events, then a little for more of them.
    fn take_batch(&self) -> (Vec<AuditEvent>, u64) {
        let nothing = |it: &mut Queued| it.events.is_empty() && it.lost == 0 && !it.flush;
        let waited = self.work.wait_timeout_while(self.lock(), WORKER_PATIENCE, nothing);
        let (queued, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return (Vec::new(), 0);
        }
        let waited = self.work.wait_timeout_while(queued, BATCH, |it| !it.flush);
        let (mut queued, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut queued.events), std::mem::take(&mut queued.lost))
    }

    fn batch_written(&self, lost: u64) {
        let mut queued = self.lock();
        queued.lost += lost;
        if queued.events.is_empty() && queued.lost == 0 && queued.flush {
            queued.flush = false;
            self.idle.notify_all();
        }
    }
}

impl fmt::Debug for TracingSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracingSink").finish_non_exhaustive()
    }
}

/// Writes until the last sink is dropped.
fn work(queue: &Weak<Queue>, write: impl Fn(&AuditEvent)) {
    while let Some(queue) = queue.upgrade() {
        let (events, lost) = queue.take_batch();
        queue.batch_written(write_batch(&events, lost, &write));
    }
}

/// Reports `lost` events and writes the others; says how many are lost now.
///
/// A subscriber that panics costs what it was given, which is counted, not the audit log.
fn write_batch(events: &[AuditEvent], lost: u64, write: impl Fn(&AuditEvent)) -> u64 {
    let panics = |write: &dyn Fn()| catch_unwind(AssertUnwindSafe(write)).is_err();
    let report = || tracing::warn!(target: TARGET, event = "audit.dropped", count = lost);
    let unreported = if lost > 0 && panics(&report) { lost } else { 0 };
    events.iter().filter(|event| panics(&|| write(event))).count() as u64 + unreported
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

/// Events that may wait: 20 ms of 400,000 a second; past it they are counted, not kept.
const QUEUED_EVENTS: usize = 8192;

/// How long the worker lets a batch grow.
const BATCH: Duration = Duration::from_millis(20);

/// How often an idle worker looks whether its sink still exists.
const WORKER_PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
#[path = "tests/audit.rs"]
mod tests;
