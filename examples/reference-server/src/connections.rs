//! Know what is open, to close it when the server stops.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use tower_websocket::{Close, Connection, ConnectionId, audit::Closed};

/// The open connections, as many as the admission limits let in, and the sockets that may become one.
/// Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Connections {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    open: Mutex<Open>,
    /// Told when there is nothing left.
    empty: Notify,
}

#[derive(Default)]
struct Open {
    connections: HashMap<ConnectionId, Connection>,
    /// Sockets that are still HTTP.
    sockets: usize,
    /// What opens now is closed at once. Under the same lock as the connections, so that none comes
    /// between the look at them and the end.
    stopping: bool,
}

/// A socket that is still HTTP.
pub(crate) struct Socket {
    connections: Connections,
}

impl Connections {
    /// A hook that counts a connection in.
    pub(crate) fn opened(&self) -> impl Fn(&Connection) + Send + Sync + 'static {
        let this = self.clone();
        move |connection| {
            let mut open = this.open();
            open.connections.insert(connection.id(), connection.clone());
            if open.stopping {
                connection.close(Close::GOING_AWAY);
            }
        }
    }

    /// A hook that counts a connection out.
    pub(crate) fn closed(&self) -> impl Fn(&Connection, &Closed) + Send + Sync + 'static {
        let this = self.clone();
        move |connection, _| {
            let mut open = this.open();
            open.connections.remove(&connection.id());
            // What a flood has grown is given back.
            if open.connections.len() < open.connections.capacity() / 4 {
                open.connections.shrink_to_fit();
            }
            this.tell_if_empty(&open);
        }
    }

    /// Counts a socket in, until what is returned is dropped.
    pub(crate) fn socket(&self) -> Socket {
        self.open().sockets += 1;
        Socket { connections: self.clone() }
    }

    pub(crate) fn len(&self) -> usize {
        self.open().connections.len()
    }

    /// Closes all with 1001, also those that are about to open.
    pub(crate) fn close_all(&self) {
        let mut open = self.open();
        open.stopping = true;
        let connections = open.connections.len();
        for connection in open.connections.values() {
            connection.close(Close::GOING_AWAY);
        }
        drop(open);
        tracing::info!(connections, "closing");
    }

    /// Waits until nothing is open, and nothing can become a connection any more.
    pub(crate) async fn ended(&self) {
        loop {
            let told = self.shared.empty.notified();
            let mut told = std::pin::pin!(told);
            // Before the look, so that the end is not missed in between.
            told.as_mut().enable();
            if self.open().is_empty() {
                return;
            }
            told.await;
        }
    }

    fn tell_if_empty(&self, open: &Open) {
        if open.is_empty() {
            self.shared.empty.notify_waiters();
        }
    }

    /// Held to count, and to tell each connection to close; never across an await.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.shared.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn is_empty(&self) -> bool {
        self.connections.is_empty() && self.sockets == 0
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        open.sockets -= 1;
        self.connections.tell_if_empty(&open);
    }
}
