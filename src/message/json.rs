//! Bound the structure of JSON before it is decoded. (Replaced by the full version.)
use serde::de::DeserializeOwned;
/// Limits.
#[derive(Clone, Debug, Default)]
pub struct JsonLimits {}
/// Error.
#[derive(Clone, Debug)]
pub struct JsonError {
    kind: JsonErrorKind,
}
/// Kind.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum JsonErrorKind {
    /// Syntax.
    Syntax,
    /// Schema.
    Schema,
}
impl JsonError {
    /// Kind.
    pub fn kind(&self) -> JsonErrorKind {
        self.kind
    }
}
/// Decode.
pub fn from_str<T: DeserializeOwned>(text: &str, _: &JsonLimits) -> Result<T, JsonError> {
    if !text.trim_start().starts_with('{') {
        return Err(JsonError { kind: JsonErrorKind::Syntax });
    }
    serde_json::from_str(text).map_err(|_| JsonError { kind: JsonErrorKind::Schema })
}
