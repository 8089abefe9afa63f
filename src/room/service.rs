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
//! use tower_websocket::{OpenRooms, Principal, Rooms, RoomsLayer, room::service};
//!
//! struct User(String);
//!
//! impl Principal for User {
//!     fn id(&self) -> &str {
//!         &self.0
//!     }
//! }
//!
//! let rooms = Rooms::<service::ServerMessage>::new();
//! let stack = ServiceBuilder::new()
//!     .layer(RoomsLayer::new(rooms, OpenRooms))
//!     .service(service_fn(service::handle::<User, ()>));
//! # use tower_websocket::{Authenticated, Inbound};
//! # fn check<S: tower::Service<Inbound<service::ClientMessage, Authenticated<User>>>>(_: S) {}
//! # check(stack);
//! ```

use std::{sync::Arc, time::SystemTime};

use crate::{
    close::CloseReason,
    layers::{Failure, Inbound, Reply},
    principal::Principal,
    room::{Member, PublishError},
};

pub use crate::room::{
    protocol::{ClientMessage, ServerMessage, Token, credentials},
    text::{ChatText, InvalidChatText, MessageId, RequestId},
};

/// Answers one message: publishes a chat message to its room, or answers a ping.
///
/// # Errors
///
/// [`Failure::Reply`] with [`ServerMessage::ROOM_BUSY`] if the members are too far behind to be told.
/// [`Failure::Close`] with [`CloseReason::NotAMember`] if the sender was removed from the room
/// meanwhile, and with [`CloseReason::InvalidMessage`] for a join or leave, which
/// [`RoomsLayer`](crate::RoomsLayer) answers and does not hand on.
pub async fn handle<U: Principal, Role>(
    inbound: Inbound<ClientMessage, Member<U, Role, ServerMessage>>,
) -> Result<Reply<ServerMessage>, Failure<ServerMessage>> {
    let (message, member, _) = inbound.into_parts();
    match message {
        ClientMessage::Chat { request_id, text, .. } => {
            let room = member.room()?;
            let chat = ServerMessage::Chat {
                id: MessageId::new(),
                request_id: request_id.clone(),
                room_id: room.name().clone(),
                user_id: Arc::clone(room.user_id()),
                text,
                sent_at: SystemTime::now(),
            };
            match room.broadcast(&chat).await {
                Ok(_) => Ok(Reply::none()),
                Err(PublishError::Overloaded) => Err(Failure::Reply(ServerMessage::Error {
                    code: ServerMessage::ROOM_BUSY,
                    request_id: Some(request_id),
                    room_id: Some(room.name().clone()),
                })),
                Err(error) => Err(error.into()),
            }
        }
        ClientMessage::Ping => Ok(Reply::one(ServerMessage::pong())),
        ClientMessage::Join { .. } | ClientMessage::Leave { .. } => {
            Err(CloseReason::InvalidMessage.into())
        }
    }
}
