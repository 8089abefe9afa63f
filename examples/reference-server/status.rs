//! Log on SIGUSR1 what is open, so that a leak can be seen from outside.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
};
use tower_websocket::{AuditEvent, AuditSink, MemoryBudget, Rooms, TracingSink};

use crate::connections::Connections;

/// Records as [`TracingSink`] does, and counts memberships: rooms tell only of those one can name.
#[derive(Clone)]
pub(crate) struct Census {
    members: Arc<AtomicI64>,
    log: TracingSink,
}

impl Census {
    pub(crate) fn new() -> Self {
        Self { members: Arc::default(), log: TracingSink::shared() }
    }
}

impl AuditSink for Census {
    fn record(&self, event: AuditEvent) {
        match event {
            AuditEvent::Joined { .. } => _ = self.members.fetch_add(1, Ordering::Relaxed),
            AuditEvent::Left { .. } => _ = self.members.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
        self.log.record(event);
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
