//! What can be set, and what it is unless it is set.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use clap::Parser;
use tower_websocket::{
    Admission, ConnectionConfig, MemoryBudget, OriginPolicy, Quota, upgrade::ConfigError,
};

use crate::memory;

/// A hardened WebSocket chat server with rooms.
#[derive(Parser)]
#[command(
    name = "reference-server",
    after_help = "On SIGUSR1 it logs how many connections, rooms, members and tasks there are, and \
                  how much of the memory budget is charged."
)]
pub(crate) struct Options {
    /// Address to listen on.
    #[arg(long, env = "HOST", default_value_t = Ipv4Addr::LOCALHOST.into())]
    host: IpAddr,
    /// Port to listen on.
    #[arg(long, env = "PORT", default_value_t = 8080)]
    port: u16,
    /// The token that lets anybody in, alone or followed by `:name`.
    #[arg(long, env = "DEV_TOKEN", default_value = DEFAULT_TOKEN, hide_env_values = true)]
    pub(crate) dev_token: String,
    /// Whose pages may connect besides the server's own, as a browser writes it:
    /// `https://example.com`. May be given several times.
    #[arg(long, env = "ALLOW_ORIGIN", value_delimiter = ',')]
    allow_origin: Vec<String>,
    /// Milliseconds between pings.
    #[arg(long, env = "HEARTBEAT_INTERVAL_MS", default_value_t = 30_000)]
    heartbeat_interval_ms: u64,
    /// Milliseconds a pong may take.
    #[arg(long, env = "PONG_TIMEOUT_MS", default_value_t = 10_000)]
    pong_timeout_ms: u64,
    /// Milliseconds from the handshake to valid credentials.
    #[arg(long, env = "AUTH_TIMEOUT_MS", default_value_t = 5_000)]
    auth_timeout_ms: u64,
    /// Milliseconds a client may take to send its HTTP request.
    #[arg(long, env = "HEADER_TIMEOUT_MS", default_value_t = 5_000)]
    header_timeout_ms: u64,
    /// Bytes of one message from a client.
    #[arg(long, env = "MAX_MESSAGE_BYTES", default_value = "8192")]
    max_message_bytes: NonZeroUsize,
    /// Messages a connection may send each second.
    #[arg(long, env = "MESSAGE_RATE", default_value_t = 20)]
    message_rate: u32,
    /// Messages a connection may send at once.
    #[arg(long, env = "MESSAGE_BURST", default_value_t = 40)]
    message_burst: u32,
    /// Messages a user may send each second, on all connections together.
    #[arg(long, env = "USER_RATE", default_value_t = 40)]
    user_rate: u32,
    /// Messages a user may send at once, on all connections together.
    #[arg(long, env = "USER_BURST", default_value_t = 80)]
    user_burst: u32,
    /// What a user may publish each second: KiB of each message times the members of its room.
    #[arg(long, env = "PUBLISH_RATE", default_value_t = 100_000)]
    publish_rate: u32,
    /// What a user may publish at once.
    #[arg(long, env = "PUBLISH_BURST", default_value_t = 1_000_000)]
    publish_burst: u32,
    /// Bytes held for a client that reads slowly; more closes it with 1013. It must hold two of the
    /// largest messages. 1048576 unless set, or room for four of them.
    #[arg(long, env = "MAX_OUTBOUND_BYTES")]
    max_outbound_bytes: Option<NonZeroUsize>,
    /// MiB that all connections together may make the server hold: above three quarters of it those
    /// that hold most are closed with 1013. 0 is no limit. A quarter of the memory of the machine or
    /// the cgroup unless set.
    #[arg(long, env = "MEMORY_BUDGET_MB")]
    memory_budget_mb: Option<usize>,
    /// Connections in all.
    #[arg(long, env = "MAX_CONNECTIONS", default_value = "10000")]
    max_connections: NonZeroUsize,
    /// Connections that have not authenticated yet.
    #[arg(long, env = "MAX_UNAUTHENTICATED", default_value = "1000")]
    max_unauthenticated: NonZeroUsize,
    /// Connections from one address.
    #[arg(long, env = "MAX_CONNECTIONS_PER_PEER", default_value = "256")]
    max_connections_per_peer: NonZeroUsize,
    /// Handshakes each second, and at once.
    #[arg(long, env = "HANDSHAKE_RATE", default_value = "500")]
    handshake_rate: NonZeroU32,
}

impl Options {
    pub(crate) fn addr(&self) -> SocketAddr {
        (self.host, self.port).into()
    }

    pub(crate) fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    pub(crate) fn message_quota(&self) -> Quota {
        Quota::per_second(self.message_rate).burst(self.message_burst)
    }

    pub(crate) fn user_quota(&self) -> Quota {
        Quota::per_second(self.user_rate).burst(self.user_burst)
    }

    pub(crate) fn publish_quota(&self) -> Quota {
        Quota::per_second(self.publish_rate).burst(self.publish_burst)
    }

    pub(crate) fn origin(&self) -> Result<OriginPolicy, ConfigError> {
        self.allow_origin
            .iter()
            .try_fold(OriginPolicy::new(), |policy, origin| policy.trust(origin))
    }

    pub(crate) fn admission(&self) -> Admission {
        Admission::new()
            .max_connections(self.max_connections)
            .max_unauthenticated(self.max_unauthenticated)
            .max_connections_per_peer(self.max_connections_per_peer)
            .handshakes_per_second(self.handshake_rate)
            .handshake_burst(self.handshake_rate)
    }

    pub(crate) fn memory_budget(&self) -> Option<MemoryBudget> {
        let set = self.memory_budget_mb.map(|mib| mib.saturating_mul(1024 * 1024));
        let bytes = NonZeroUsize::new(set.unwrap_or_else(memory::quarter));
        tracing::info!(bytes, "memory budget");
        bytes.map(MemoryBudget::new)
    }

    pub(crate) fn connection(&self) -> ConnectionConfig {
        let config = ConnectionConfig::new()
            .auth_timeout(Duration::from_millis(self.auth_timeout_ms))
            .ping_interval(Duration::from_millis(self.heartbeat_interval_ms))
            .pong_timeout(Duration::from_millis(self.pong_timeout_ms))
            .max_message_size(self.max_message_bytes);
        match self.max_outbound_bytes {
            Some(bytes) => config.max_outbound_bytes(bytes),
            None => config,
        }
    }

    pub(crate) fn warn_of_defaults(&self) {
        if self.dev_token == DEFAULT_TOKEN {
            tracing::warn!(
                "DEV_TOKEN IS THE DEFAULT, WHICH EVERYBODY KNOWS: anyone who reaches this port can \
                 log in under any name. Set DEV_TOKEN before others can reach it."
            );
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("addr", &self.addr()).finish_non_exhaustive()
    }
}

/// Says which option is to be changed, to somebody who knows nothing of the library's names.
pub(crate) fn name_the_option(error: ConfigError) -> String {
    let setting = match &error {
        ConfigError::Connection(error) => error.setting(),
        _ => "",
    };
    let option = match setting {
        "auth_timeout" => "--auth-timeout-ms",
        "ping_interval" => "--heartbeat-interval-ms",
        "pong_timeout" => "--pong-timeout-ms",
        "max_outbound_bytes" => "--max-outbound-bytes",
        _ => return error.to_string(),
    };
    format!("{option}: {error}")
}

const DEFAULT_TOKEN: &str = "dev-token";
