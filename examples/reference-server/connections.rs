//! Know the open connections, to close them when the server stops.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};
use tower_websocket::{CloseReason, Connection, ConnectionId};

/// The open connections: as many as the admission limits let in. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Connections {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    open: Mutex<HashMap<ConnectionId, Connection>>,
    /// Told when the last one has ended.
    empty: Notify,
}

impl Connections {
    /// A hook that counts a connection in.
    pub(crate) fn opened(&self) -> impl Fn(&Connection) + Send + Sync + 'static {
        let this = self.clone();
        move |connection| {
            this.open().insert(connection.id(), connection.clone());
        }
    }

    /// A hook that counts a connection out.
    pub(crate) fn closed(&self) -> impl Fn(&Connection) + Send + Sync + 'static {
        let this = self.clone();
        move |connection| {
            let mut open = this.open();
            open.remove(&connection.id());
            if open.is_empty() {
                this.shared.empty.notify_waiters();
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.open().len()
    }

    /// Closes all with 1001 and waits until they have ended, at most `limit`.
    pub(crate) async fn close_all(&self, limit: Duration) {
        let ended = self.shared.empty.notified();
        let mut ended = std::pin::pin!(ended);
        ended.as_mut().enable();
        {
            let open = self.open();
            tracing::info!(connections = open.len(), "closing");
            if open.is_empty() {
                return;
            }
            for connection in open.values() {
                connection.close(CloseReason::GoingAway);
            }
        }
        if timeout(limit, ended).await.is_err() {
            tracing::info!(connections = self.open().len(), "left behind");
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<ConnectionId, Connection>> {
        self.shared.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
