//! Parse the strings of the room service: a chat text, and the ids of messages.

use std::{error::Error, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::{Uuid, fmt::Hyphenated};

use crate::layers::Constraint;

/// A chat text: 1 to 1,000 UTF-16 code units, which is what a browser counts. `Debug` shows its
/// length only.
///
/// Any character may stand in it. It is data: a page that shows it must escape it.
#[derive(Clone, Eq, PartialEq)]
pub struct ChatText(Box<str>);

/// What a peer knows its message by: its own text of at most 100 characters, or one made for it.
#[derive(Clone, Eq, PartialEq)]
pub struct RequestId(Id);

/// The id of a published message: random, unique across servers.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct MessageId(Uuid);

/// Not a chat text: empty, or too long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidChatText(Constraint);

#[derive(Clone, Eq, PartialEq)]
enum Id {
    Given(Box<str>),
    Made(Uuid),
}

/// A `requestId` that is there, and is a string or something else.
pub(super) struct RequestIdField(Option<RequestId>);

impl ChatText {
    /// A text of the application's own.
    ///
    /// # Errors
    ///
    /// [`InvalidChatText`] if it is empty or longer than 1,000 UTF-16 code units.
    pub fn new(text: &str) -> Result<Self, InvalidChatText> {
        // A code unit is at most three bytes of UTF-8, and a byte at most one code unit.
        let fits = match text.len() {
            0 => return Err(InvalidChatText(EMPTY)),
            1..=MAX_TEXT => true,
            len if len > 3 * MAX_TEXT => false,
            _ => text.chars().map(char::len_utf16).sum::<usize>() <= MAX_TEXT,
        };
        if fits { Ok(Self(text.into())) } else { Err(InvalidChatText(TOO_LONG)) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ChatText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

impl Serialize for ChatText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Debug for ChatText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChatText({} bytes)", self.0.len())
    }
}

impl RequestId {
    /// An id made here.
    pub(super) fn new() -> Self {
        Self(Id::Made(Uuid::new_v4()))
    }

    fn cut(text: &str) -> Self {
        let end = text.char_indices().nth(MAX_REQUEST_ID).map_or(text.len(), |(at, _)| at);
        Self(Id::Given(text.get(..end).unwrap_or(text).into()))
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Id::Given(text) => serializer.serialize_str(text),
            Id::Made(id) => serialize_uuid(id, serializer),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Id::Given(text) => f.write_str(text),
            Id::Made(id) => id.as_hyphenated().fmt(f),
        }
    }
}

/// Escaped: it is a peer's own text.
impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Id::Given(text) => fmt::Debug::fmt(text, f),
            Id::Made(id) => id.as_hyphenated().fmt(f),
        }
    }
}

impl MessageId {
    pub(super) fn new() -> Self {
        Self(Uuid::new_v4())
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_uuid(&self.0, serializer)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl RequestIdField {
    pub(super) fn or_new(self) -> RequestId {
        self.0.unwrap_or_else(RequestId::new)
    }
}

impl<'de> Deserialize<'de> for RequestIdField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RequestIdVisitor).map(Self)
    }
}

impl fmt::Display for InvalidChatText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a chat text: {}", self.0)
    }
}

impl InvalidChatText {
    /// What the text has to be and is not, in a few words.
    pub fn constraint(&self) -> &'static str {
        self.0.as_str()
    }
}

impl Error for InvalidChatText {}

struct TextVisitor;

impl de::Visitor<'_> for TextVisitor {
    type Value = ChatText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a chat text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ChatText, E> {
        ChatText::new(text).map_err(E::custom)
    }
}

/// Takes anything: what is not a string counts as absent. It reads through what it takes for
/// absent, because a value that is skipped is not checked (lone surrogates, for one).
struct RequestIdVisitor;

impl<'de> de::Visitor<'de> for RequestIdVisitor {
    type Value = Option<RequestId>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request id")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(RequestId::cut(text)))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<RequestIdField>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<RequestIdField, RequestIdField>()?.is_some() {}
        Ok(None)
    }
}

fn serialize_uuid<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    let mut buffer = [0; Hyphenated::LENGTH];
    serializer.serialize_str(id.as_hyphenated().encode_lower(&mut buffer))
}

/// In UTF-16 code units.
const MAX_TEXT: usize = 1000;

const EMPTY: Constraint = Constraint::new("empty");
const TOO_LONG: Constraint = Constraint::new("longer than 1,000 UTF-16 code units");

/// In characters: room for a UUID and a prefix, and no room for a payload.
const MAX_REQUEST_ID: usize = 100;
