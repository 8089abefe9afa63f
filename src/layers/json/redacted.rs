//! Decode without error texts.
//!
//! Serde's derives describe what they refuse, and quote it: the unknown key, the unknown variant,
//! the string where a number belongs. What a peer sent would be a `Display` away from a log, and
//! writing it costs: each DEL character where a number belongs becomes the six of `\u{7f}`. A
//! deserializer inside [`Redacted`] has an error that keeps what the type itself knows, and nothing that
//! was read: the fault, and the way to the field, by the names that the type gave.

use std::{cell::Cell, fmt, fmt::Write as _, sync::LazyLock};

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Expected, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};

use super::names::{AsKey, Fields, Key, KeyRecorder, Keys, Names, Position, Unnamed};
use crate::layers::fault::{Fault, LocatedFault, Step};

/// A deserializer, or anything it hands out or is handed, whose errors quote nothing.
pub(super) struct Redacted<X, N = Unnamed>(X, N);

/// Something was refused.
#[derive(Debug)]
pub(super) struct Refused(Box<LocatedFault>);

impl<X> Redacted<X> {
    pub(super) fn new(inner: X) -> Self {
        Self(inner, Unnamed)
    }
}

impl Refused {
    fn new(fault: Fault) -> Self {
        Self(Box::new(LocatedFault::of(fault)))
    }

    fn at(mut self, step: Option<Step>) -> Self {
        if let Some(step) = step {
            *self.0 = self.0.at(step);
        }
        self
    }

    pub(super) fn into_fault(self) -> Box<LocatedFault> {
        self.0
    }
}

impl de::Error for Refused {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let stashed = LocatedFault::stashed_by(message);
        Self(Box::new(stashed.unwrap_or(LocatedFault::of(Fault::InvalidValue))))
    }

    fn invalid_type(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self::new(Fault::WrongType)
    }

    fn invalid_value(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self::new(Fault::InvalidValue)
    }

    fn invalid_length(_: usize, _: &dyn Expected) -> Self {
        Self::new(Fault::InvalidValue)
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self::new(Fault::UnknownVariant)
    }

    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self::new(Fault::UnknownField)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Fault::Missing).at(Some(Step::Field(field)))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(Fault::DuplicateKey).at(Some(Step::Field(field)))
    }
}

/// An error that is made of this one knows what it did.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.stash();
        f.write_str("refused")
    }
}

impl std::error::Error for Refused {}

thread_local! {
    /// The error that goes through the parser, which has one of its own. Nothing but the parser runs
    /// between the two functions below.
    static PASSING: Cell<Option<Refused>> = const { Cell::new(None) };
}

/// The error of a type, on its way through the parser.
pub(super) fn unredacted<E: de::Error>(refused: Refused) -> E {
    let _ = PASSING.try_with(|passing| passing.set(Some(refused)));
    E::custom("refused")
}

/// What came out of the parser: the error that went in, or one of its own. The text was walked, so
/// that is a value of another type than was asked for; or half a surrogate pair, if the walk ended
/// there and only the way to it is wanted.
fn redacted(error: impl fmt::Display) -> Refused {
    let passed = PASSING.try_with(Cell::take).ok().flatten();
    passed.unwrap_or_else(|| {
        let halved = is_about_surrogates(&error);
        Refused::new(if halved { Fault::Surrogate } else { Fault::WrongType })
    })
}

/// Whether an error of the parser is about half a surrogate pair. It has no other way to say so than
/// its text, of which no more is written than the beginning.
pub(super) fn is_about_surrogates(error: &impl fmt::Display) -> bool {
    let mut beginning = Beginning { text: [0; 22], len: 0 };
    let _ = write!(beginning, "{error}");
    [b"lone leading surrogate", b"unexpected end of hex "].contains(&&beginning.text)
}

struct Beginning {
    text: [u8; 22],
    len: usize,
}

impl fmt::Write for Beginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            *self.text.get_mut(self.len).ok_or(fmt::Error)? = byte;
            self.len += 1;
        }
        Ok(())
    }
}

macro_rules! deserialize {
    ($($method:ident($($name:ident: $of:ty),*) $names:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $of,)* visitor: V) -> Result<V::Value, Refused> {
            self.0.$method($($name,)* Redacted(visitor, $names)).map_err(redacted)
        }
    )*};
}

/// Those for which the parser describes a string that it finds instead. It is asked for whatever there
/// is, and hands the string to the visitor, which refuses it as anything that it has no use for.
macro_rules! deserialize_any_for {
    ($($method:ident($($name:ident: $of:ty),*) $names:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $of,)* visitor: V) -> Result<V::Value, Refused> {
            let visitor = Redacted(visitor, $names);
            if N::ANY && !*NUMBERS_ARE_OBJECTS {
                self.0.deserialize_any(visitor).map_err(redacted)
            } else {
                self.0.$method($($name,)* visitor).map_err(redacted)
            }
        }
    )*};
}

