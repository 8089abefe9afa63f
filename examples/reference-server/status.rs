//! Log on SIGUSR1 what is open, so that a leak can be seen from outside.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
};
use tower_websocket::{AuditEvent, AuditRecord, AuditSink, MemoryBudget, Rooms};

use crate::connections::Connections;

/// Counts memberships: rooms tell only of those one can name.
#[derive(Clone, Default)]
pub(crate) struct Census {
    members: Arc<AtomicI64>,
}

impl AuditSink for Census {
    fn record(&self, record: &AuditRecord) {
        match record.event {
            AuditEvent::Joined(_) => _ = self.members.fetch_add(1, Ordering::Relaxed),
            AuditEvent::Left(_) => _ = self.members.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
    }
}

/// Logs a line for each SIGUSR1, as long as the server runs.
pub(crate) async fn log_on_signal<R: 'static>(
    census: Census,
    connections: Connections,
    rooms: Rooms<R>,
    budget: Option<MemoryBudget>,
) {
    let mut asked = match signal(SignalKind::user_defined1()) {
        Ok(asked) => asked,
        Err(error) => return tracing::warn!(%error, "cannot listen for SIGUSR1"),
    };
    while asked.recv().await.is_some() {
        tracing::info!(
            connections = connections.len(),
            rooms = rooms.len(),
            members = census.members.load(Ordering::Relaxed),
            tasks = Handle::current().metrics().num_alive_tasks(),
            charged = budget.as_ref().map_or(0, MemoryBudget::used),
            "status"
        );
    }
}
