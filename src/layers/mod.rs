//! What flows through the stack: messages in, replies out, and the layers between.
//!
//! A connection's stack is a [`tower_service::Service`] of [`Inbound<M, P>`](Inbound): a message `M`
//! together with a proof `P` of what its sender has shown. Each layer that checks something changes
//! the proof, so a stack in the wrong order does not compile.
//!
//! | layer | takes | hands on |
//! |---|---|---|
//! | [`RateLimitLayer`] | anything | the same |
//! | [`ObserveLayer`] | anything | the same |
//! | [`RequireAuthLayer`] | `Inbound<Message, Anonymous>` | `Inbound<Message, Authenticated<U>>` |
//! | [`DecodeLayer`] | `Inbound<Message, Authenticated<U>>` | `Inbound<T, Authenticated<U>>` |
//! | [`RoomsLayer`](crate::RoomsLayer) | `Inbound<T, Authenticated<U>>` | `Inbound<T, Member<U, R, Role>>` |
//!
//! The answer comes back the same way: a [`Reply`] with no message, one or several, or a
//! [`Failure`]. An application's error is an error reply; only [`Failure::Close`] ends the
//! connection.
//!
//! # A stack belongs to one connection
//!
//! What a *layer* keeps is shared by all connections; what its *service* keeps belongs to one: who the
//! peer is, which rooms it is in, how often it was wrong. The layers are applied, and the handler is
//! made or cloned, once for each connection, so there is nothing to do for that. What undoes it is a
//! stack that was made once and is handed to all connections: `ServiceBuilder::new().buffer(16)` makes
//! any service one that can be cloned, and a lock around it does the same. No type can forbid that,
//! because such a stack takes the same messages. So [`RateLimit`], [`Observe`], [`RequireAuth`],
//! [`DecodeMessage`], [`InRooms`](crate::room::InRooms) and [`HandlerService`] belong to the connection of
//! their first message, and refuse those of any other: that connection closes with 1011, the record has
//! the rule `stack.shared` and the layer's name, and the log says so once, at `warn`.
//!
//! Give the layers to [`WebSocketEndpoint::new`](crate::WebSocketEndpoint::new) as layers, and as the handler
//! only what all connections may share.
//!
//! # What does not compile
//!
//! The order of the layers is not a convention. Each of these differs from the one that compiles in
//! one line.
//!
//! Decoding without authentication:
//!
//! ```
//! # use tower::{ServiceBuilder, service_fn};
//! # use tower_websocket::*;
//! # #[derive(serde::Deserialize, serde::Serialize)]
//! # struct Hello {}
//! # async fn handle(_: Inbound<Hello, Authenticated<String>>) -> HandlerResult<Hello> {
//! #     Ok(Reply::none())
//! # }
//! let messages = ServiceBuilder::new()
//!     .layer(RequireAuthLayer::from_fn(async |_, _| Err::<Session<String>, _>(AuthFailure::Rejected)))
//!     .layer(DecodeLayer::<Hello>::json());
//! WebSocketEndpoint::new(messages, service_fn(handle));
//! ```
//!
//! ```compile_fail,E0277
//! # use tower::{ServiceBuilder, service_fn};
//! # use tower_websocket::*;
//! # #[derive(serde::Deserialize, serde::Serialize)]
//! # struct Hello {}
//! # async fn handle(_: Inbound<Hello, Authenticated<String>>) -> HandlerResult<Hello> {
//! #     Ok(Reply::none())
//! # }
//! let messages = ServiceBuilder::new()
//!     .layer(DecodeLayer::<Hello>::json());
//! WebSocketEndpoint::new(messages, service_fn(handle));
//! ```
//!
//! Decoding before authenticating, so that the decoder reads what strangers send:
//!
//! ```compile_fail,E0277
//! # use tower::{ServiceBuilder, service_fn};
//! # use tower_websocket::*;
//! # #[derive(serde::Deserialize, serde::Serialize)]
//! # struct Hello {}
//! # async fn handle(_: Inbound<Hello, Authenticated<String>>) -> HandlerResult<Hello> {
//! #     Ok(Reply::none())
//! # }
//! let messages = ServiceBuilder::new()
//!     .layer(DecodeLayer::<Hello>::json())
//!     .layer(RequireAuthLayer::from_fn(async |_, _| Err::<Session<String>, _>(AuthFailure::Rejected)));
//! WebSocketEndpoint::new(messages, service_fn(handle));
//! ```
//!
//! Publishing to a room that the sender only names. What a message names is a
//! [`RoomName`](crate::RoomName); what can publish is the [`RoomHandle`](crate::room::RoomHandle) in the proof:
//!
//! ```
//! # use tower_websocket::{service::*, *};
//! async fn tell<U>(
//!     member: &Member<U, ServerMessage>,
//!     named: &RoomName,
//!     message: &ServerMessage,
//! ) -> Result<(), Close> {
//!     let room = member.room()?;
//!     room.broadcast(message).await?;
//!     Ok(())
//! }
//! ```
//!
//! ```compile_fail,E0599
//! # use tower_websocket::{service::*, *};
//! async fn tell<U>(
//!     member: &Member<U, ServerMessage>,
//!     named: &RoomName,
//!     message: &ServerMessage,
//! ) -> Result<(), Close> {
//!     let room = named;
//!     room.broadcast(message).await?;
//!     Ok(())
//! }
//! ```
//!
//! Claiming a proof instead of getting it with a message:
//!
//! ```
//! # use tower_websocket::*;
//! fn who<U>(inbound: Inbound<Message, Authenticated<U>>, admin: U) -> Authenticated<U> {
//!     inbound.proof().clone()
//! }
//! ```
//!
//! ```compile_fail,E0451
//! # use tower_websocket::*;
//! fn who<U>(inbound: Inbound<Message, Authenticated<U>>, admin: U) -> Authenticated<U> {
//!     Authenticated { user: admin.into() }
//! }
//! ```

