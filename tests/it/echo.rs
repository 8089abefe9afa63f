//! The endpoint that the tests of the handshake talk to.

use std::sync::Arc;

use tower::service_fn;
use tower_layer::Identity;
use tower_websocket::{Anonymous, AuditSink, CloseReason, Inbound, Message, Reply, WebSocketLayer};

/// Sends every message back.
pub(crate) fn endpoint(audit: Arc<dyn AuditSink>) -> WebSocketLayer {
    let echo = service_fn(async |inbound: Inbound<Message, Anonymous>| {
        Ok::<_, CloseReason>(Reply::one(inbound.message))
    });
    WebSocketLayer::new(Identity::new(), echo).allow_anonymous().audit(audit)
}
