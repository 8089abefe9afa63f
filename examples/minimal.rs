//! A WebSocket endpoint where everybody shows a password first and then talks to an echo.
//!
//! Run with `cargo run --example minimal` and connect to `ws://127.0.0.1:8080/ws`. The first message
//! must be `open sesame`; another address can be given as the argument.

use axum::{Router, routing::get};
use tower_websocket::{
    AuthFailure, Authenticated, HandlerResult, Inbound, Message, Reply, RequireAuthLayer, Session,
    WebSocketEndpoint,
};

/// Its type says that the sender was let in: without the layer below, this does not compile.
async fn echo(m: Inbound<Message, Authenticated<&'static str>>) -> HandlerResult {
    Ok(Reply::one(m.message))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    // Who knows the word is Ali. A real secret is compared in constant time.
    let door = RequireAuthLayer::from_fn(async |credentials, _connection| {
        let open = credentials.as_text() == Some("open sesame");
        open.then(|| Session::new("ali")).ok_or(AuthFailure::Rejected)
    });
    let endpoint = WebSocketEndpoint::new(door, tower::service_fn(echo));
    let app = Router::new().route("/", get("hello")).route_service("/ws", endpoint.into_service());
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    let listener = tokio::net::TcpListener::bind(addr).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app).await
}
