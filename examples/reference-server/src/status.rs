//! Log on SIGUSR1 what is open, so that a leak can be seen from outside.

use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
};
use tower_websocket::{MemoryBudget, Rooms};

use crate::connections::Connections;

/// Logs a line for each SIGUSR1, as long as the server runs.
pub(crate) async fn log_on_signal<R: 'static>(
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
            members = rooms.memberships(),
            tasks = Handle::current().metrics().num_alive_tasks(),
            charged = budget.as_ref().map_or(0, MemoryBudget::used),
            "status"
        );
    }
}
