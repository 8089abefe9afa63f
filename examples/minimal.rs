//! A WebSocket endpoint where everybody shows a password first and then talks to an echo.
//!
//! Run with `cargo run --example minimal` and connect to `ws://127.0.0.1:8080/ws`. The first message
//! must be `open sesame`; another address can be given as the argument.

use axum::{Router, routing::get};
use tower_websocket::{
    AuthFailure, Authenticate, Authenticated, CloseReason, Connection, Inbound, Message, Principal,
    Reply, RequireAuthLayer, Session, WebSocketLayer,
};

struct Friend;

impl Principal for Friend {
    fn id(&self) -> &str {
        "friend"
    }
}

struct Doorkeeper;

impl Authenticate for Doorkeeper {
    type User = Friend;

    async fn authenticate(
        &self,
        m: &Message,
        _: &Connection,
    ) -> Result<Session<Friend>, AuthFailure> {
        match m.as_text() {
            // A real secret is compared in constant time.
            Some("open sesame") => Ok(Session::new(Friend).reply(Message::text("welcome"))),
            _ => Err(AuthFailure::Rejected),
        }
    }
}

/// Its type says that the sender was let in: without the layer, this does not compile.
async fn echo(m: Inbound<Message, Authenticated<Friend>>) -> Result<Reply<Message>, CloseReason> {
    Ok(Reply::one(m.message))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let endpoint = WebSocketLayer::new(RequireAuthLayer::new(Doorkeeper), tower::service_fn(echo));
    let app = Router::new().route("/", get("hello")).layer(endpoint.path("/ws"));

    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    let listener = tokio::net::TcpListener::bind(addr).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app).await
}
