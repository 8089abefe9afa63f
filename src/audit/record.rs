//! Say when something happened, and to whom.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::SystemTime,
};

use super::AuditEvent;
use crate::connection_id::ConnectionId;

/// One thing that happened: when, to whom, and what.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct AuditRecord {
    /// When it happened: the clock of the system, read where the event is, so that a sink that writes
    /// later does not move it. Two records may have the same time, and a clock that is set back goes
    /// back: the order is that of the calls.
    pub at: SystemTime,
    /// Which of several servers it happened on: what
    /// [`WebSocketEndpoint::node`](crate::WebSocketEndpoint::node) was given. `None` without that, and if it
    /// was the application itself.
    pub node: Option<Arc<str>>,
    /// The connection it happened on; `None` if there is none, or if it was the application itself.
    pub connection: Option<ConnectionId>,
    /// The address of the socket that the connection, or the refused handshake, came in on, where it is
    /// known: behind a proxy the proxy's.
    pub peer: Option<SocketAddr>,
    /// The client's address: the same, or what a [trusted proxy](crate::TrustedProxies) vouches for. It is
    /// what to block, or to let off.
    pub client: Option<IpAddr>,
    /// The tenant of the user, or of the room that the application published to; `None` if it has
    /// none, or is not known yet.
    pub tenant: Option<Arc<str>>,
    /// The user's id, unique within the tenant, once the peer is authenticated.
    pub user: Option<Arc<str>>,
    /// What happened.
    pub event: AuditEvent,
}

impl AuditRecord {
    /// Whose share of the log it is.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.client.or_else(|| self.peer.map(|it| it.ip()))
    }

    /// `event` happened at this moment; who it is about is filled in by the caller.
    pub(crate) fn of(event: AuditEvent) -> Self {
        let at = SystemTime::now();
        Self {
            at,
            node: None,
            connection: None,
            peer: None,
            client: None,
            tenant: None,
            user: None,
            event,
        }
    }
}
