//! The smallest stack there is: echo whatever comes, from anybody.
//!
//! Run with `cargo run --release --example echo -- --port 8080`, then connect to `ws://localhost:8080`.
//! It is what the crate's own overhead is measured with: one rate limiter that never refuses, no
//! authentication, no decoding. Conformance is tested with it as well (`tests/conformance/run`): there
//! the peer has nothing to say but what the protocol has in it, so a login would only be in the way.

mod chopped;

use std::{
    net::Ipv4Addr,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    time::Duration,
};

use chopped::Chopped;
use clap::Parser;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    time::{sleep, timeout},
};
use tower::ServiceBuilder;
use tower_websocket::{
    Admission, Anonymous, ConnectionConfig, HandlerResult, Inbound, Message, Quota, RateLimitLayer,
    Reply, WebSocketEndpoint,
    upgrade::{WebSocket, WebSocketOnly},
};

#[derive(Parser)]
struct Options {
    /// TCP port on the loopback interface.
    #[arg(long, env = "PORT", default_value_t = 8080)]
    port: u16,
    /// Bytes of one message, in and out; without it, the crate's defaults.
    #[arg(long)]
    max_message_size: Option<NonZeroUsize>,
    /// Frames of one message; without it, the crate's default.
    #[arg(long)]
    max_fragments: Option<NonZeroU32>,
    /// Seconds between pings; without it, the crate's default.
    #[arg(long)]
    ping_interval: Option<u64>,
    /// Bytes to take from the socket at once; without it, as many as there is room for.
    #[arg(long)]
    read_size: Option<NonZeroU64>,
}

impl Options {
    fn connection(&self) -> ConnectionConfig {
        let mut config = ConnectionConfig::new();
        if let Some(bytes) = self.max_message_size {
            config = config.max_message_size(bytes);
        }
        if let Some(frames) = self.max_fragments {
            config = config.max_fragments(frames);
        }
        if let Some(seconds) = self.ping_interval {
            config = config.ping_interval(Duration::from_secs(seconds));
        }
        config
    }
}

async fn echo(inbound: Inbound<Message, Anonymous>) -> HandlerResult {
    Ok(Reply::one(inbound.message))
}

/// Bounds that a measurement never meets.
fn unlimited_admission() -> Admission {
    Admission::new()
        .max_connections(NonZeroUsize::MAX)
        .max_unauthenticated(NonZeroUsize::MAX)
        .max_connections_per_peer(NonZeroUsize::MAX)
        .handshakes(Quota::per_second(u32::MAX))
}

async fn serve<S>(socket: S, endpoint: WebSocket<WebSocketOnly>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(endpoint))
        .with_upgrades();
    // It is done when the socket is upgraded; one that asks and never reads would stay for ever.
    let _ = timeout(HTTP_TIMEOUT, served).await;
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let unlimited = Quota::per_second(1_000_000_000).burst(1_000_000_000);
    let messages = ServiceBuilder::new().layer(RateLimitLayer::per_connection(unlimited));
    let endpoint = WebSocketEndpoint::new(messages, tower::service_fn(echo))
        .allow_anonymous()
        .admission(unlimited_admission())
        .connection(options.connection())?
        .into_service();

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
    println!("echo listening on {}", listener.local_addr()?);
    loop {
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            // A peer that is gone again, or as many files as the process may have: no reason to end.
            Err(error) => {
                eprintln!("cannot accept: {error}");
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        // Fails where the peer has hung up already, which its connection will find out.
        let _ = socket.set_nodelay(true);
        let endpoint = endpoint.clone();
        match options.read_size {
            None => tokio::spawn(serve(socket, endpoint)),
            Some(size) => tokio::spawn(serve(Chopped::new(socket, size), endpoint)),
        };
    }
}

/// For a socket that is still HTTP, all its requests and answers together.
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);
