//! The smallest stack there is: echo whatever comes, from anybody.
//!
//! Run with `cargo run --release --example echo -- --port 8080`, then connect to `ws://localhost:8080`.
//! It is what the crate's own overhead is measured with: one rate limiter that never refuses, no
//! authentication, no decoding.

use std::{
    net::Ipv4Addr,
    num::{NonZeroU32, NonZeroUsize},
};

use clap::Parser;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_websocket::{
    Admission, Anonymous, CloseReason, Inbound, Message, Quota, RateLimitLayer, Reply,
    WebSocketLayer,
};

#[derive(Parser)]
struct Options {
    /// TCP port on the loopback interface.
    #[arg(long, env = "PORT", default_value_t = 8080)]
    port: u16,
}

async fn echo(inbound: Inbound<Message, Anonymous>) -> Result<Reply<Message>, CloseReason> {
    Ok(Reply::one(inbound.message))
}

/// Bounds that a measurement never meets.
fn unlimited_admission() -> Admission {
    Admission::new()
        .max_connections(NonZeroUsize::MAX)
        .max_unauthenticated(NonZeroUsize::MAX)
        .max_connections_per_peer(NonZeroUsize::MAX)
        .handshakes_per_second(NonZeroU32::MAX)
        .handshake_burst(NonZeroU32::MAX)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = Options::parse().port;
    let unlimited = Quota::per_second(1_000_000_000).burst(1_000_000_000);
    let messages = ServiceBuilder::new().layer(RateLimitLayer::per_connection(unlimited));
    let endpoint = WebSocketLayer::new(messages, tower::service_fn(echo))
        .allow_anonymous()
        .admission(unlimited_admission())
        .into_service();

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("echo listening on {}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let service = TowerToHyperService::new(endpoint.clone());
        tokio::spawn(async move {
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(socket), service)
                .with_upgrades()
                .await;
        });
    }
}
