//! The endpoint that the tests of the handshake talk to.

use std::{sync::Arc, time::Duration};

use tower::service_fn;
use tower_layer::Identity;
use tower_websocket::{
    Anonymous, AuditSink, Close, ConnectionConfig, Inbound, Message, Reply, WebSocketEndpoint,
};

/// Sends every message back.
pub fn endpoint(audit: Arc<dyn AuditSink>) -> WebSocketEndpoint {
    let echo = service_fn(async |inbound: Inbound<Message, Anonymous>| {
        Ok::<_, Close>(Reply::one(inbound.message))
    });
    // The first ping comes at a random moment; none is to come in the middle of a test.
    let config = ConnectionConfig::new().ping_interval(Duration::from_secs(24 * 60 * 60));
    WebSocketEndpoint::new(Identity::new(), echo)
        .allow_anonymous()
        .audit(audit)
        .connection(config)
        .unwrap()
}
