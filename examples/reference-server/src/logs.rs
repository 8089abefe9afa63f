//! Write one JSON object for each event to stdout.

use std::env;

use tracing_subscriber::EnvFilter;

/// Logs as `RUST_LOG` says, INFO by default.
///
/// Whatever it says, the protocol engine stays at INFO: at TRACE it prints whole messages, tokens
/// included.
pub(crate) fn init() {
    let wanted = env::var("RUST_LOG").unwrap_or_default();
    let wanted = if wanted.is_empty() { "info" } else { &wanted };
    let filter = format!("{wanted},tungstenite=info,tokio_tungstenite=info");
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(EnvFilter::new(filter))
        .init();
}
