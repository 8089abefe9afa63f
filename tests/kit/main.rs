//! The test kit, used as an application would use it: on the room service, and on stacks with a
//! mistake, which it has to find.
#![cfg(test)]

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    AuthFailure, Authenticate, Connection, DecodeLayer, Message, OpenRooms, RequireAuthLayer,
    Rooms, RoomsLayer, Session, WebSocketEndpoint,
    service::{self, ClientMessage},
};

mod connections;
mod handshake_identity;
mod history;
mod peers;
mod properties;
mod publishing;
mod subprotocols;
mod who_is_there;

type User = String;

/// Whoever has a token is who it says, but for `nobody`.
struct Tokens;

impl Authenticate for Tokens {
    type User = User;

    async fn authenticate(
        &self,
        message: &Message,
        _: &Connection,
    ) -> Result<Session<User>, AuthFailure> {
        let token = service::credentials(message).filter(|it| it.as_str() != "nobody");
        let user = token.ok_or(AuthFailure::Rejected)?.as_str().to_owned();
        let welcome = Message::json(&json!({ "type": "auth_ok", "userId": user }))?;
        Ok(Session::new(user).reply(welcome))
    }
}

fn login(token: impl fmt::Display) -> Value {
    json!({ "type": "auth", "token": token.to_string() })
}

fn join(room: &str) -> Value {
    json!({ "type": "join", "roomId": room })
}

fn leave(room: &str) -> Value {
    json!({ "type": "leave", "roomId": room })
}

fn say(room: &str, text: &str) -> Value {
    json!({ "type": "chat", "roomId": room, "text": text })
}

/// The room service, and how often its handler has run.
fn rooms() -> (WebSocketEndpoint, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(Tokens))
        .layer(DecodeLayer::<ClientMessage>::json())
        .layer(RoomsLayer::new(Rooms::new(), OpenRooms));
    let handler = service_fn(move |inbound| {
        counted.fetch_add(1, Ordering::SeqCst);
        service::handle(inbound)
    });
    (WebSocketEndpoint::new(messages, handler), calls)
}
