//! Write audit events to the log, on a thread that may wait for it.

use std::{
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, UNIX_EPOCH},
};

use super::{
    AuditEvent, AuditRecord, AuditSink, AuthFailed, Authenticated, Connected, Joined, Left,
    LeftAll, Offered, Published, Skipped, UpgradeRefused,
    queue::{Batch, Queue, Unreported},
};
use crate::{foreign, opaque::opaque_debug, quota::Quota};

/// Writes each record as one `tracing` event at INFO with target `tower_websocket::audit`.
///
/// `event` is the event's [name](AuditEvent::name), `at` the time at which it happened: the time that
/// the subscriber writes is that of the writing. `node` is the server's name, if it
/// [has one](crate::WebSocketEndpoint::node). `connection`, `peer`, `tenant` and `user` say whose it is,
/// where that is known.
///
/// Records go through a bounded queue to a worker thread of the sink's own, which writes them in
/// batches: at the latest 20 ms after they were recorded. Clones share both. Before the process
/// ends, [`flush`](Self::flush) what is queued.
///
/// # How much it writes
///
/// A log has a size, and peers can cause records without end. So there is one rate for the sum of all
/// kinds, rules, rooms and addresses: 200 records a second and 65,536 at once, unless
/// [set](Self::with_rate).
///
/// * The beginnings and ends of connections and logins (`connected`, `authenticated`, `auth.failed`,
///   `closed`) have half of it, what is published in rooms a quarter, and everything else a quarter;
///   no class takes what is another's. So it is in the queue: there are places for 32,768 of the first
///   and 8,192 of each of the others, and no flood of messages costs a `closed`.
/// * Of each class one address has an eighth at most (an IPv6 /56 a quarter, a /48 a half), where it is
///   known. A peer that connects and hangs up all day leaves room for the lives of others.
///
/// What is over the rate is in the stream as a count: `audit.suppressed` with `kind` and `count`, each
/// ten seconds. What found no place because the log stalls is `audit.dropped`, at WARN, with the same
/// fields. A record that stood for others (`suppressed`) counts with them.
///
/// The rate is this sink's and not the crate's: a sink that writes to a database is given every record,
/// closes above all, and drops none unless it decides to. What has no end is throttled before any sink:
/// the [refusals](super::Refused) and [joins](super::Joined) of one connection, and the
/// [refused handshakes](super::UpgradeRefused) of one endpoint, each with the number of those that are
/// not there.
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
///
/// A directive for one of its modules, as `tungstenite::protocol=trace`, outranks that: who lets others set
/// the filter caps the engine in the subscriber, as the reference server does (`logs.rs`).
#[derive(Clone)]
pub struct TracingSink {
    worker: Arc<Worker>,
}

/// Dropped with the last clone, which ends the worker once everything is written.
struct Worker {
    queue: Arc<Queue>,
}

impl TracingSink {
    /// A sink with a worker and a rate of its own.
    pub fn new() -> Self {
        Self::with_rate(DEFAULT_RATE)
    }

    /// The same, which writes so many records in a time, and so many at once: the sum over everything
    /// that it is given. See [above](Self#how-much-it-writes) for who gets which share of it.
    ///
    /// Raise it where more is published than a quarter of it, and each publication is to be in the log.
    pub fn with_rate(rate: Quota) -> Self {
        Self::with_writer(rate, write)
    }

    /// The sink that connections use unless they are given another: one for the process.
    pub fn shared() -> Self {
        static SHARED: OnceLock<TracingSink> = OnceLock::new();
        SHARED.get_or_init(Self::new).clone()
    }

    /// Waits until what was recorded is written, at most `limit`. Blocks the thread: for the end of a
    /// process. Says whether everything was written.
    pub fn flush(&self, limit: Duration) -> bool {
        self.worker.queue.flush(limit)
    }

    fn with_writer(rate: Quota, write: impl Fn(&AuditRecord) + Send + 'static) -> Self {
        let queue = Arc::new(Queue::new(rate));
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
        // Without a listener there is no cost.
        if tracing::enabled!(target: TARGET, tracing::Level::INFO) {
            self.worker.queue.push(record);
        }
    }
}

opaque_debug! { [] TracingSink; }

