//! Answer what peers say.

use std::{sync::Arc, time::SystemTime};

use crate::{
    close::Close,
    layers::{Failure, Inbound, Reply},
    principal::Principal,
    room::{Member, PublishError},
    service::{
        fields::MessageId,
        protocol::{Chat, ClientMessage, Refusal, SentChat, ServerMessage},
    },
};

/// Answers one message: publishes a chat message to its room, or answers a ping.
///
/// # Errors
///
/// [`Failure::Reply`] with [`ServerMessage::ROOM_BUSY`] if the members are too far behind to be told.
/// [`Failure::Close`] with [`Close::INVALID_MESSAGE`] for a join or leave, which
/// [`RoomsLayer`](crate::RoomsLayer) answers and does not hand on. A sender that was removed from the room
/// meanwhile is told so by the room.
pub async fn handle<U: Principal, Role>(
    inbound: Inbound<ClientMessage, Member<U, ServerMessage, Role>>,
) -> Result<Reply<ServerMessage>, Failure<ServerMessage>> {
    let (message, member, _) = inbound.into_parts();
    match message {
        ClientMessage::Chat(Chat { request_id, text, .. }) => {
            let room = member.room()?;
            let chat = ServerMessage::Chat(SentChat {
                id: MessageId::new(),
                request_id: request_id.clone(),
                room_id: room.name().clone(),
                user_id: Arc::clone(room.user_id()),
                text,
                sent_at: SystemTime::now(),
            });
            match room.broadcast(&chat).await {
                Ok(_) | Err(PublishError::NotAMember) => Ok(Reply::none()),
                Err(PublishError::Overloaded) => {
                    Err(Failure::Reply(ServerMessage::Error(Refusal {
                        code: ServerMessage::ROOM_BUSY,
                        request_id: Some(request_id),
                        room_id: Some(room.name().clone()),
                    })))
                }
                Err(error) => Err(error.into()),
            }
        }
        ClientMessage::Ping => Ok(Reply::one(ServerMessage::pong())),
        ClientMessage::Join(_) | ClientMessage::Leave(_) => Err(Close::INVALID_MESSAGE.into()),
    }
}

#[cfg(test)]
#[path = "tests/handler.rs"]
mod tests;
