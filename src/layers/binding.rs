//! Bind a service to the connection of its first message.
//!
//! What a layer's service keeps belongs to one connection: who its peer is, which rooms it is in, what
//! it has used up. The stack is made anew for each connection, so no other gets there. But tower has
//! ways to share a service that cannot be cloned, `Buffer` for one, and a lock around it is another:
//! then the message of a stranger comes to a service that knows another user, and would get that
//! user's proof. No type tells a shared service from one that is not, as both take messages of the same
//! type. So whatever keeps anything asks here first, and touches what it keeps only with an [`Own`].

use crate::{close::Close, connection::Connection, connection_id::ConnectionId};

/// The connection that a service belongs to: that of its first message, for good.
///
/// When that connection is gone the service refuses all: what it has learnt is not true of the next.
#[derive(Debug, Default)]
pub(crate) struct Binding {
    owner: Option<ConnectionId>,
    /// The operator was told.
    reported: bool,
}

/// A message came on the connection that the service belongs to.
#[must_use]
#[derive(Debug)]
pub(crate) struct Own(());

impl Binding {
    /// Whether no message has come yet.
    #[inline]
    pub(crate) fn is_new(&self) -> bool {
        self.owner.is_none()
    }

    /// Whether a message on `connection` may reach what `layer` keeps, or the reason that
    /// `connection`, and no other, closes with.
    #[inline]
    pub(crate) fn admit(
        &mut self,
        layer: &'static str,
        connection: &Connection,
    ) -> Result<Own, Close> {
        let id = connection.id();
        if *self.owner.get_or_insert(id) == id {
            return Ok(Own(()));
        }
        Err(self.refuse(layer, connection))
    }

    /// It is a mistake in how the endpoint was built: the peer can do nothing about it, and must not
    /// learn more than that the server failed. Who built it is told once for each service.
    #[cold]
    fn refuse(&mut self, layer: &'static str, connection: &Connection) -> Close {
        connection.refuse(layer, "stack.shared", None, None);
        if !std::mem::replace(&mut self.reported, true) {
            tracing::warn!(
                layer,
                "a service that belongs to one connection got a message of another, which was \
                 refused: the stack is shared, by a Buffer or a lock, and must be made for each \
                 connection"
            );
        }
        Close::HANDLER_FAILED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::{Audit, TracingSink},
        driver::ConnectionConfig,
    };

    fn connection() -> Connection {
        let limits = ConnectionConfig::default().outbound_limits();
        Connection::new(None, limits, None, Audit::new(TracingSink::new()))
    }

    // covers: XX-02
    #[tokio::test]
    async fn a_service_belongs_to_the_connection_of_its_first_message_for_good() {
        let (mut binding, first) = (Binding::default(), connection());
        for _ in 0..2 {
            assert!(binding.admit("test", &first).is_ok());
            assert!(binding.admit("test", &first.clone()).is_ok());
            let refused = binding.admit("test", &connection());
            assert_eq!(refused.err(), Some(Close::HANDLER_FAILED));
        }
        first.close(Close::NORMAL);
        drop(first);
        assert!(binding.admit("test", &connection()).is_err());
    }
}