impl<'de, D: Deserializer<'de>, N: Position> Deserializer<'de> for Redacted<D, N> {
    type Error = Refused;

    deserialize_any_for! {
        deserialize_bool() Unnamed;
        deserialize_f32() Unnamed;
        deserialize_f64() Unnamed;
        deserialize_i8() Unnamed;
        deserialize_i16() Unnamed;
        deserialize_i32() Unnamed;
        deserialize_i64() Unnamed;
        deserialize_u8() Unnamed;
        deserialize_u16() Unnamed;
        deserialize_u32() Unnamed;
        deserialize_u64() Unnamed;
        deserialize_seq() Unnamed;
        deserialize_map() Keys;
        deserialize_tuple(len: usize) Unnamed;
        deserialize_unit() Unnamed;
        deserialize_unit_struct(name: &'static str) Unnamed;
        deserialize_tuple_struct(name: &'static str, len: usize) Unnamed;
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) Fields(fields);
    }

    deserialize! {
        deserialize_any() Unnamed;
        deserialize_ignored_any() Unnamed;
        deserialize_identifier() Unnamed;
        deserialize_char() Unnamed;
        // What is found as anything is at most 64 bits.
        deserialize_i128() Unnamed;
        deserialize_u128() Unnamed;
        deserialize_str() Unnamed;
        deserialize_string() Unnamed;
        deserialize_bytes() Unnamed;
        deserialize_byte_buf() Unnamed;
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) Fields(variants);
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.0.deserialize_option(Redacted(visitor, self.1)).map_err(redacted)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.0.deserialize_newtype_struct(name, Redacted(visitor, self.1)).map_err(redacted)
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! visit {
    ($($method:ident($($value:ident: $of:ty)?))*) => {$(
        fn $method<E: de::Error>(self, $($value: $of)?) -> Result<V::Value, E> {
            self.0.$method($($value)?).map_err(unredacted)
        }
    )*};
}

impl<'de, V: Visitor<'de>, N: Names> Visitor<'de> for Redacted<V, N> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    visit! {
        visit_bool(v: bool) visit_f32(v: f32) visit_f64(v: f64) visit_char(v: char)
        visit_i8(v: i8) visit_i16(v: i16) visit_i32(v: i32) visit_i64(v: i64) visit_i128(v: i128)
        visit_u8(v: u8) visit_u16(v: u16) visit_u32(v: u32) visit_u64(v: u64) visit_u128(v: u128)
        visit_str(v: &str) visit_borrowed_str(v: &'de str) visit_string(v: String)
        visit_bytes(v: &[u8]) visit_borrowed_bytes(v: &'de [u8]) visit_byte_buf(v: Vec<u8>)
        visit_unit() visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Redacted(inner, N::WITHIN)).map_err(unredacted)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Redacted(inner, N::WITHIN)).map_err(unredacted)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Elements { seq, next: 0 }).map_err(unredacted)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Entries { map, names: self.1, key: Key::None }).map_err(unredacted)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Redacted(data, self.1)).map_err(unredacted)
    }
}

impl<'de, S: DeserializeSeed<'de>, N: Position> DeserializeSeed<'de> for Redacted<S, N> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Redacted(deserializer, self.1)).map_err(unredacted)
    }
}

/// An array, and how far it was read.
struct Elements<A> {
    seq: A,
    next: u32,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<A> {
    type Error = Refused;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refused> {
        let index = self.next;
        self.next = index.saturating_add(1);
        let next = self.seq.next_element_seed(Redacted::new(seed));
        next.map_err(|error| redacted(error).at(Some(Step::Index(index))))
    }

    fn size_hint(&self) -> Option<usize> {
        self.seq.size_hint()
    }
}

/// An object, and which entry of it is read.
struct Entries<'de, A, N> {
    map: A,
    names: N,
    key: Key<'de>,
}

impl<'de, A: MapAccess<'de>, N: Names> MapAccess<'de> for Entries<'de, A, N> {
    type Error = Refused;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refused> {
        let Self { map, names, key } = self;
        if N::KNOWN {
            map.next_key_seed(KeyRecorder { seed, names: *names, key }).map_err(redacted)
        } else {
            map.next_key_seed(Redacted(seed, AsKey)).map_err(redacted)
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refused> {
        let value = self.map.next_value_seed(Redacted::new(seed));
        value.map_err(|error| redacted(error).at(self.key.step(self.names)))
    }

    fn size_hint(&self) -> Option<usize> {
        self.map.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>, N: Names> EnumAccess<'de> for Redacted<A, N> {
    type Error = Refused;
    type Variant = Variant<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), Refused> {
        let Self(data, names) = self;
        let mut key = Key::None;
        let recorder = KeyRecorder { seed, names, key: &mut key };
        let (value, variant) = data.variant_seed(recorder).map_err(redacted)?;
        Ok((value, Variant { variant, step: key.step(names) }))
    }
}

/// What stands in a variant.
pub(super) struct Variant<A> {
    variant: A,
    step: Option<Step>,
}

macro_rules! variant {
    ($($method:ident($($name:ident: $of:ty),*) $names:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $of,)* visitor: V) -> Result<V::Value, Refused> {
            let value = self.variant.$method($($name,)* Redacted(visitor, $names));
            value.map_err(|error| redacted(error).at(self.step))
        }
    )*};
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Variant<A> {
    type Error = Refused;

    fn unit_variant(self) -> Result<(), Refused> {
        self.variant.unit_variant().map_err(|error| redacted(error).at(self.step))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Refused> {
        let value = self.variant.newtype_variant_seed(Redacted::new(seed));
        value.map_err(|error| redacted(error).at(self.step))
    }

    variant! {
        tuple_variant(len: usize) Unnamed;
        struct_variant(fields: &'static [&'static str]) Fields(fields);
    }
}

/// Whether serde_json's feature `arbitrary_precision` is on, which any crate of the program may have
/// asked for. Then a number that is found as anything is an object, and a type gets it only from the
/// parser's method for it.
static NUMBERS_ARE_OBJECTS: LazyLock<bool> = LazyLock::new(|| {
    struct IsObject;

    impl<'de> Visitor<'de> for IsObject {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number")
        }

        fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
            Ok(false)
        }
    }

    serde_json::Deserializer::from_str("1").deserialize_any(IsObject).is_err()
});
