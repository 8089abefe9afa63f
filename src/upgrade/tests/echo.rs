//! Stands in for the connection stage: echoes data messages, keeps the permit as long as the socket.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};

use crate::{
    audit::{AuditEvent, AuditSink},
    handle::Connection,
    outbound::OutboundLimits,
    upgrade::{Accepted, Endpoint, WebSocketLayer},
};

struct Echo(Arc<dyn AuditSink>);

impl Endpoint for Echo {
    fn serve(&self, accepted: Accepted) {
        let audit = Arc::clone(&self.0);
        tokio::spawn(async move {
            let Accepted { upgrade, peer, mut permit } = accepted;
            permit.authenticated();
            let Ok(socket) = upgrade.await else { return };
            let limits = OutboundLimits { bytes: 1, messages: 1 };
            let connection = Connection::new(peer, limits, Arc::clone(&audit));
            audit.record(AuditEvent::Connected { connection: connection.id(), peer });
            let socket = TokioIo::new(socket);
            let mut socket = WebSocketStream::from_raw_socket(socket, Role::Server, None).await;
            while let Some(Ok(message)) = socket.next().await {
                if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err()
                {
                    break;
                }
            }
        });
    }
}

pub(crate) fn endpoint(audit: Arc<dyn AuditSink>) -> WebSocketLayer {
    WebSocketLayer::from_endpoint(Arc::new(Echo(Arc::clone(&audit)))).audit(audit)
}
