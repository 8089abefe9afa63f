//! What the small room service and its clients say to each other.
//!
//! | in | out |
//! |---|---|
//! | `{"type":"auth","token":S}` | `{"type":"auth_ok","connectionId":S,"userId":S}` |
//! | `{"type":"join","roomId":R,"since"?:P}` | `{"at"?:P,"type":"joined","roomId":R,"recovered"?:B}` |
//! | `{"type":"leave","roomId":R}` | `{"type":"left","roomId":R}` |
//! | `{"type":"chat","roomId":R,"requestId"?:S,"text":S}` | to the room: `{"type":"chat","id","requestId","roomId","userId","text","sentAt"}` |
//! | `{"type":"ping"}` | `{"type":"pong","sentAt"}` |
//! | – | `{"at"?:P,"type":"gap","roomId":R}` |
//! | – | `{"type":"removed","roomId":R}` |
//! | – | `{"type":"error","code":S,"requestId"?,"roomId"?}` |
//!
//! Where rooms keep a [`History`](crate::room::History), `joined` and `chat` say their position `at`, as in
//! `k3h9x2ab-17`. A client keeps the last one of each room, and comes back `since` then: `recovered` says
//! whether it gets all that it has missed, as ordinary messages, or whether something may be missing.
//! While those come, only they move what it keeps, and not the `at` of `joined`.
//!
//! `removed` comes when the application has removed the user from the room: the connection and its other rooms
//! stay. What is sent to the room after that is answered with the same, until it is left or joined again.
//!
//! `gap` comes only where rooms go on without those who cannot keep up
//! ([`SlowMember::Skip`](crate::room::SlowMember)): something that was said before it is missing, and what comes
//! next is the newest. A client that needs all of it loads it from elsewhere; its `at` is kept as that of a
//! message.

use std::{fmt, sync::Arc, time::SystemTime};

use serde::{Serialize, Serializer};

use crate::{
    connection::Connection,
    connection_id::ConnectionId,
    principal::Principal,
    room::{self, Position, RoomName, RoomNotice, RoomScoped, Scope},
    service::fields::{ChatText, MessageId, RequestId},
};

/// What a peer says once it is authenticated.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClientMessage {
    /// Let me into this room.
    Join(Join),
    /// Let me out of this room.
    Leave(Leave),
    /// Tell this room.
    Chat(Chat),
    /// Are you there?
    Ping,
}

/// Let me into this room.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Join {
    /// The room.
    pub room_id: RoomName,
    /// Up to where the peer has heard it.
    pub since: Option<Position>,
}

/// Let me out of this room.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Leave {
    /// The room.
    pub room_id: RoomName,
}

/// Tell this room.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chat {
    /// The room.
    pub room_id: RoomName,
    /// What the peer will know its message by.
    pub request_id: RequestId,
    /// What to tell it.
    pub text: ChatText,
}

/// What the service says.
#[non_exhaustive]
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The peer is authenticated.
    AuthOk(AuthOk),
    /// The peer is in the room.
    Joined(Joined),
    /// The peer is not in the room.
    Left(Left),
    /// A member told the room.
    Chat(SentChat),
    /// The peer could not keep up with the room: something is missing here.
    Gap(Gap),
    /// The peer was removed from the room.
    Removed(Removed),
    /// The service is there.
    Pong(Pong),
    /// Something was refused.
    Error(Refusal),
}

/// The peer is authenticated.
#[non_exhaustive]
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthOk {
    /// The connection's id, to be quoted when something is to be looked up.
    #[serde(serialize_with = "display")]
    pub connection_id: ConnectionId,
    /// Who the peer is.
    #[serde(serialize_with = "as_str")]
    pub user_id: Arc<str>,
}

/// The peer is in the room.
#[non_exhaustive]
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Joined {
    /// The room.
    pub room_id: RoomName,
    /// Whether the peer gets all that it has missed, if it has asked for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovered: Option<bool>,
}

/// The peer is not in the room.
#[non_exhaustive]
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Left {
    /// The room.
    pub room_id: RoomName,
}

