//! Write audit events to the log, on a thread that may wait for it.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use super::{AuditEvent, AuditSink};

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
    worker: Arc<Worker>,
}

/// Dropped with the last clone, which ends the worker once everything is written.
struct Worker {
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
    /// Nobody can record any more.
    closed: bool,
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
        let queue = &self.worker.queue;
        let mut queued = queue.lock();
        queued.flush = true;
        queue.work.notify_all();
        let waited = queue.idle.wait_timeout_while(queued, limit, |it| it.flush);
        !waited.unwrap_or_else(PoisonError::into_inner).0.flush
    }

    fn with_writer(write: impl Fn(&AuditEvent) + Send + 'static) -> Self {
        let queue =
            Arc::new(Queue { inner: Mutex::default(), work: Condvar::new(), idle: Condvar::new() });
        let worker = Worker { queue: Arc::clone(&queue) };
        // Without a thread the queue fills, and every further event is counted as lost, which is
        // what happens to it.
        let _ = thread::Builder::new()
            .name("websocket-audit".into())
            .spawn(move || work(&queue, write));
        Self { worker: Arc::new(worker) }
    }
}

impl Default for TracingSink {
    fn default() -> Self {
        Self::new()
    }
}

impl AuditSink for TracingSink {
    fn record(&self, event: AuditEvent) {
        let queue = &self.worker.queue;
        let mut queued = queue.lock();
        if queued.events.len() >= QUEUED_EVENTS {
            queued.lost += 1;
            return;
        }
        queued.events.push(event);
        // The worker wakes for the first event of a batch, not for each: waking a thread costs more
        // than all the rest.
        if queued.events.len() == 1 {
            queue.work.notify_one();
        }
    }
}

impl Queue {
    /// Held to push an event or to take the batch. Nothing in it can be half done.
    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for events, then a little for more of them. The last batch says that it is.
    fn take_batch(&self) -> (Vec<AuditEvent>, u64, bool) {
        let nothing =
            |it: &mut Queued| it.events.is_empty() && it.lost == 0 && !it.flush && !it.closed;
        let queued = self.work.wait_while(self.lock(), nothing);
        // What can only be reported as lost is in no hurry: a subscriber may panic on that for ever.
        let may_grow =
            |it: &mut Queued| !it.closed && (!it.flush || (it.events.is_empty() && it.lost > 0));
        let queued = queued.unwrap_or_else(PoisonError::into_inner);
        let waited = self.work.wait_timeout_while(queued, BATCH, may_grow);
        let (mut queued, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut queued.events), std::mem::take(&mut queued.lost), queued.closed)
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

impl Drop for Worker {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.work.notify_all();
    }
}

/// Writes until the last sink is dropped, and then what is left.
fn work(queue: &Queue, write: impl Fn(&AuditEvent)) {
    loop {
        let (events, lost, last) = queue.take_batch();
        let lost = write_batch(&events, lost, &write);
        if last {
            return;
        }
        queue.batch_written(lost);
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
        AuditEvent::UpgradeRefused { peer, rule, status, suppressed } => {
            tracing::info!(target: TARGET, event = "handshake.rejected", peer = peer.map(tracing::field::display), rule, status, suppressed);
        }
        AuditEvent::Connected { connection, peer } => {
            tracing::info!(target: TARGET, event = "connected", %connection, peer = peer.map(tracing::field::display));
        }
        AuditEvent::Authenticated { connection, user } => {
            tracing::info!(target: TARGET, event = "authenticated", %connection, user = spelled(user));
        }
        AuditEvent::AuthFailed { connection, rule } => {
            tracing::info!(target: TARGET, event = "auth.failed", %connection, rule);
        }
        AuditEvent::Joined { connection, user, room } => {
            tracing::info!(target: TARGET, event = "joined", %connection, user = spelled(user), room = &**room);
        }
        AuditEvent::Left { connection, user, room } => {
            tracing::info!(target: TARGET, event = "left", %connection, user = spelled(user), room = &**room);
        }
        AuditEvent::Published { connection, room, bytes, members } => {
            tracing::info!(target: TARGET, event = "published", connection = connection.map(tracing::field::display), room = &**room, bytes, members);
        }
        AuditEvent::Refused(refusal) => {
            tracing::info!(
                target: TARGET,
                event = "refused",
                connection = %refusal.connection,
                user = refusal.user.as_deref().map(spelled),
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
                user = closed.user.as_deref().map(spelled),
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

/// A user's id, which may be anything that the verifier lets pass, on one line.
fn spelled(user: &str) -> String {
    user.escape_debug().to_string()
}

/// The `tracing` target of every audit event.
const TARGET: &str = "tower_websocket::audit";

/// Events that may wait: 20 ms of 400,000 a second; past it they are counted, not kept.
const QUEUED_EVENTS: usize = 8192;

/// How long the worker lets a batch grow.
const BATCH: Duration = Duration::from_millis(20);

#[cfg(test)]
#[path = "tests/tracing_sink.rs"]
mod tests;
