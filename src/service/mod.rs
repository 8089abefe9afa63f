//! A small room service: join, leave, chat, ping.
//!
//! It speaks the table in [`ClientMessage`]'s module and nothing else. A chat message goes to
//! everybody in the room, the sender included, with the sender's verified id; there is no history
//! and no receipt. [`handle`] is the handler beneath [`RoomsLayer`](crate::RoomsLayer), and
//! [`credentials`] reads the first message for an `Authenticate` of your own.
//!
//! # Example
//!
//! ```
//! use tower::{ServiceBuilder, service_fn};
//! use tower_websocket::{OpenRooms, Rooms, RoomsLayer, service};
//!
//! let rooms = Rooms::<service::ServerMessage>::new();
//! let stack = ServiceBuilder::new()
//!     .layer(RoomsLayer::new(rooms, OpenRooms))
//!     .service(service_fn(service::handle::<String, ()>));
//! # use tower_websocket::{Authenticated, Inbound};
//! # fn check<S: tower::Service<Inbound<service::ClientMessage, Authenticated<String>>>>(_: S) {}
//! # check(stack);
//! ```

pub use self::{
    envelope::{Token, credentials},
    fields::{ChatText, InvalidChatText, MessageId, RequestId},
    handler::handle,
    protocol::{
        AuthOk, Chat, ClientMessage, Gap, Join, Joined, Leave, Left, Pong, Refusal, Removed,
        SentChat, ServerMessage,
    },
};

mod protocol;
mod fields;
mod envelope;
mod handler;
