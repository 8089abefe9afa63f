//! Bound the structure of JSON before it is decoded.
//!
//! A derived `#[serde(tag = "type")]` enum copies the whole message into a buffer, more than sixteen
//! times the size of the text, before it refuses anything (`tests/json_memory.rs` measures that and
//! what follows). Other types skip what they do not know:
//! nesting without end, keys that occur twice, strings that are no text. So the text is walked
//! first, by serde_json itself and without building anything, and only then decoded. It passes
//! when all of this holds everywhere in it, also in fields that the type does not have:
//!
//! 1. It is one JSON object (RFC 8259), with nothing around it but space, tab, CR and LF.
//! 2. Objects and arrays nest at most [`max_depth`](JsonLimits::max_depth) deep.
//! 3. There are at most [`max_values`](JsonLimits::max_values) values, keys not counted, and what
//!    a decoder that buffers sets aside for them is at most 64 bytes for each value *allowed*, or
//!    64 KiB if that is more. The second bound is for small containers: about 200 objects of up to
//!    four keys each pass by default. No message of 256 values or fewer meets it.
//! 4. No object has more than [`max_keys`](JsonLimits::max_keys) keys, or one key twice, however
//!    it is spelled.
//! 5. No string has half a surrogate pair, and no number is too large for an `f64`.
//!
//! # Memory
//!
//! To read `n` bytes as a tagged enum takes at most 3 × `n` bytes, nearly all of them for a string
//! that ends with an escape, and one and a half times the second bound of rule 3: 96 KiB by
//! default. The thread that decodes holds them, not the connection: decoding never waits. What the
//! type keeps comes on top, and an enum that buffers inside another one buffers again.
//!
//! # What the walk cannot see
//!
//! It does not know the type, so this is left to the application's own:
//!
//! - A struct takes an array for an object (`"data":["a"]`), a unit variant `{"join":null}` for
//!   `"join"`. Neither can happen to the message itself or to the tag of an internally tagged
//!   enum, and nowhere if the fields of its variants are scalars.
//! - `deny_unknown_fields` on a tagged enum does not reach unit variants, nor the struct in a
//!   newtype variant. Write `Leave {}` for `Leave`, and put the attribute on that struct too.
//! - A number too small for an `f64` is zero, and a long one is rounded. What must be exact is an
//!   integer or a string.
//! - Control characters and direction marks are text. Identifiers need an allow-list.
//! - With serde_json's feature `arbitrary_precision`, which any crate of a program can turn on,
//!   each number is an object for every visitor: it counts as one, and none is too large. And a string
//!   where the type has something else is described, at up to twelve times its size, for an error that
//!   is thrown away; without that feature, only where the type has 128 bits.

use std::{error::Error, fmt, num::NonZeroUsize};

use serde::de::DeserializeOwned;

use self::{
    redacted::{Redacted, Refused},
    structure::Bounded,
};
use crate::layers::fault::{Details, Fault, LocatedFault};

mod structure;
mod redacted;
mod names;

/// Limits on the structure of a JSON message.
///
/// | limit | default | reason |
/// |---|---|---|
/// | depth | 16 | messages nest three to six deep; each level is a stack frame |
/// | values | 1,024 | a batch of some hundred small items, and 64 KiB for a decoder that buffers |
/// | keys of one object | 64 | what has more is a table, and belongs in an array |
#[must_use]
#[derive(Clone, Debug)]
pub struct JsonLimits {
    max_depth: usize,
    max_values: usize,
    max_keys: usize,
}

/// Why a text was refused; see [`JsonError::kind`]. It carries nothing of the text.
#[derive(Clone, Eq, PartialEq)]
pub struct JsonError {
    kind: JsonErrorKind,
    column: usize,
    fault: Fault,
    details: Details,
}

/// What was wrong with a text.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum JsonErrorKind {
    /// A key occurs twice in one object.
    DuplicateKey,
    /// The text does not begin with an object.
    NotAnObject,
    /// An object within limits, but not what the type says.
    Schema,
    /// Not JSON; half a surrogate pair and a number out of range count as that.
    Syntax,
    /// Deeper than [`JsonLimits::max_depth`].
    TooDeep,
    /// An object with more keys than [`JsonLimits::max_keys`].
    TooManyKeys,
    /// More values, or more arrays and objects, than [`JsonLimits::max_values`] allows.
    TooManyValues,
}

