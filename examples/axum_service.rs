//! Add a WebSocket endpoint to an axum application that is there already.
//!
//! Run with `cargo run --example axum_service`. `/` and `/health` answer as before; `/ws` is a room
//! service (the protocol is in `tower_websocket::service`). Authentication is by a list of
//! tickets: `{"type":"auth","token":"ticket-of-ada"}`.

use std::{collections::HashMap, net::SocketAddr};

use axum::{
    Router,
    extract::{ConnectInfo, State},
    routing::get,
};
use tower::ServiceBuilder;
use tower_websocket::{
    AuthFailure, Authenticate, Connection, DecodeLayer, Message, OpenRooms, Quota, RateLimitLayer,
    RequireAuthLayer, Rooms, RoomsLayer, Session, WebSocketEndpoint,
    service::{self, ClientMessage, ServerMessage, credentials},
};

/// Knows whose ticket is whose. A real one asks a database, and accepts each ticket once.
struct Tickets {
    holders: HashMap<String, String>,
}

impl Authenticate for Tickets {
    /// The name. A type with a tenant and more could stand here.
    type User = String;

    async fn authenticate(
        &self,
        message: &Message,
        connection: &Connection,
    ) -> Result<Session<String>, AuthFailure> {
        // What is not `{"type":"auth","token":..}` is not worth a look-up.
        let ticket = credentials(message).ok_or(AuthFailure::Required)?;
        let name = self.holders.get(ticket.as_str()).ok_or(AuthFailure::Rejected)?;
        // The peer learns that it is in from a message of the endpoint's own protocol.
        let welcome = Message::json(&ServerMessage::auth_ok(connection, name))?;
        Ok(Session::new(name.clone()).reply(welcome))
    }
}

/// The application as it was before: routes, state, and no idea of WebSockets.
fn existing_application() -> Router {
    async fn index(State(greeting): State<&'static str>) -> &'static str {
        greeting
    }
    Router::new()
        .route("/", get(index))
        .route("/health", get(async || "ok"))
        .with_state("an ordinary page")
}

/// The endpoint: every message passes these layers, from the top to the bottom.
fn endpoint() -> WebSocketEndpoint {
    let holders = ["ada", "grace"].map(|name| (format!("ticket-of-{name}"), name.to_owned()));
    let messages = ServiceBuilder::new()
        // First, so that also what is refused below has been counted. A connection may be in 100 rooms,
        // and asks for all of them at once when it comes back: there is room for that, and a login.
        .layer(RateLimitLayer::per_connection(Quota::per_second(20).burst(40 + 100 + 1)))
        .layer(RequireAuthLayer::new(Tickets { holders: holders.into() }))
        .layer(DecodeLayer::<ClientMessage>::json())
        // What is no join has the 40 for itself.
        .layer(RateLimitLayer::per_connection(Quota::per_second(20).burst(40)).cost(unless_join))
        .layer(RoomsLayer::new(Rooms::new(), OpenRooms));
    WebSocketEndpoint::new(messages, tower::service_fn(service::handle))
        // The limits for each address go by it. Behind a proxy, `trusted_proxies` says whose word counts.
        .peer_from(|it| it.get::<ConnectInfo<SocketAddr>>().map(|it| it.0))
}

fn unless_join(message: &ClientMessage) -> u32 {
    u32::from(!matches!(message, ClientMessage::Join(_)))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    // At a route of its own the endpoint is there whatever is added later.
    let app = existing_application()
        .route_service("/ws", endpoint().into_service())
        .into_make_service_with_connect_info::<SocketAddr>();

    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    let listener = tokio::net::TcpListener::bind(addr).await?;
    println!("listening on {}", listener.local_addr()?);
    // axum's own server sets no header timeout; examples/hyper_service.rs shows one that does.
    axum::serve(listener, app).await
}