pub use self::{
    authenticate::{AuthFailure, Authenticate, AuthenticateFn, Session},
    codec::{Decode, DecodeError, DecodeErrorKind, Encode, Json, Stamped},
    cost::{Cost, OneEach, PayloadBytes},
    decode::{DecodeLayer, DecodeMessage, Encoded, Everybody, OnlyAuthenticated, Reads},
    excess::{CloseOnExcess, OnExcess, WaitOnExcess},
    fault::{Constraint, Fault},
    future::{ResponseFuture, Unchanged},
    handle_error::{HandleError, HandleErrorFuture, HandleErrorLayer},
    handler::{Handler, HandlerFuture, HandlerService},
    handshake_identity::{Handshake, HandshakeIdentity},
    inbound::Inbound,
    json::{JsonError, JsonErrorKind, JsonLimits},
    login_throttle::LoginThrottle,
    observe::{MessageOutcome, Observe, ObserveLayer, Observed, Observing},
    proof::{Anonymous, Authenticated},
    rate_key::{PerAddress, PerConnection, PerUser, RateKey},
    rate_limit::{RateLimit, RateLimitLayer},
    reply::{Failure, HandlerResult, Reply},
    require_auth::{RequireAuth, RequireAuthLayer},
    stack::MessageStack,
};

pub(crate) use self::fault::Reworded;
pub use crate::{message::EncodeError, quota::RateKeyValue};

mod inbound;
mod reply;
pub(crate) mod future;
mod stack;
mod proof;
pub(crate) mod binding;
mod rate_key;
mod cost;
mod excess;
mod rate_limit;
mod authenticate;
mod login_throttle;
mod handshake_identity;
pub(crate) mod opening;
mod require_auth;
mod decode;
mod codec;
mod fault;
pub(crate) mod json;
mod handler;
mod handle_error;
mod observe;
pub(crate) mod ready_on_call;

#[cfg(test)]
mod tests;
