//! A WebSocket endpoint where everybody shows a password first and then talks to an echo.
//!
//! Run with `cargo run --example minimal` and connect to `ws://127.0.0.1:8080/ws`. The first message
//! must be `open sesame`; another address can be given as the argument.

use axum::{Router, routing::get};
use tower_websocket::{
    AuthFailure, Authenticate, Authenticated, Close, Connection, Inbound, Message, Principal,
    Reply, RequireAuthLayer, Session, WebSocketLayer,
};

struct Ali;
impl Principal for Ali {
    fn id(&self) -> &str {
        "ali"
    }
}

struct Door;
impl Authenticate for Door {
    type User = Ali;
    async fn authenticate(&self, m: &Message, _: &Connection) -> Result<Session<Ali>, AuthFailure> {
        // A real secret is compared in constant time.
        let open = m.as_text() == Some("open sesame");
        open.then(|| Session::new(Ali)).ok_or(AuthFailure::Rejected)
    }
}

/// Its type says that the sender was let in: without the layer below, this does not compile.
async fn echo(m: Inbound<Message, Authenticated<Ali>>) -> Result<Reply<Message>, Close> {
    Ok(Reply::one(m.message))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let endpoint = WebSocketLayer::new(RequireAuthLayer::new(Door), tower::service_fn(echo));
    let app = Router::new().route("/", get("hello")).route_service("/ws", endpoint.into_service());
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    let listener = tokio::net::TcpListener::bind(addr).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app).await
}
