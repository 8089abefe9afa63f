//! Walk over a JSON text, building nothing, to see whether its structure is within limits.

use std::{borrow::Cow, collections::BTreeSet, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{JsonError, JsonErrorKind, JsonLimits, redacted::is_about_surrogates};
use crate::layers::Fault;

/// A text that passed the check.
pub(super) struct Bounded<'a>(&'a str);

impl<'a> Bounded<'a> {
    pub(super) fn parse(text: &'a str, limits: &JsonLimits) -> Result<Self, JsonError> {
        let start = text.trim_start_matches([' ', '\t', '\r', '\n']);
        if !start.starts_with('{') {
            let column = text.len() - start.len() + 1;
            return Err(JsonError::structure(
                JsonErrorKind::NotAnObject,
                Fault::NotAnObject,
                column,
            ));
        }
        let mut check = StructureCheck { limits, depth: 0, values: 0, set_aside: 0, refusal: None };
        let mut parser = serde_json::Deserializer::from_str(text);
        let end = check.deserialize(&mut parser).and_then(|()| parser.end());
        end.map(|()| Self(text)).map_err(|error| {
            let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
            let column = lines.map(str::len).sum::<usize>() + error.column();
            let (kind, fault) = match check.refusal {
                Some((kind, fault)) => (kind, fault),
                None if is_about_surrogates(&error) => (JsonErrorKind::Syntax, Fault::Surrogate),
                None => (JsonErrorKind::Syntax, Fault::Syntax),
            };
            JsonError::structure(kind, fault, column)
        })
    }

    pub(super) fn as_str(&self) -> &'a str {
        self.0
    }
}

/// What the check has against a text.
type Refusal = (JsonErrorKind, Fault);

/// What has been seen of a text.
struct StructureCheck<'a> {
    limits: &'a JsonLimits,
    depth: usize,
    values: usize,
    /// Bytes in serde's buffers for the containers that are complete.
    set_aside: usize,
    /// Set when the check ended it: in the parser's error that could not be told from bad syntax.
    refusal: Option<Refusal>,
}

impl StructureCheck<'_> {
    fn enter<E: de::Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        self.refuse_if(self.depth > self.limits.max_depth, TOO_DEEP)
    }

    fn leave<E: de::Error>(&mut self, entries: usize, entry_size: usize) -> Result<(), E> {
        self.depth -= 1;
        // A vector doubles, and starts with four: the cost of a container is more than its entries.
        let slots = if entries == 0 { 0 } else { entries.next_power_of_two().max(4) };
        self.set_aside = self.set_aside.saturating_add(slots.saturating_mul(entry_size));
        let allowed = self.limits.max_values.saturating_mul(2 * BUFFERED_VALUE).max(ALWAYS_ALLOWED);
        self.refuse_if(self.set_aside > allowed, TOO_MANY_VALUES)
    }

    fn refuse_if<E: de::Error>(&mut self, broken: bool, refusal: Refusal) -> Result<(), E> {
        if !broken {
            return Ok(());
        }
        self.refusal = Some(refusal);
        Err(E::custom("refused"))
    }
}

impl<'de> DeserializeSeed<'de> for &mut StructureCheck<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.values += 1;
        self.refuse_if(self.values > self.limits.max_values, TOO_MANY_VALUES)?;
        // Not `deserialize_ignored_any`: it is how bad strings and huge numbers would pass.
        deserializer.deserialize_any(self)
    }
}

macro_rules! pass {
    ($($visit:ident($scalar:ty))*) => {$(
        fn $visit<E>(self, _: $scalar) -> Result<(), E> {
            Ok(())
        }
    )*};
}

impl<'de> Visitor<'de> for &mut StructureCheck<'_> {
    type Value = ();

    pass! { visit_bool(bool) visit_i64(i64) visit_u64(u64) visit_f64(f64) visit_str(&str) }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.enter()?;
        let mut entries = 0;
        while seq.next_element_seed(&mut *self)?.is_some() {
            entries += 1;
        }
        self.leave(entries, BUFFERED_VALUE)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.enter()?;
        let mut keys = Keys::default();
        while let Some(is_new) = map.next_key_seed(&mut keys)? {
            self.refuse_if(!is_new, DUPLICATE_KEY)?;
            self.refuse_if(keys.len() > self.limits.max_keys, TOO_MANY_KEYS)?;
            map.next_value_seed(&mut *self)?;
        }
        self.leave(keys.len(), 2 * BUFFERED_VALUE)
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
}

/// The keys of one object so far. As a seed it reads one more, and says whether it is new.
#[derive(Default)]
struct Keys<'de> {
    /// As they stand in the text. Most objects have no others, and cost no allocation.
    few: [&'de str; 8],
    few_len: usize,
    /// Ordered, not hashed: its speed does not depend on which keys a peer chooses.
    more: BTreeSet<Cow<'de, str>>,
}

impl Keys<'_> {
    fn len(&self) -> usize {
        self.few_len + self.more.len()
    }

    fn contains(&self, key: &str) -> bool {
        self.few.iter().take(self.few_len).any(|few| *few == key) || self.more.contains(key)
    }
}

impl<'de> DeserializeSeed<'de> for &mut Keys<'de> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for &mut Keys<'de> {
    type Value = bool;

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<bool, E> {
        if self.contains(key) {
            return Ok(false);
        }
        if let Some(free) = self.few.get_mut(self.few_len) {
            *free = key;
            self.few_len += 1;
        } else {
            self.more.insert(Cow::Borrowed(key));
        }
        Ok(true)
    }

    // A key with escapes, which has no text to borrow from.
    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(!self.contains(key) && self.more.insert(Cow::Owned(key.to_owned())))
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
}

/// The size of serde's private `Content`. The test of memory fails if it grows.
const BUFFERED_VALUE: usize = 32;

/// As much as the largest message by default. Less would refuse small messages for a small limit.
const ALWAYS_ALLOWED: usize = 64 * 1024;

const DUPLICATE_KEY: Refusal = (JsonErrorKind::DuplicateKey, Fault::DuplicateKey);
const TOO_DEEP: Refusal = (JsonErrorKind::TooDeep, Fault::TooDeep);
const TOO_MANY_KEYS: Refusal = (JsonErrorKind::TooManyKeys, Fault::TooManyKeys);
const TOO_MANY_VALUES: Refusal = (JsonErrorKind::TooManyValues, Fault::TooManyValues);