impl Drop for Worker {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Writes until the last sink is dropped, and then what is left.
fn work(queue: &Queue, write: impl Fn(&AuditRecord)) {
    loop {
        let batch = queue.take_batch();
        let last = batch.last;
        let unreported = write_batch(batch, &write);
        if last {
            return;
        }
        queue.batch_written(unreported);
    }
}

/// Says what is not there, and writes the others; returns what has still to be said.
///
/// A subscriber that panics costs what it was given, which is counted, not the audit log.
fn write_batch(batch: Batch, write: impl Fn(&AuditRecord)) -> Unreported {
    let panics = |write: &dyn Fn()| foreign::run(write).is_none();
    let Batch { records, mut unreported, .. } = batch;
    unreported.dropped.report(|kind, count| {
        !panics(&|| tracing::warn!(target: TARGET, event = "audit.dropped", count, kind))
    });
    unreported.suppressed.report(|kind, count| {
        !panics(&|| tracing::info!(target: TARGET, event = "audit.suppressed", count, kind))
    });
    for record in records.iter().filter(|it| panics(&|| write(it))) {
        unreported.dropped.add_all_of(record);
    }
    unreported
}

/// Writes one line. Who and when are in all of them; what is not known is not there.
fn write(record: &AuditRecord) {
    macro_rules! line {
        ($($fields:tt)*) => {
            tracing::info!(
                target: TARGET,
                event = record.event.name(),
                node = record.node.as_deref().map(escaped),
                connection = record.connection.map(tracing::field::display),
                peer = record.peer.map(tracing::field::display),
                client = record.client.map(tracing::field::display),
                tenant = record.tenant.as_deref().map(escaped),
                user = record.user.as_deref().map(escaped),
                $($fields)*
                at = %humantime::format_rfc3339_micros(record.at.max(UNIX_EPOCH)),
            )
        };
    }
    match &record.event {
        AuditEvent::Connected(Connected { upgrades, subprotocols, extensions }) => line!(
            upgrades = offered(upgrades),
            subprotocols = offered(subprotocols),
            extensions = offered(extensions),
        ),
        AuditEvent::Authenticated(Authenticated {}) => line!(),
        AuditEvent::UpgradeRefused(UpgradeRefused { rule, status, origin, host, suppressed }) => {
            line!(rule, status, origin = origin.as_deref(), host = host.as_deref(), suppressed,);
        }
        AuditEvent::AuthFailed(AuthFailed { rule }) => line!(rule,),
        AuditEvent::Joined(Joined { room, suppressed }) => line!(room = &**room, suppressed,),
        AuditEvent::Left(Left { room }) => line!(room = &**room,),
        AuditEvent::LeftAll(LeftAll { count, rooms }) => {
            line!(count, rooms = rooms.join(" "),);
        }
        AuditEvent::Published(Published { room, bytes, members }) => {
            line!(room = &**room, bytes, members,);
        }
        AuditEvent::Skipped(Skipped { room, bytes, suppressed }) => {
            line!(room = &**room, bytes, suppressed,);
        }
        AuditEvent::Refused(refused) => line!(
            layer = refused.layer,
            rule = refused.rule,
            observed = refused.observed,
            limit = refused.limit,
            fault = refused.fault,
            field = refused.field.as_deref(),
            constraint = refused.constraint,
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
            suppressed = closed.suppressed,
        ),
    }
}

fn offered(offered: &Offered) -> Option<String> {
    (!offered.is_empty()).then(|| offered.to_string())
}

/// What a verifier or an operator let pass, which may be anything, on one line.
fn escaped(name: &str) -> String {
    name.escape_debug().to_string()
}

/// The `tracing` target of every record.
const TARGET: &str = "tower_websocket::audit";

/// A quiet day of a large server, and the worst day of any. All records of ten thousand connections that
/// come, log in and go at once pass, and 200 a second of whatever lasts, which is below 7 MB a minute,
/// or 10 GB a day, of JSON: the log of a flood fits the disk of a small machine until an operator has
/// seen it.
const DEFAULT_RATE: Quota = Quota::per_second(200).burst(65_536);

#[cfg(test)]
#[path = "tests/tracing_sink.rs"]
mod tests;
