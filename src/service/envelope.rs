//! Read what peers say.
//!
//! There are two steps. The envelope takes the fields of all types at once, each as the strict type that it has, and refuses what is unknown or doubled; then the type says which of them
//! must be there, and that no other is. A derived tagged enum would buffer many times its input,
//! would let extra fields pass where a type has none, and could not say which field was wrong.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, value::MapAccessDeserializer},
};

use crate::{
    layers::{Constraint, Decode, Json, Reworded},
    message::Message,
    room::{Position, RoomName},
    service::{
        fields::{ChatText, RequestId, RequestIdField},
        protocol::{Chat, ClientMessage, Join, Leave},
    },
};

/// What a peer shows to be let in. `Debug` does not show it.
#[derive(Clone, Eq, PartialEq)]
pub struct Token(Box<str>);

/// The token in `message`, if it is exactly `{"type":"auth","token":S}`: for an `Authenticate` of the
/// application's own.
///
/// # Example
///
/// ```
/// use tower_websocket::{Message, service::credentials};
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
    since: Option<Position>,
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
    const FIELDS: &[&str] = &["type", "roomId", "requestId", "since", "text"];

    fn into_message<E: de::Error>(self) -> Result<ClientMessage, E> {
        let Self { r#type, room_id, request_id, since, text } = self;
        if !matches!(r#type, Type::Join) {
            absent("since", &since)?;
        }
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
                ClientMessage::Chat(Chat { room_id, request_id, text })
            }
            Type::Join => ClientMessage::Join(Join { room_id, since }),
            Type::Leave => ClientMessage::Leave(Leave { room_id }),
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
    value.map_err(|error| de::Error::custom(Reworded(error, INVALID)))
}

/// A field that is there, and then is a `T`: `null` is not the same as nothing.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

const INVALID: &str = "invalid message";
const TYPES: &str = "none of chat, join, leave, ping";
