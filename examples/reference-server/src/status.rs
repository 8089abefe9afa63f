//! Log on SIGUSR1 what is open, so that a leak can be seen from outside.

use tokio::{runtime::Handle, signal::unix::Signal};
use tower_websocket::{Connections, MemoryBudget, Rooms};

use crate::tls::Tls;

/// Logs a line for each SIGUSR1, as long as the server runs.
pub(crate) async fn log_on_signal<R: 'static>(
    mut asked: Signal,
    connections: Connections,
    rooms: Rooms<R>,
    budget: Option<MemoryBudget>,
    tls: Option<Tls>,
) {
    while asked.recv().await.is_some() {
        tracing::info!(
            connections = connections.len(),
            rooms = rooms.len(),
            members = rooms.memberships(),
            tasks = Handle::current().metrics().num_alive_tasks(),
            certificate_seconds_left = tls.as_ref().and_then(Tls::seconds_left),
            charged = budget.as_ref().map_or(0, MemoryBudget::used),
            "status"
        );
    }
}