/// Reads one JSON object from an untrusted peer as a `T`.
///
/// # Errors
///
/// [`JsonError`] if `text` is not one object within `limits`, or not a `T`.
pub fn from_str<T: DeserializeOwned>(text: &str, limits: &JsonLimits) -> Result<T, JsonError> {
    let text = match Bounded::parse(text, limits) {
        Ok(text) => text,
        Err(error) if error.fault == Fault::Surrogate => return Err(error.located::<T>(text)),
        Err(error) => return Err(error),
    };
    // No `end` here: the walk has been there, over the same text.
    decode(text.as_str()).map_err(|located| JsonError {
        kind: JsonErrorKind::Schema,
        column: 0,
        fault: located.fault,
        details: located.details(),
    })
}

fn decode<T: DeserializeOwned>(text: &str) -> Result<T, Box<LocatedFault>> {
    let mut parser = serde_json::Deserializer::from_str(text);
    T::deserialize(Redacted::new(&mut parser)).map_err(Refused::into_fault)
}

impl JsonLimits {
    /// How deep objects and arrays may nest, the outermost object included. Default 16.
    ///
    /// Each level costs a stack frame here and in the decoder. More than 126 counts as 126, just
    /// below a limit of the parser's own.
    pub const fn max_depth(mut self, levels: NonZeroUsize) -> Self {
        self.max_depth = if levels.get() < DEEPEST { levels.get() } else { DEEPEST };
        self
    }

    /// How many values there may be in all, keys not counted. Default 1,024.
    ///
    /// Beyond the default, each one more allows a peer 96 bytes more while its message is decoded.
    pub const fn max_values(mut self, values: NonZeroUsize) -> Self {
        self.max_values = values.get();
        self
    }

    /// How many keys one object may have. Default 64.
    ///
    /// Raised, it lets a peer put more keys of its choice into any map that the type has.
    pub const fn max_keys(mut self, keys: NonZeroUsize) -> Self {
        self.max_keys = keys.get();
        self
    }
}

impl Default for JsonLimits {
    fn default() -> Self {
        Self { max_depth: 16, max_values: 1024, max_keys: 64 }
    }
}

impl JsonError {
    /// The structure was refused at `column`.
    fn structure(kind: JsonErrorKind, fault: Fault, column: usize) -> Self {
        Self { kind, column, fault, details: Details::default() }
    }

    /// The same, with the field: as far as the walk got, the type may follow, and ends there at the
    /// latest.
    fn located<T: DeserializeOwned>(mut self, text: &str) -> Self {
        match text.get(..self.column).map(decode::<T>) {
            Some(Err(located)) if located.fault == self.fault => self.details = located.details(),
            _ => {}
        }
        self
    }

    /// What was wrong.
    pub fn kind(&self) -> JsonErrorKind {
        self.kind
    }

    pub(super) fn into_details(self) -> (Fault, Details) {
        (self.fault, self.details)
    }

    /// About where it was noticed: bytes from the start of the text, the first being 1. It is 0 for
    /// [`JsonErrorKind::Schema`].
    pub fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Debug for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, column, fault, .. } = self;
        write!(f, "JsonError({kind:?}, {fault:?}, column {column})")
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            JsonErrorKind::DuplicateKey => "a key occurs twice in one JSON object",
            JsonErrorKind::NotAnObject => "the text is not a JSON object",
            JsonErrorKind::Schema => "the JSON object is not what the schema says",
            JsonErrorKind::Syntax => "the text is not JSON",
            JsonErrorKind::TooDeep => "the JSON is nested too deeply",
            JsonErrorKind::TooManyKeys => "a JSON object has too many keys",
            JsonErrorKind::TooManyValues => "the JSON has too many values",
        })
    }
}

impl Error for JsonError {}

/// One less than what serde_json allows, so that the limit met first is always ours.
const DEEPEST: usize = 126;
