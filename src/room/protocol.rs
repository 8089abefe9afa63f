//! What the small room service and its clients say to each other.
//!
//! | in | out |
//! |---|---|
//! | `{"type":"auth","token":S}` | `{"type":"auth_ok","connectionId":S,"userId":S}` |
//! | `{"type":"join","roomId":R}` | `{"type":"joined","roomId":R}` |
//! | `{"type":"leave","roomId":R}` | `{"type":"left","roomId":R}` |
//! | `{"type":"chat","roomId":R,"requestId"?:S,"text":S}` | to the room: `{"type":"chat","id","requestId","roomId","userId","text","sentAt"}` |
//! | `{"type":"ping"}` | `{"type":"pong","sentAt"}` |
//! | – | `{"type":"error","code":S,"requestId"?,"roomId"?}` |
//!
//! A message is read in two steps. The envelope takes the fields of all types at once, each as the
//! strict type that it has, and refuses what is unknown or doubled; then the type says which of them
//! must be there, and that no other is. A derived tagged enum would buffer many times its input,
//! would let extra fields pass where a type has none, and could not say which field was wrong.

use std::{borrow::Cow, fmt, marker::PhantomData, sync::Arc, time::SystemTime};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, value::MapAccessDeserializer},
};

use crate::{
    connection::Connection,
    connection_id::ConnectionId,
    layers::{Constraint, Decode, Json, Muted},
    message::Message,
    principal::Principal,
    room::{
        RoomName, RoomNotice, RoomScoped, Scope,
        text::{ChatText, MessageId, RequestId, RequestIdField},
    },
};

/// What a peer says once it is authenticated.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClientMessage {
    /// Let me into this room.
    Join {
        /// The room.
        room_id: RoomName,
    },
    /// Let me out of this room.
    Leave {
        /// The room.
        room_id: RoomName,
    },
    /// Tell this room.
    Chat {
        /// The room.
        room_id: RoomName,
        /// What the peer will know its message by.
        request_id: RequestId,
        /// What to tell it.
        text: ChatText,
    },
    /// Are you there?
    Ping,
}

/// What the service says.
#[non_exhaustive]
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum ServerMessage {
    /// The peer is authenticated.
    AuthOk {
        /// The connection's id, to be quoted when something is to be looked up.
        #[serde(serialize_with = "display")]
        connection_id: ConnectionId,
        /// Who the peer is.
        #[serde(serialize_with = "as_str")]
        user_id: Arc<str>,
    },
    /// The peer is in the room.
    Joined {
        /// The room.
        room_id: RoomName,
    },
    /// The peer is not in the room.
    Left {
        /// The room.
        room_id: RoomName,
    },
    /// A member told the room.
    Chat {
        /// The message's own id.
        id: MessageId,
        /// What the sender knows it by.
        request_id: RequestId,
        /// The room.
        room_id: RoomName,
        /// The sender: always the authenticated user.
        #[serde(serialize_with = "as_str")]
        user_id: Arc<str>,
        /// What was told.
        text: ChatText,
        /// The server's time.
        #[serde(serialize_with = "rfc3339")]
        sent_at: SystemTime,
    },
    /// The service is there.
    Pong {
        /// The server's time.
        #[serde(serialize_with = "rfc3339")]
        sent_at: SystemTime,
    },
    /// Something was refused.
    Error {
        /// What, as a constant.
        code: &'static str,
        /// The peer's message it is about.
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<RequestId>,
        /// The room it is about.
        #[serde(skip_serializing_if = "Option::is_none")]
        room_id: Option<RoomName>,
    },
}

/// What a peer shows to be let in. `Debug` does not show it.
#[derive(Clone, Eq, PartialEq)]
pub struct Token(Box<str>);

/// The token in `message`, if it is exactly `{"type":"auth","token":S}`: for an `Authenticate` of the
/// application's own.
///
/// # Example
///
/// ```
/// use tower_websocket::{Message, room::service::credentials};
///
/// let token = credentials(&Message::text(r#"{"type":"auth","token":"s3cret"}"#));
/// assert_eq!(token.as_ref().map(|it| it.as_str()), Some("s3cret"));
/// assert!(credentials(&Message::text(r#"{"type":"auth","token":"s3cret","admin":1}"#)).is_none());
/// ```
pub fn credentials(message: &Message) -> Option<Token> {
    let auth: Auth = Json::default().decode(message).ok()?;
    Some(auth.token)
}

impl Token {
    /// The token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl ServerMessage {
    /// The code for a message that was not published because the members of its room were too far
    /// behind. It may be sent again.
    pub const ROOM_BUSY: &str = "room_busy";

