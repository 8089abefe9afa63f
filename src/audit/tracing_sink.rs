//! Write audit events to the log, on a thread that may wait for it.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, UNIX_EPOCH},
};

use super::{
    AuditEvent, AuditRecord, AuditSink, AuthFailed, Authenticated, Connected, Joined, Left,
    Published, UpgradeRefused,
};

/// Writes each record as one `tracing` event at INFO with target `tower_websocket::audit`.
///
/// `event` is the event's [name](AuditEvent::name), `at` the time at which it happened: the time that
/// the subscriber writes is that of the writing. `connection`, `peer`, `tenant` and `user` say whose it
/// is, where that is known.
///
/// Records go through a bounded queue to a worker thread of the sink's own, which writes them in
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
    records: Vec<AuditRecord>,
    /// Records there was no room for, or no worker, or that the subscriber panicked on.
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

    fn with_writer(write: impl Fn(&AuditRecord) + Send + 'static) -> Self {
        let queue =
            Arc::new(Queue { inner: Mutex::default(), work: Condvar::new(), idle: Condvar::new() });
        let worker = Worker { queue: Arc::clone(&queue) };
        // Without a thread the queue fills, and every further record is counted as lost, which is
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
    fn record(&self, record: &AuditRecord) {
        let queue = &self.worker.queue;
        let mut queued = queue.lock();
        if queued.records.len() >= QUEUED_RECORDS {
            queued.lost += 1;
            return;
        }
        queued.records.push(record.clone());
        // The worker wakes for the first record of a batch, not for each: waking a thread costs more
        // than all the rest.
        if queued.records.len() == 1 {
            queue.work.notify_one();
        }
    }
}

impl Queue {
    /// Held to push a record or to take the batch. Nothing in it can be half done.
    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for records, then a little for more of them. The last batch says that it is.
    fn take_batch(&self) -> (Vec<AuditRecord>, u64, bool) {
        let nothing =
            |it: &mut Queued| it.records.is_empty() && it.lost == 0 && !it.flush && !it.closed;
        let queued = self.work.wait_while(self.lock(), nothing);
        // What can only be reported as lost is in no hurry: a subscriber may panic on that for ever.
        let may_grow =
            |it: &mut Queued| !it.closed && (!it.flush || (it.records.is_empty() && it.lost > 0));
        let queued = queued.unwrap_or_else(PoisonError::into_inner);
        let waited = self.work.wait_timeout_while(queued, BATCH, may_grow);
        let (mut queued, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut queued.records), std::mem::take(&mut queued.lost), queued.closed)
    }

    fn batch_written(&self, lost: u64) {
        let mut queued = self.lock();
        queued.lost += lost;
        if queued.records.is_empty() && queued.lost == 0 && queued.flush {
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
fn work(queue: &Queue, write: impl Fn(&AuditRecord)) {
    loop {
        let (records, lost, last) = queue.take_batch();
        let lost = write_batch(&records, lost, &write);
        if last {
            return;
        }
        queue.batch_written(lost);
    }
}

/// Reports `lost` records and writes the others; says how many are lost now.
///
/// A subscriber that panics costs what it was given, which is counted, not the audit log.
fn write_batch(records: &[AuditRecord], lost: u64, write: impl Fn(&AuditRecord)) -> u64 {
    let panics = |write: &dyn Fn()| catch_unwind(AssertUnwindSafe(write)).is_err();
    let report = || tracing::warn!(target: TARGET, event = "audit.dropped", count = lost);
    let unreported = if lost > 0 && panics(&report) { lost } else { 0 };
    records.iter().filter(|it| panics(&|| write(it))).count() as u64 + unreported
}

/// Writes one line. Who and when are in all of them; what is not known is not there.
fn write(record: &AuditRecord) {
    macro_rules! line {
        ($($fields:tt)*) => {
            tracing::info!(
                target: TARGET,
                event = record.event.name(),
                connection = record.connection.map(tracing::field::display),
                peer = record.peer.map(tracing::field::display),
                tenant = record.tenant.as_deref().map(spelled),
                user = record.user.as_deref().map(spelled),
                $($fields)*
                at = %humantime::format_rfc3339_micros(record.at.max(UNIX_EPOCH)),
            )
        };
    }
    match &record.event {
        AuditEvent::Connected(Connected {}) | AuditEvent::Authenticated(Authenticated {}) => {
            line!();
        }
        AuditEvent::UpgradeRefused(UpgradeRefused { rule, status, origin, host, suppressed }) => {
            line!(rule, status, origin = origin.as_deref(), host = host.as_deref(), suppressed,);
        }
        AuditEvent::AuthFailed(AuthFailed { rule }) => line!(rule,),
        AuditEvent::Joined(Joined { room }) | AuditEvent::Left(Left { room }) => {
            line!(room = &**room,);
        }
        AuditEvent::Published(Published { room, bytes, members }) => {
            line!(room = &**room, bytes, members,);
        }
        AuditEvent::Refused(refused) => line!(
            layer = refused.layer,
            rule = refused.rule,
            observed = refused.observed,
            limit = refused.limit,
            suppressed = refused.suppressed,
        ),
        AuditEvent::Closed(closed) => line!(
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
        ),
    }
}

/// What a verifier let pass, which may be anything, on one line.
fn spelled(name: &str) -> String {
    name.escape_debug().to_string()
}

/// The `tracing` target of every record.
const TARGET: &str = "tower_websocket::audit";

/// Records that may wait: 20 ms of 400,000 a second; past it they are counted, not kept.
const QUEUED_RECORDS: usize = 8192;

/// How long the worker lets a batch grow.
const BATCH: Duration = Duration::from_millis(20);

#[cfg(test)]
#[path = "tests/tracing_sink.rs"]
mod tests;
