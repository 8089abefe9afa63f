//! Attack the type that an application decodes.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::message::{Decode, Json, Message};

/// Decodes `bytes` as a text message, as [`DecodeLayer::json`](crate::DecodeLayer::json) does, and
/// returns what came of it; for a fuzz target, a property or a table of hostile inputs.
///
/// What has to hold whatever the bytes are is checked here: nothing panics, the answer is the same the
/// second time, and nothing is accepted that `serde_json` alone refuses. What has to hold for your
/// type you assert of what is returned.
///
/// # Panics
///
/// If any of that does not hold.
///
/// # Example
///
/// A fuzz target of yours, with cargo-fuzz:
///
/// ```
/// use tower_websocket::testing::fuzz_message;
///
/// #[derive(Debug, serde::Deserialize)]
/// #[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
/// enum Order {
///     Buy { pieces: u8 },
/// }
///
/// # macro_rules! fuzz_target { (|$it:ident: &[u8]| $body:block) => { let $it: &[u8] = br#"{"type":"buy","pieces":3}"#; $body } }
/// fuzz_target!(|bytes: &[u8]| {
///     if let Some(Order::Buy { pieces }) = fuzz_message(bytes) {
///         assert!(u32::from(pieces) * 100 <= 25_500);
///     }
/// });
/// ```
pub fn fuzz_message<T: DeserializeOwned + fmt::Debug>(bytes: &[u8]) -> Option<T> {
    // Text that is not UTF-8 is closed with 1007 before it gets anywhere.
    let text = str::from_utf8(bytes).ok()?;
    let message = Message::text(text);
    let decoded: Result<T, _> = Json::default().decode(&message);
    let again: Result<T, _> = Json::default().decode(&message);
    assert_eq!(format!("{decoded:?}"), format!("{again:?}"), "decoded twice");
    let decoded = decoded.ok()?;
    assert!(serde_json::from_str::<T>(text).is_ok(), "serde_json refuses what was accepted");
    Some(decoded)
}
