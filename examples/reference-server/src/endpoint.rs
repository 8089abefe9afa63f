//! The endpoint: what each message passes, and what each connection may.

use std::num::NonZeroUsize;

use tower::ServiceBuilder;
use tower_websocket::{
    DecodeLayer, MemoryBudget, OpenRooms, Quota, RateLimitLayer, RequireAuthLayer, Rooms,
    RoomsLayer, Tickets, WebSocketEndpoint,
    service::{self, ClientMessage, ServerMessage},
};

use crate::{
    auth::{DevTokens, Door, User},
    invalid::{INVALID_IN_A_ROW, Invalid},
    options::{InvalidMessage, Options},
    settings,
};

/// The endpoint, for those who know `token` or have one of `tickets`.
///
/// Joins have a price of their own. Who may be in a hundred rooms asks for all of them at once when its
/// connection is made anew, and under the quota of messages would be closed for it, each time again.
/// So there are four quotas: one before anything is read, which has room for a login, all joins and the
/// burst; two for everything but joins; and one that lets the joins of a user wait and never closes.
///
/// # Errors
///
/// Which option cannot hold, and why.
pub(crate) fn endpoint(
    options: &Options,
    token: &str,
    tickets: Tickets<User>,
    rooms: Rooms<ServerMessage>,
    budget: Option<MemoryBudget>,
) -> Result<WebSocketEndpoint, String> {
    let decode = match options.invalid_message {
        InvalidMessage::Close => DecodeLayer::<ClientMessage>::json(),
        InvalidMessage::Reply => DecodeLayer::json().reply_invalid(Invalid::new, INVALID_IN_A_ROW),
    };
    let messages = ServiceBuilder::new()
        .layer(RateLimitLayer::per_connection(options.raw_quota(ROOMS)))
        .layer(RequireAuthLayer::new(Door { tokens: DevTokens::new(token), tickets }))
        .layer(decode)
        .layer(RateLimitLayer::per_connection(options.message_quota()).cost(unless_join))
        .layer(RateLimitLayer::per_user(options.user_quota()).cost(unless_join))
        .layer(RateLimitLayer::per_user(JOINS).cost(if_join).wait())
        .layer(RoomsLayer::new(rooms, OpenRooms).max_rooms_per_connection(ROOMS));
    let endpoint = WebSocketEndpoint::new(messages, tower::service_fn(service::handle))
        .origin(options.origin()?)
        .admission(options.admission())
        .connection(options.connection())
        .map_err(|error| settings::name_the_option(&error))?;
    Ok(match budget {
        Some(budget) => endpoint.memory_budget(budget),
        None => endpoint,
    })
}

fn if_join(message: &ClientMessage) -> u32 {
    matches!(message, ClientMessage::Join(_)).into()
}

fn unless_join(message: &ClientMessage) -> u32 {
    1 - if_join(message)
}

/// Rooms a connection may be in at once.
pub(crate) const ROOMS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99);

/// Joins of a user on all connections together. Two devices are back in all their rooms at once, and
/// 256 connections within five minutes.
const JOINS: Quota = Quota::per_second(100).burst(200);
