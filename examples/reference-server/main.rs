//! A chat server: rooms, authentication, limits, an audit log, and a page to try it with.
//!
//! Run with `cargo run --release --example reference-server` and open <http://localhost:8080>.
//! `--help` lists the options; each can also be set in the environment.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, extract::ConnectInfo, routing::get};
use clap::Parser;
use tower::ServiceBuilder;
use tower_websocket::{
    DecodeLayer, OpenRooms, PeerAddr, RateLimitLayer, RequireAuthLayer, Rooms, RoomsLayer,
    TracingSink, WebSocketLayer,
    room::service::{self, ClientMessage},
};

use crate::{auth::DevTokens, connections::Connections, options::Options, status::Census};

mod accept;
mod auth;
mod connections;
mod logs;
mod memory;
mod options;
mod page;
mod status;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let options = Options::parse();
    logs::init();
    options.warn_of_defaults();

    let connections = Connections::default();
    let app = app(&options, &connections)?;
    let listener = accept::listen(options.addr())?;
    tracing::info!(addr = %listener.local_addr()?, "listening");
    accept::serve(listener, app, options.header_timeout(), connections).await;
    TracingSink::shared().flush(Duration::from_secs(1));
    Ok(())
}

/// The page, and the endpoint in front of it at `/ws` and at `/`.
fn app(options: &Options, connections: &Connections) -> Result<Router, Error> {
    let rooms = Rooms::new();
    let census = Census::default();
    let budget = options.memory_budget();
    let status =
        status::log_on_signal(census.clone(), connections.clone(), rooms.clone(), budget.clone());
    tokio::spawn(status);
    let messages = ServiceBuilder::new()
        .layer(RateLimitLayer::per_connection(options.message_quota()))
        .layer(RequireAuthLayer::new(DevTokens::new(&options.dev_token)))
        .layer(RateLimitLayer::per_user(options.user_quota()))
        .layer(DecodeLayer::<ClientMessage>::json())
        .layer(RoomsLayer::new(rooms, OpenRooms).publish_quota(options.publish_quota()));
    let mut endpoint = WebSocketLayer::new(messages, tower::service_fn(service::handle))
        .path("/ws")
        .path("/")
        .origin(options.origin()?)
        .admission(options.admission())
        .connection(options.connection())
        .map_err(options::name_the_option)?
        .on_connect(connections.opened())
        .on_close(connections.closed())
        .audit((census, TracingSink::shared()));
    if let Some(budget) = budget {
        endpoint = endpoint.memory_budget(budget);
    }
    Ok(Router::new()
        .route("/", get(page::index))
        .route("/{file}", get(page::file))
        .layer(endpoint)
        .layer(axum::middleware::map_request(tell_peer)))
}

/// Tells the endpoint whose connection it is, which its limits go by.
async fn tell_peer(
    ConnectInfo(addr): ConnectInfo<SocketAddr>,
    mut request: axum::extract::Request,
) -> axum::extract::Request {
    request.extensions_mut().insert(PeerAddr(addr));
    request
}