/// A member told the room.
#[non_exhaustive]
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SentChat {
    /// The message's own id.
    pub id: MessageId,
    /// What the sender knows it by.
    pub request_id: RequestId,
    /// The room.
    pub room_id: RoomName,
    /// The sender: always the authenticated user.
    #[serde(serialize_with = "as_str")]
    pub user_id: Arc<str>,
    /// What was told.
    pub text: ChatText,
    /// The server's time.
    #[serde(serialize_with = "rfc3339")]
    pub sent_at: SystemTime,
}

/// The peer could not keep up with the room: something is missing here.
#[non_exhaustive]
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// The room.
    pub room_id: RoomName,
}

/// The peer was removed from the room.
#[non_exhaustive]
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    /// The room.
    pub room_id: RoomName,
}

/// The service is there.
#[non_exhaustive]
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pong {
    /// The server's time.
    #[serde(serialize_with = "rfc3339")]
    pub sent_at: SystemTime,
}

/// Something was refused.
#[non_exhaustive]
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// What, as a constant.
    pub code: &'static str,
    /// The peer's message it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// The room it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_id: Option<RoomName>,
}

impl ServerMessage {
    /// The code for a message that was not published because the members of its room were too far
    /// behind. It may be sent again.
    pub const ROOM_BUSY: &str = "room_busy";

    /// The answer to credentials that were accepted.
    pub fn auth_ok(connection: &Connection, user: &impl Principal) -> Self {
        Self::AuthOk(AuthOk { connection_id: connection.id(), user_id: user.id().into() })
    }

    /// The answer to a ping.
    pub fn pong() -> Self {
        Self::Pong(Pong { sent_at: SystemTime::now() })
    }

    /// The answer to what is refused, as the constant `code`.
    pub fn error(code: &'static str) -> Self {
        Self::Error(Refusal::new(code))
    }
}

impl ClientMessage {
    /// Asks to be let into `room_id`.
    pub fn join(room_id: RoomName) -> Self {
        Self::Join(Join { room_id, since: None })
    }

    /// Asks to be let into `room_id` again, which was heard up to `since`.
    pub fn join_since(room_id: RoomName, since: Position) -> Self {
        Self::Join(Join { room_id, since: Some(since) })
    }

    /// Asks to be let out of `room_id`.
    pub fn leave(room_id: RoomName) -> Self {
        Self::Leave(Leave { room_id })
    }

    /// Tells `room_id` a text, with a request id that is made here.
    pub fn chat(room_id: RoomName, text: ChatText) -> Self {
        Self::Chat(Chat { room_id, request_id: RequestId::new(), text })
    }
}

impl Refusal {
    /// Nothing is said but `code`, a constant.
    pub fn new(code: &'static str) -> Self {
        Self { code, request_id: None, room_id: None }
    }
}

impl From<RoomNotice> for ServerMessage {
    fn from(notice: RoomNotice) -> Self {
        match notice {
            RoomNotice::Joined(it) => {
                let recovered = it.recovered();
                Self::Joined(Joined { room_id: it.into_room(), recovered })
            }
            RoomNotice::Left(it) => Self::Left(Left { room_id: it.into_room() }),
            RoomNotice::Gap(it) => Self::Gap(Gap { room_id: it.into_room() }),
            RoomNotice::Removed(it) => Self::Removed(Removed { room_id: it.into_room() }),
            other => {
                let (room, code) = other.into_parts();
                Self::Error(Refusal { room_id: Some(room), ..Refusal::new(code) })
            }
        }
    }
}

impl RoomScoped for ClientMessage {
    fn scope(&self) -> Scope<'_> {
        match self {
            Self::Join(it) => Scope::Join(room::Join::new(&it.room_id).since(it.since)),
            Self::Leave(it) => Scope::Leave(&it.room_id),
            Self::Chat(it) => Scope::Within(&it.room_id),
            Self::Ping => Scope::Connection,
        }
    }
}

fn display<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn as_str<S: Serializer>(value: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value)
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    // A clock set before 1970 cannot be written, and is no reason to fail.
    let time = (*time).max(SystemTime::UNIX_EPOCH);
    serializer.collect_str(&humantime::format_rfc3339_millis(time))
}

#[cfg(test)]
#[path = "tests/protocol.rs"]
pub(super) mod tests;
