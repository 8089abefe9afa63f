//! What flows through the stack: messages in, replies out, and the layers between.
//!
//! A connection's stack is a [`tower_service::Service`] of [`Inbound<M, P>`](Inbound): a message `M`
//! together with a proof `P` of what its sender has shown. Each layer that checks something changes
//! the proof, so a stack in the wrong order does not compile.
//!
//! | layer | takes | hands on |
//! |---|---|---|
//! | [`RateLimitLayer`] | anything | the same |
//! | [`RequireAuthLayer`] | `Inbound<Message, Anonymous>` | `Inbound<Message, Authenticated<U>>` |
//! | [`DecodeLayer`] | `Inbound<Message, Authenticated<U>>` | `Inbound<T, Authenticated<U>>` |
//! | [`RoomsLayer`](crate::RoomsLayer) | `Inbound<T, Authenticated<U>>` | `Inbound<T, Member<U, Role, R>>` |
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
//! because such a stack takes the same messages. So [`RateLimit`], [`RequireAuth`], [`DecodeMessage`],
//! [`InRooms`](crate::room::InRooms) and [`HandlerService`] belong to the connection of their first
//! message, and refuse those of any other: that connection closes with 1011, the record has the rule
//! `stack.shared` and the layer's name, and whoever built it is told once, at `warn`.
//!
//! Give the layers to [`WebSocketLayer::new`](crate::WebSocketLayer::new) as layers, and as the handler
//! only what all connections may share.
//!
//! # What does not compile
//!
//! The order of the layers is not a convention. Each of these differs from the one that compiles in
//! one line.
//!
//! Decoding what nobody was authenticated for:
//!
//! ```
//! # use tower::{ServiceBuilder, service_fn};
//! # use tower_websocket::*;
//! # struct User;
//! # impl Principal for User { fn id(&self) -> &str { "ada" } }
//! # struct Tickets;
//! # impl Authenticate for Tickets {
//! #     type User = User;
//! #     async fn authenticate(&self, _: &Message, _: &Connection) -> Result<Session<User>, AuthFailure> {
//! #         Err(AuthFailure::Rejected)
//! #     }
//! # }
//! # #[derive(serde::Deserialize, serde::Serialize)]
//! # struct Hello {}
//! # async fn handle(_: Inbound<Hello, Authenticated<User>>) -> Result<Reply<Hello>, CloseReason> {
//! #     Ok(Reply::none())
//! # }
//! let messages = ServiceBuilder::new()
//!     .layer(RequireAuthLayer::new(Tickets))
//!     .layer(DecodeLayer::<Hello>::json());
//! WebSocketLayer::new(messages, service_fn(handle));
//! ```
//!
//! ```compile_fail,E0277
//! # use tower::{ServiceBuilder, service_fn};
//! # use tower_websocket::*;
//! # struct User;
//! # impl Principal for User { fn id(&self) -> &str { "ada" } }
//! # struct Tickets;
//! # impl Authenticate for Tickets {
//! #     type User = User;
//! #     async fn authenticate(&self, _: &Message, _: &Connection) -> Result<Session<User>, AuthFailure> {
//! #         Err(AuthFailure::Rejected)
//! #     }
//! # }
//! # #[derive(serde::Deserialize, serde::Serialize)]
//! # struct Hello {}
//! # async fn handle(_: Inbound<Hello, Authenticated<User>>) -> Result<Reply<Hello>, CloseReason> {
//! #     Ok(Reply::none())
//! # }
//! let messages = ServiceBuilder::new()
//!     .layer(DecodeLayer::<Hello>::json());
//! WebSocketLayer::new(messages, service_fn(handle));
//! ```
//!
//! Decoding before authenticating, so that the decoder reads what strangers send:
//!
//! ```compile_fail,E0277
//! # use tower::{ServiceBuilder, service_fn};
//! # use tower_websocket::*;
//! # struct User;
//! # impl Principal for User { fn id(&self) -> &str { "ada" } }
//! # struct Tickets;
//! # impl Authenticate for Tickets {
//! #     type User = User;
//! #     async fn authenticate(&self, _: &Message, _: &Connection) -> Result<Session<User>, AuthFailure> {
//! #         Err(AuthFailure::Rejected)
//! #     }
//! # }
//! # #[derive(serde::Deserialize, serde::Serialize)]
//! # struct Hello {}
//! # async fn handle(_: Inbound<Hello, Authenticated<User>>) -> Result<Reply<Hello>, CloseReason> {
//! #     Ok(Reply::none())
//! # }
//! let messages = ServiceBuilder::new()
//!     .layer(DecodeLayer::<Hello>::json())
//!     .layer(RequireAuthLayer::new(Tickets));
//! WebSocketLayer::new(messages, service_fn(handle));
//! ```
//!
//! Publishing to a room that the sender only names. What a message names is a
//! [`RoomName`](crate::RoomName); what can publish is the [`Room`](crate::Room) in the proof:
//!
//! ```
//! # use tower_websocket::{room::service::*, *};
//! async fn tell<U>(
//!     member: &Member<U, (), ServerMessage>,
//!     named: &RoomName,
//!     message: &ServerMessage,
//! ) -> Result<(), CloseReason> {
//!     let room = member.room()?;
//!     room.broadcast(message).await?;
//!     Ok(())
//! }
//! ```
//!
//! ```compile_fail,E0599
//! # use tower_websocket::{room::service::*, *};
//! async fn tell<U>(
//!     member: &Member<U, (), ServerMessage>,
//!     named: &RoomName,
//!     message: &ServerMessage,
//! ) -> Result<(), CloseReason> {
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

