//! Note which field is being read, by the name that the type has for it.
//!
//! What a peer calls a field is the peer's text. What the type calls it is a constant, and the same
//! bytes, if there is such a field. It is looked up when something is wrong with the value, so that a
//! message without a fault costs nothing.

use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, Visitor,
    value::{BorrowedStrDeserializer, StrDeserializer},
};

use super::redacted::{Refused, unredacted};
use crate::layers::fault::Step;

/// What the keys of an object mean to the type.
pub(super) trait Names: Copy {
    /// Whether the keys are names that the type gave, which are strings.
    const KNOWN: bool = false;

    /// Where what is within stands, if that is a value in a wrapper: a newtype or an option.
    type Within: Position;
    const WITHIN: Self::Within;

    /// The step to the value of `key`.
    fn step(self, key: &str) -> Option<Step>;
}

/// The type did not say.
#[derive(Clone, Copy)]
pub(super) struct Unnamed;

/// Where a value stands.
pub(super) trait Position: Names {
    /// Whether it may be asked for as anything.
    const ANY: bool;
}

/// A key: a string that stands for a number, if that is what the type asks for.
#[derive(Clone, Copy)]
pub(super) struct AsKey;

impl Names for AsKey {
    type Within = AsKey;
    const WITHIN: AsKey = AsKey;

    fn step(self, _: &str) -> Option<Step> {
        None
    }
}

impl Position for Unnamed {
    const ANY: bool = true;
}

impl Position for AsKey {
    const ANY: bool = false;
}

/// Any key will do.
#[derive(Clone, Copy)]
pub(super) struct Keys;

/// One of these.
#[derive(Clone, Copy)]
pub(super) struct Fields(pub(super) &'static [&'static str]);

impl Names for Unnamed {
    type Within = Unnamed;
    const WITHIN: Unnamed = Unnamed;

    fn step(self, _: &str) -> Option<Step> {
        None
    }
}

impl Names for Keys {
    type Within = Unnamed;
    const WITHIN: Unnamed = Unnamed;

    fn step(self, _: &str) -> Option<Step> {
        Some(Step::Entry)
    }
}

impl Names for Fields {
    type Within = Unnamed;
    const WITHIN: Unnamed = Unnamed;

    const KNOWN: bool = true;

    fn step(self, key: &str) -> Option<Step> {
        self.0.iter().find(|name| **name == key).map(|name| Step::Field(name))
    }
}

/// The key that was read last. It is looked up when something is wrong with its value.
pub(super) enum Key<'de> {
    None,
    Text(&'de str),
    /// One with escapes, which has no text to borrow from.
    Found(Option<Step>),
}

impl Key<'_> {
    pub(super) fn step(&self, names: impl Names) -> Option<Step> {
        match self {
            Self::None => names.step(""),
            Self::Text(key) => names.step(key),
            Self::Found(step) => *step,
        }
    }
}

/// Reads a key, or the name of a variant, and notes which it is.
pub(super) struct KeyRecorder<'a, 'de, S, N> {
    pub(super) seed: S,
    pub(super) names: N,
    pub(super) key: &'a mut Key<'de>,
}

impl<'de, S: DeserializeSeed<'de>, N: Names> DeserializeSeed<'de> for KeyRecorder<'_, 'de, S, N> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'de, S: DeserializeSeed<'de>, N: Names> Visitor<'de> for KeyRecorder<'_, 'de, S, N> {
    type Value = S::Value;

    fn visit_borrowed_str<E: de::Error>(self, key: &'de str) -> Result<S::Value, E> {
        *self.key = Key::Text(key);
        self.seed.deserialize(BorrowedStrDeserializer::<Refused>::new(key)).map_err(unredacted)
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<S::Value, E> {
        *self.key = Key::Found(self.names.step(key));
        self.seed.deserialize(StrDeserializer::<Refused>::new(key)).map_err(unredacted)
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }
}
