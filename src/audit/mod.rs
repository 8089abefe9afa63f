//! Record what happened, outside delivery: every refusal, login, join, publication and close.
//!
//! Delivery is not a record: a message that reached a room proves nothing a week later. An
//! [`AuditSink`] gets an [`AuditRecord`] of each thing that happened, none of which carries a token, a
//! payload or any other text of the peer's choosing but a room name (which has an alphabet), the id and
//! tenant of a user who was verified, and, escaped and cut, the origin and host of a refused handshake.
//! [`TracingSink`], the default, writes them to the log.
//!
//! A record is one struct, and so is each event: later versions add fields to them, and break no sink.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};

pub use self::{
    event::{
        AuditEvent, AuthFailed, Authenticated, Closed, Connected, Joined, Left, LeftAll, Offered,
        Published, Refused, Skipped, UpgradeRefused,
    },
    record::AuditRecord,
    tracing_sink::TracingSink,
};

use crate::foreign;

mod record;
mod event;
mod bucket;
pub(crate) mod throttle;
mod share;
mod queue;
mod tracing_sink;

/// Takes audit records.
///
/// [`TracingSink`] is the default. It hands records to a worker thread over a bounded queue, so that a
/// log that stalls never holds up a connection; what does not fit is counted, and the count is in the
/// stream (`audit.dropped`).
///
/// `record` is called on the connection's task: it must only enqueue. A panic in it costs that
/// connection, with 1011.
///
/// Two sinks are one as a pair: `(mine, TracingSink::shared())`. Each gets every record, also if the
/// other panics. Whatever points to a sink is one: `&'static S`, `Arc<dyn AuditSink>`, `Box<dyn AuditSink>`.
///
/// # Example
///
/// ```
/// use tower_websocket::{AuditEvent, AuditRecord, AuditSink};
///
/// /// Keeps what concerns logins.
/// #[derive(Debug)]
/// struct Logins(std::sync::mpsc::SyncSender<String>);
///
/// impl AuditSink for Logins {
///     fn record(&self, record: &AuditRecord) {
///         if let AuditEvent::AuthFailed(failed) = &record.event {
///             let _ = self.0.try_send(format!("{:?} {}", record.peer, failed.rule));
///         }
///     }
/// }
/// ```
///
/// To try one, the test kit has a record of each kind: `testing::Records::one_of_each`.
pub trait AuditSink: Send + Sync + 'static {
    /// Takes one record.
    fn record(&self, record: &AuditRecord);
}

macro_rules! pointers_to_sinks {
    ($($pointer:ty),*) => {$(
        impl<T: AuditSink + ?Sized> AuditSink for $pointer {
            fn record(&self, record: &AuditRecord) {
                (**self).record(record);
            }
        }
    )*};
}

pointers_to_sinks!(&'static T, Arc<T>, Box<T>);

impl<A: AuditSink, B: AuditSink> AuditSink for (A, B) {
    fn record(&self, record: &AuditRecord) {
        // The second sink may be the one that must not lose anything.
        let first = catch_unwind(AssertUnwindSafe(|| self.0.record(record)));
        let second = catch_unwind(AssertUnwindSafe(|| self.1.record(record)));
        if let Err(panic) = foreign::first_panic([first, second]) {
            resume_unwind(panic);
        }
    }
}

/// Where an endpoint's records go, and the name of the node that is in them.
#[derive(Clone)]
pub(crate) struct Audit {
    sink: Arc<dyn AuditSink>,
    node: Option<Arc<str>>,
}

impl Audit {
    pub(crate) fn new(sink: impl AuditSink) -> Self {
        Self { sink: Arc::new(sink), node: None }
    }

    /// The same records, handed to `sink`.
    pub(crate) fn with_sink(self, sink: impl AuditSink) -> Self {
        Self { sink: Arc::new(sink), ..self }
    }

    pub(crate) fn with_node(self, node: Arc<str>) -> Self {
        Self { node: Some(node), ..self }
    }

    /// Hands `record` to the sink as one of this node; says whether the sink took it.
    #[must_use]
    pub(crate) fn tell(&self, record: AuditRecord) -> bool {
        tell(&*self.sink, &AuditRecord { node: self.node.clone(), ..record })
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Hands `record` to `sink`; says whether the sink took it, and did not panic.
///
/// It is the application's code, and what it is told about goes on without it: an answer is written, a
/// message delivered, a room left.
#[must_use]
pub(crate) fn tell(sink: &dyn AuditSink, record: &AuditRecord) -> bool {
    foreign::run(|| sink.record(record)).is_some()
}
