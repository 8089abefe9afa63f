//! WebSockets for the users whom an application knows by cookie already.
//!
//! Run with `cargo run --example cookie_session`, open the page, log in, and log out in another tab. The login
//! is the application's own, with tower-sessions; what makes its sockets of it stands between two marks.

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{Html, Response},
    routing::{get, post},
};
use tower::service_fn;
use tower_sessions::{Expiry, MemoryStore, Session, SessionManagerLayer, cookie::time};
use tower_websocket::{
    Authenticated, Connections, HandlerResult, HandshakeIdentity, Inbound, Message, Reply,
    RequireAuthLayer, WebSocketEndpoint,
};

/// The application as it was: a page, a login, and a log-out, which tells nobody.
fn existing_application() -> Router<Connections> {
    Router::new()
        .route("/", get(async || Html(include_str!("cookie_session.html"))))
        .route("/login", post(log_in))
}

/// Whoever says a name has it. A real one asks for more.
async fn log_in(
    State(connections): State<Connections>,
    session: Session,
    name: String,
) -> StatusCode {
    let former = session.id();
    // Another id than before the login, so that nobody can have planted it.
    let logged_in = session.cycle_id().await.is_ok() && session.insert("user", name).await.is_ok();
    // What was opened by the former one ends with it: no log-out would find it any more.
    former.map(|it| connections.session(it.to_string()).revoke());
    if logged_in { StatusCode::NO_CONTENT } else { StatusCode::SERVICE_UNAVAILABLE }
}

// --- From here ...

/// Tells the endpoint whom the application knows, and until when.
async fn identify(session: Session, mut request: Request, next: Next) -> Response {
    if let (Ok(Some(user)), Some(id)) = (session.get::<String>("user").await, session.id()) {
        let left = session.expiry_age().try_into().unwrap_or_default();
        let known = tower_websocket::Session::new(user).expires_in(left).session_id(id.to_string());
        request.extensions_mut().insert(HandshakeIdentity::new(known));
    }
    next.run(request).await
}

async fn echo(said: Inbound<Message, Authenticated<String>>) -> HandlerResult {
    let text = said.message.as_text().unwrap_or_default();
    Ok(Reply::one(Message::text(format!("{}: {text}", said.proof().user()))))
}

/// Ends the session first, so that no socket can be opened by it any more; then those that were.
async fn log_out(State(connections): State<Connections>, session: Session) -> StatusCode {
    let (id, ended) = (session.id(), session.flush().await);
    id.map(|it| connections.session(it.to_string()).revoke());
    if ended.is_ok() { StatusCode::NO_CONTENT } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn endpoint(connections: &Connections) -> Result<WebSocketEndpoint, Box<dyn std::error::Error>> {
    let door = RequireAuthLayer::handshake().refuse_after_open();
    let endpoint = WebSocketEndpoint::new(door, service_fn(echo)).connections(connections.clone());
    Ok(endpoint.handshake_identity::<String>()?)
}

// --- ... to here.

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let connections = Connections::new();
    let app = existing_application()
        .route("/logout", post(log_out))
        .route_service("/ws", endpoint(&connections)?.into_service())
        .layer(middleware::from_fn(identify))
        .layer(
            SessionManagerLayer::new(MemoryStore::default())
                // This page comes over plain HTTP. A real one does not.
                .with_secure(false)
                .with_expiry(Expiry::OnInactivity(time::Duration::hours(1))),
        )
        .with_state(connections);
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    let listener = tokio::net::TcpListener::bind(addr).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
