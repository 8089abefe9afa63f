//! Hear operators: a listener of their own throws users out.
//!
//! It is off unless it is asked for, never on the public port, and without a token on the loopback interface
//! only. Requests of browsers are refused: a page of any site can send one to this machine, and nothing here
//! is for a page.

use axum::{
    Extension, Json, Router,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::json;
use tower_websocket::{Close, Connections, Retry};

use crate::auth::{is_name, same};

/// What operators may ask for. With a token they have to show it.
pub(crate) fn router(connections: Connections, token: Option<&str>) -> Router {
    let token: Option<Box<str>> = token.map(Box::from);
    Router::new()
        .route("/admin/users/{user}/close", post(end).layer(Extension(REMOVED)))
        .route("/admin/users/{user}/revoke", post(end).layer(Extension(Close::REVOKED)))
        .with_state(connections)
        .layer(middleware::from_fn_with_state(token, admit))
}

/// Ends all connections of a user, and says how many there were.
async fn end(
    State(connections): State<Connections>,
    Extension(close): Extension<Close>,
    Path(user): Path<String>,
) -> Response {
    if !is_name(&user) {
        return (StatusCode::BAD_REQUEST, "that is no name\n").into_response();
    }
    let reason = close.to_string();
    let closed = connections.user(&user).close(close);
    tracing::info!(user, closed, reason, "admin.closed");
    Json(json!({ "closed": closed })).into_response()
}

async fn admit(State(token): State<Option<Box<str>>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") {
        return (StatusCode::FORBIDDEN, "this is not for browsers\n").into_response();
    }
    if token.is_some_and(|it| !shows(headers, &it)) {
        let answer = (StatusCode::UNAUTHORIZED, "the token is missing or wrong\n");
        return ([(header::WWW_AUTHENTICATE, "Bearer")], answer).into_response();
    }
    next.run(request).await
}

fn shows(headers: &HeaderMap, token: &str) -> bool {
    let shown = headers.get(header::AUTHORIZATION).map(|it| it.as_bytes());
    // The scheme is written in any case (RFC 9110 §11.1).
    let (scheme, shown) =
        shown.and_then(|it| it.split_at_checked(SCHEME.len())).unwrap_or_default();
    scheme.eq_ignore_ascii_case(SCHEME) && same(shown, token.as_bytes())
}

/// A client that gets this stays away.
const REMOVED: Close = match Close::application(4100, "removed by an operator", Retry::Stop) {
    Ok(removed) => removed,
    Err(_) => panic!("4100 is an application's"),
};

/// How a token is shown.
const SCHEME: &[u8] = b"Bearer ";
