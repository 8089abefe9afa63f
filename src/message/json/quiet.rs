//! Decode without error texts.
//!
//! Serde's derives describe what they refuse, and quote it: the unknown key, the unknown variant,
//! the string where a number belongs. What a peer sent would be a `Display` away from a log, and
//! writing it costs: 64 KiB of DEL characters where a number belongs become 800 KiB of `\u{7f}`. A
//! deserializer inside [`Quiet`] has an error that is empty, so the texts are never written.

use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// A deserializer, or anything it hands out or is handed, whose errors say nothing.
pub(super) struct Quiet<X>(pub(super) X);

/// Something was refused.
#[derive(Debug)]
pub(super) struct Refused;

impl de::Error for Refused {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl std::error::Error for Refused {}

fn quiet<E>(_: E) -> Refused {
    Refused
}

fn unquiet<E: de::Error>(refused: Refused) -> E {
    E::custom(refused)
}

macro_rules! deserialize {
    ($($method:ident($($name:ident: $of:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $of,)* visitor: V) -> Result<V::Value, Refused> {
            self.0.$method($($name,)* Quiet(visitor)).map_err(quiet)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Quiet<D> {
    type Error = Refused;

    deserialize! {
        deserialize_any() deserialize_ignored_any() deserialize_identifier()
        deserialize_bool() deserialize_char() deserialize_f32() deserialize_f64()
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_str() deserialize_string() deserialize_bytes() deserialize_byte_buf()
        deserialize_option() deserialize_seq() deserialize_map() deserialize_tuple(len: usize)
        deserialize_unit() deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! visit {
    ($($method:ident($($value:ident: $of:ty)?))*) => {$(
        fn $method<E: de::Error>(self, $($value: $of)?) -> Result<V::Value, E> {
            self.0.$method($($value)?).map_err(unquiet)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Quiet<V> {
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
        self.0.visit_some(Quiet(inner)).map_err(unquiet)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Quiet(inner)).map_err(unquiet)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Quiet(seq)).map_err(unquiet)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Quiet(map)).map_err(unquiet)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Quiet(data)).map_err(unquiet)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Quiet<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Quiet(deserializer)).map_err(unquiet)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Quiet<A> {
    type Error = Refused;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refused> {
        self.0.next_element_seed(Quiet(seed)).map_err(quiet)
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Quiet<A> {
    type Error = Refused;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refused> {
        self.0.next_key_seed(Quiet(seed)).map_err(quiet)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refused> {
        self.0.next_value_seed(Quiet(seed)).map_err(quiet)
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Quiet<A> {
    type Error = Refused;
    type Variant = Quiet<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), Refused> {
        let (value, variant) = self.0.variant_seed(Quiet(seed)).map_err(quiet)?;
        Ok((value, Quiet(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Quiet<A> {
    type Error = Refused;

    fn unit_variant(self) -> Result<(), Refused> {
        self.0.unit_variant().map_err(quiet)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Refused> {
        self.0.newtype_variant_seed(Quiet(seed)).map_err(quiet)
    }

    deserialize! {
        tuple_variant(len: usize)
        struct_variant(fields: &'static [&'static str])
    }
}
