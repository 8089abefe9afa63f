//! Tell the application who is in a room.

use std::{fmt, sync::Arc};

use crate::{connection::Connection, connection_id::ConnectionId};

/// Who is in a room: a connection, and its user. A user with two connections in a room is there twice.
#[non_exhaustive]
#[derive(Clone)]
pub struct MemberInfo {
    /// The member's connection.
    pub connection_id: ConnectionId,
    /// The user's id, unique within its tenant.
    pub user: Arc<str>,
    /// The user's tenant; `None` for users without one.
    pub tenant: Option<Arc<str>>,
    connection: Connection,
}

impl MemberInfo {
    pub(super) fn new(user: Arc<str>, connection: Connection) -> Self {
        let tenant = connection.tenant().cloned();
        Self { connection_id: connection.id(), user, tenant, connection }
    }

    /// The handle on the member's connection, if this process serves it.
    pub fn local(&self) -> Option<&Connection> {
        Some(&self.connection)
    }
}

impl fmt::Debug for MemberInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberInfo")
            .field("connection_id", &self.connection_id)
            .field("user", &self.user)
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}
