//! Turn messages into an application's types and back.
//!
//! [`Json`] is the codec of this crate; [`Decode`] and [`Encode`] are open for others.

use std::{error::Error, fmt};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    close::Close,
    layers::{Fault, JsonError, JsonErrorKind, JsonLimits, fault::Details, json},
    message::{EncodeError, Message},
};

/// Reads an application's type `T` from a message.
pub trait Decode<T>: Send + Sync + 'static {
    /// Reads `message`, which is from an untrusted peer.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it is not a `T`. The error carries nothing of the message.
    fn decode(&self, message: &Message) -> Result<T, DecodeError>;
}

/// Writes an application's type `R` as a message.
pub trait Encode<R>: Send + Sync + 'static {
    /// Writes `value`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if `value` cannot be written.
    fn encode(&self, value: &R) -> Result<Message, EncodeError>;

    /// Writes `value` with a place for its position: what a room says that keeps a
    /// [`History`](crate::room::History).
    ///
    /// By default there is none, and nothing can be published in such a room.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if `value` cannot be written, or has no place for a position.
    fn encode_stamped(&self, value: &R) -> Result<Stamped, EncodeError> {
        let _ = value;
        Err(EncodeError)
    }
}

/// A message with a place for its position, which is known when it is published.
#[derive(Clone, Debug)]
pub struct Stamped {
    is_text: bool,
    before: Bytes,
    behind: Bytes,
}

impl Stamped {
    /// A text message: the position stands between `before` and `behind`.
    pub fn text(before: impl Into<String>, behind: impl Into<String>) -> Self {
        Self { is_text: true, before: before.into().into(), behind: behind.into().into() }
    }

    /// A binary message, in the same way. The position is ASCII text.
    pub fn binary(before: impl Into<Bytes>, behind: impl Into<Bytes>) -> Self {
        Self { is_text: false, before: before.into(), behind: behind.into() }
    }

    /// The message with `position` in its place.
    pub(crate) fn at(&self, position: &impl fmt::Display) -> Message {
        let position = position.to_string();
        let bytes = [&self.before[..], position.as_bytes(), &self.behind[..]].concat();
        match String::from_utf8(bytes) {
            Ok(text) if self.is_text => Message::text(text),
            Ok(text) => Message::binary(text.into_bytes()),
            Err(bytes) => Message::binary(bytes.into_bytes()),
        }
    }
}

/// JSON text: one object for each message, within [`JsonLimits`].
#[derive(Clone, Debug, Default)]
pub struct Json {
    limits: JsonLimits,
}

/// Why a message could not be read: the [`kind`](DecodeError::kind) decides how the connection ends,
/// [`fault`](DecodeError::fault), [`field`](DecodeError::field) and
/// [`constraint`](DecodeError::constraint) say what was wrong, for a record or an answer.
///
/// Nothing in it is the peer's. `Display` is one line: `text: longer than 1,000 UTF-16 code units`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DecodeError {
    kind: DecodeErrorKind,
    rule: &'static str,
    fault: Fault,
    details: Details,
}

/// What was wrong with a message.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DecodeErrorKind {
    /// A binary message where text is spoken.
    Binary,
    /// A text message where binary is spoken.
    Text,
    /// Not what the schema says.
    Invalid,
}

impl Json {
    /// JSON within these limits.
    pub fn new(limits: JsonLimits) -> Self {
        Self { limits }
    }
}

impl<T: DeserializeOwned> Decode<T> for Json {
    fn decode(&self, message: &Message) -> Result<T, DecodeError> {
        let Some(text) = message.as_text() else {
            return Err(DecodeError::new(DecodeErrorKind::Binary, "message.binary"));
        };
        json::from_str(text, &self.limits).map_err(DecodeError::from)
    }
}

impl<R: Serialize> Encode<R> for Json {
    fn encode(&self, value: &R) -> Result<Message, EncodeError> {
        Message::json(value)
    }

    /// The first field is `at`, a string. What has a field of this name itself is not written.
    fn encode_stamped(&self, value: &R) -> Result<Stamped, EncodeError> {
        let text = serde_json::to_string(value).map_err(|_| EncodeError)?;
        let fields = text.strip_prefix('{').ok_or(EncodeError)?;
        if has_field_at(&text) {
            return Err(EncodeError);
        }
        let separator = if fields == "}" { "\"" } else { "\"," };
        Ok(Stamped::text(r#"{"at":""#, format!("{separator}{fields}")))
    }
}

/// Whether the object `json` has a field `at`.
fn has_field_at(json: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Fields {
        at: Option<serde::de::IgnoredAny>,
    }
    json.contains(r#""at""#)
        && serde_json::from_str(json).map_or(true, |Fields { at }| at.is_some())
}

impl EncodeError {
    /// What a codec says of a value that it cannot write.
    pub const fn new() -> Self {
        Self
    }
}

impl DecodeError {
    /// An error of a codec: its kind, and the rule that audit records name.
    pub const fn new(kind: DecodeErrorKind, rule: &'static str) -> Self {
        let fault = match kind {
            DecodeErrorKind::Binary => Fault::Binary,
            DecodeErrorKind::Text => Fault::Text,
            DecodeErrorKind::Invalid => Fault::Schema,
        };
        Self { kind, rule, fault, details: Details::NONE }
    }

    /// What was wrong.
    pub fn kind(&self) -> DecodeErrorKind {
        self.kind
    }

    /// The rule that was broken, as audit records name it.
    pub fn rule(&self) -> &'static str {
        self.rule
    }

    /// What exactly it was, as far as the codec could tell: [`Json`] can.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// The field it was about, by the names that the type has for it: `text`, `items[3].name`,
    /// `seats.*.user` where the keys of a map are the peer's. At most 128 bytes; what does not fit is
    /// `..`. It is `None` if the fault is the message's as a whole, or cannot be located: a type that
    /// serde buffers (`#[serde(tag = "..")]`, `untagged`, `flatten`) has names only for what is missing
    /// or twice.
    pub fn field(&self) -> Option<&str> {
        self.details.field()
    }

    /// What the value had to be, in the words of the type's own [`Constraint`](super::Constraint).
    pub fn constraint(&self) -> Option<&'static str> {
        self.details.constraint()
    }
}

impl From<JsonError> for DecodeError {
    fn from(error: JsonError) -> Self {
        let rule = match error.kind() {
            JsonErrorKind::Schema => "message.schema",
            JsonErrorKind::Syntax | JsonErrorKind::NotAnObject => "message.json",
            _ => "message.structure",
        };
        let (fault, details) = error.into_details();
        Self { fault, details, ..Self::new(DecodeErrorKind::Invalid, rule) }
    }
}

impl From<DecodeError> for Close {
    fn from(error: DecodeError) -> Self {
        match error.kind {
            DecodeErrorKind::Binary => Self::BINARY_MESSAGE,
            DecodeErrorKind::Text => Self::TEXT_MESSAGE,
            DecodeErrorKind::Invalid => Self::INVALID_MESSAGE,
        }
    }
}

impl From<EncodeError> for Close {
    fn from(_: EncodeError) -> Self {
        Self::HANDLER_FAILED
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field().unwrap_or("the message"))?;
        match self.constraint() {
            Some(words) => write!(f, ": {words}"),
            None => write!(f, ": {}", self.fault),
        }
    }
}

impl Error for DecodeError {}
