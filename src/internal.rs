//! What the crate's own fuzz targets, benchmarks and tests may call. No promises.

use std::sync::Arc;

use http::{HeaderValue, Request};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    audit::{Audit, AuditSink, Connected},
    connection::Connection,
    driver::{self, ConnectionConfig, calls::Calls, stats::ConnectionStats, transport::Opaque},
    layers::MessageStack,
    upgrade::{self, OriginPolicy, UpgradeRejectionKind},
};
pub use crate::{
    driver::{
        Authentication,
        scanner::{FrameScanner, Partial, ProtocolViolation, ScannerLimits, Violation},
    },
    layers::json::from_str,
};

/// A connection that has no socket yet.
pub fn connection(config: &ConnectionConfig, audit: impl AuditSink) -> Connection {
    Connection::new(None, config.outbound_limits(), None, Audit::new(audit))
}

/// Serves `connection` on any byte stream, as the task of an upgraded one does.
pub async fn serve<Io, S>(
    io: Io,
    connection: Connection,
    config: ConnectionConfig,
    authentication: Authentication,
    stack: S,
) where
    Io: AsyncRead + AsyncWrite + Unpin,
    S: MessageStack + Send + 'static,
    S::Future: Send,
{
    let stats = ConnectionStats::new(connection, Connected::default());
    let (io, config, calls) = (Opaque(io), Arc::new(config), Calls::new(stack));
    driver::serve(io, Box::default(), stats, config, authentication, calls, Box::new(())).await;
}

/// What `policy` and the rules of the handshake say to `request`: the `Sec-WebSocket-Accept` to answer
/// with, or nothing for what does not try to upgrade.
///
/// # Errors
///
/// The kind of the refusal.
pub fn handshake<B>(
    request: &Request<B>,
    policy: &OriginPolicy,
) -> Result<Option<HeaderValue>, UpgradeRejectionKind> {
    upgrade::verify(request, policy)
}