use std::{fmt, ops::Deref};

use bytes::Bytes;
use tokio_tungstenite::tungstenite;

use crate::handle::Connection;

pub use self::{
    codec::{Decode, DecodeError, DecodeErrorKind, Encode, EncodeError, Json},
    decode::{DecodeFuture, DecodeLayer, DecodeMessage, Everybody, OnlyAuthenticated},
    error::{HandleError, HandleErrorFuture, HandleErrorLayer},
    fault::{Constraint, Fault},
    handler::{Handler, HandlerFuture, HandlerService},
    json::{JsonError, JsonErrorKind, JsonLimits},
    proof::{Anonymous, Authenticated, Principal},
    rate_limit::{
        CloseOnExcess, Cost, OnExcess, OneEach, PayloadBytes, RateLimit, RateLimitFuture,
        RateLimitLayer, WaitOnExcess,
    },
    rate_meter::{PerAddress, PerConnection, PerUser, Quota, RateKey, RateKeyValue},
    reply::{Failure, Reply},
    require_auth::{
        AuthFailure, Authenticate, OnOpen, RequireAuth, RequireAuthFuture, RequireAuthLayer,
        Session,
    },
};

pub(crate) use self::fault::Muted;

mod reply;
mod proof;
pub(crate) mod binding;
mod rate_limit;
pub(crate) mod rate_meter;
mod require_auth;
mod decode;
mod codec;
mod fault;
pub(crate) mod json;
mod handler;
mod error;
pub(crate) mod on_demand;

#[cfg(test)]
mod tests;

/// One whole data message, as the peer sent it or as it will be sent.
///
/// Pings, pongs, close frames and fragments never get this far.
#[expect(clippy::exhaustive_enums, reason = "RFC 6455 §5.6 has two kinds of data frame")]
#[derive(Clone, Eq, PartialEq)]
pub enum Message {
    /// UTF-8 text.
    Text(Utf8Bytes),
    /// Bytes.
    Binary(Bytes),
}

/// Bytes that are known to be UTF-8, cheap to clone.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Utf8Bytes(tungstenite::Utf8Bytes);

/// A message `M` from a peer, with the proof `P` of what that peer has shown so far.
///
/// Only the driver and the layers make one: there is no public constructor, so a handler that takes
/// `Inbound<T, Authenticated<U>>` cannot be called with a message whose sender was not authenticated.
pub struct Inbound<M, P> {
    /// The message.
    pub message: M,
    proof: P,
    connection: Connection,
}

impl Message {
    /// A text message.
    pub fn text(text: impl Into<Utf8Bytes>) -> Self {
        Self::Text(text.into())
    }

    /// A binary message. A `Vec` should have no more capacity than it needs: what is queued is charged
    /// by its length.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::Binary(bytes.into())
    }

    /// The payload's length in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The payload.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The text, if it is a text message.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// A message whose payload holds little more than itself.
    ///
    /// A payload from the wire is a slice of the connection's read buffer: kept in a queue or a
    /// history, a byte of it would hold the whole buffer. That nobody else holds the buffer any more
    /// does not make it smaller, so a small payload is copied in any case.
    pub(crate) fn detached(self) -> Self {
        match self {
            Self::Text(text) => Self::Text(text.detached()),
            Self::Binary(bytes) if is_alone(&bytes) => Self::Binary(bytes),
            Self::Binary(bytes) => Self::Binary(Bytes::copy_from_slice(&bytes)),
        }
    }

    pub(crate) fn into_frame(self) -> tungstenite::Message {
        match self {
            Self::Text(text) => tungstenite::Message::Text(text.0),
            Self::Binary(bytes) => tungstenite::Message::Binary(bytes),
        }
    }
}

/// An empty binary message.
impl Default for Message {
    fn default() -> Self {
        Self::Binary(Bytes::new())
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Binary(bytes) => write!(f, "Binary({} bytes)", bytes.len()),
        }
    }
}

impl Utf8Bytes {
    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) fn from_frame(text: tungstenite::Utf8Bytes) -> Self {
        Self(text)
    }

    fn detached(self) -> Self {
        if is_alone(self.0.as_ref()) { self } else { Self(self.as_str().into()) }
    }
}

impl Deref for Utf8Bytes {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl From<String> for Utf8Bytes {
    fn from(mut text: String) -> Self {
        // What is queued is charged by its length; what it holds must not be twice that.
        text.shrink_to_fit();
        Self(text.into())
    }
}

impl From<&str> for Utf8Bytes {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Utf8Bytes({} bytes)", self.len())
    }
}

/// Whether a payload holds no buffer that is much larger than itself: the engine's read buffers have
/// 1 KiB, or what one frame needs.
fn is_alone(bytes: &Bytes) -> bool {
    bytes.is_unique() && bytes.len() >= 1024
}

impl<M, P> Inbound<M, P> {
    pub(crate) fn new(message: M, proof: P, connection: Connection) -> Self {
        Self { message, proof, connection }
    }

    /// What the sender has shown.
    pub fn proof(&self) -> &P {
        &self.proof
    }

    /// The connection the message came on.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The message, the proof and the connection.
    pub fn into_parts(self) -> (M, P, Connection) {
        (self.message, self.proof, self.connection)
    }

    /// The same proof and connection with another message: what a decoding layer does.
    pub fn map<N>(self, map: impl FnOnce(M) -> N) -> Inbound<N, P> {
        Inbound { message: map(self.message), proof: self.proof, connection: self.connection }
    }
}

impl<M, P: fmt::Debug> fmt::Debug for Inbound<M, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound")
            .field("proof", &self.proof)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}