    /// The answer to credentials that were accepted.
    pub fn auth_ok(connection: &Connection, user: &impl Principal) -> Self {
        Self::AuthOk { connection_id: connection.id(), user_id: user.id().into() }
    }

    /// The answer to a ping.
    pub fn pong() -> Self {
        Self::Pong { sent_at: SystemTime::now() }
    }
}

impl From<RoomNotice> for ServerMessage {
    fn from(notice: RoomNotice) -> Self {
        match notice {
            RoomNotice::Joined(room_id) => Self::Joined { room_id },
            RoomNotice::Left(room_id) => Self::Left { room_id },
            RoomNotice::Refused { room, code } => {
                Self::Error { code, request_id: None, room_id: Some(room) }
            }
        }
    }
}

impl RoomScoped for ClientMessage {
    fn scope(&self) -> Scope<'_> {
        match self {
            Self::Join { room_id } => Scope::Join(room_id),
            Self::Leave { room_id } => Scope::Leave(room_id),
            Self::Chat { room_id, .. } => Scope::Within(room_id),
            Self::Ping => Scope::Connection,
        }
    }
}

impl<'de> Deserialize<'de> for ClientMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let envelope = object::<Envelope, D>(Envelope::FIELDS, deserializer)?;
        envelope.into_message()
    }
}

/// Every field that any message has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Envelope {
    r#type: Type,
    #[serde(default, deserialize_with = "present")]
    room_id: Option<RoomName>,
    #[serde(default, deserialize_with = "present")]
    request_id: Option<RequestIdField>,
    #[serde(default, deserialize_with = "present")]
    text: Option<ChatText>,
}

enum Type {
    Chat,
    Join,
    Leave,
    Ping,
}

impl Envelope {
    const FIELDS: &[&str] = &["type", "roomId", "requestId", "text"];

    fn into_message<E: de::Error>(self) -> Result<ClientMessage, E> {
        let Self { r#type, room_id, request_id, text } = self;
        if !matches!(r#type, Type::Chat) {
            absent("requestId", &request_id)?;
            absent("text", &text)?;
        }
        if matches!(r#type, Type::Ping) {
            absent("roomId", &room_id)?;
            return Ok(ClientMessage::Ping);
        }
        let room_id = room_id.ok_or_else(|| E::missing_field("roomId"))?;
        Ok(match r#type {
            Type::Chat => {
                let text = text.ok_or_else(|| E::missing_field("text"))?;
                let request_id = request_id.map_or_else(RequestId::new, RequestIdField::or_new);
                ClientMessage::Chat { room_id, request_id, text }
            }
            Type::Join => ClientMessage::Join { room_id },
            Type::Leave => ClientMessage::Leave { room_id },
            Type::Ping => ClientMessage::Ping,
        })
    }
}

fn absent<T, E: de::Error>(field: &'static str, value: &Option<T>) -> Result<(), E> {
    value.as_ref().map_or(Ok(()), |_| Err(E::custom(Constraint::misplaced(field))))
}

impl<'de> Deserialize<'de> for Type {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TypeVisitor)
    }
}

/// By hand: serde takes `{"join":null}` for a unit variant.
struct TypeVisitor;

impl de::Visitor<'_> for TypeVisitor {
    type Value = Type;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a type of message")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Type, E> {
        Ok(match name {
            "chat" => Type::Chat,
            "join" => Type::Join,
            "leave" => Type::Leave,
            "ping" => Type::Ping,
            _ => return Err(E::custom(Constraint::unknown_variant(TYPES))),
        })
    }
}

struct Auth {
    token: Token,
}

impl<'de> Deserialize<'de> for Auth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields<'a> {
            #[serde(borrow)]
            r#type: Cow<'a, str>,
            token: Box<str>,
        }
        let fields = object::<Fields<'de>, D>(&["type", "token"], deserializer)?;
        if fields.r#type != "auth" {
            return Err(de::Error::custom(INVALID));
        }
        Ok(Self { token: Token(fields.token) })
    }
}

/// A `T` from an object with these fields: derived structs take arrays too. The error quotes nothing of
/// the input.
fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    fields: &'static [&'static str],
    deserializer: D,
) -> Result<T, D::Error> {
    struct Object<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Object<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    let value = deserializer.deserialize_struct("message", fields, Object(PhantomData));
    value.map_err(|error| de::Error::custom(Muted(error, INVALID)))
}

/// A field that is there, and then is a `T`: `null` is not the same as nothing.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
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

const INVALID: &str = "invalid message";
const TYPES: &str = "none of chat, join, leave, ping";
