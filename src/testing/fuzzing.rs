//! Attack the type that an application decodes.

use serde::de::DeserializeOwned;

use crate::{
    layers::{Decode, Json},
    message::Message,
};

/// Decodes `bytes` as a text message, as [`DecodeLayer::json`](crate::DecodeLayer::json) does, and
/// returns what came of it; for a fuzz target, a property or a table of hostile inputs.
///
/// What has to hold whatever the bytes are is checked here: nothing panics, what is accepted or refused
/// once is so for the same reason the second time, and nothing is accepted that `serde_json` alone
/// refuses. What has to hold for your type you assert of what is returned.
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
/// #[derive(serde::Deserialize)]
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
pub fn fuzz_message<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let decoded = fuzz_message_with(&Json::default(), bytes)?;
    let alone = serde_json::from_slice::<T>(bytes);
    assert!(alone.is_ok(), "serde_json refuses what was accepted");
    Some(decoded)
}

/// The same with a codec of yours, or other limits; binary, if the bytes are no text.
///
/// # Panics
///
/// If the codec panics, or if it accepts once what it refuses the second time, or for another reason.
pub fn fuzz_message_with<T>(codec: &impl Decode<T>, bytes: &[u8]) -> Option<T> {
    // Text that is not UTF-8 is closed with 1007 before it gets anywhere.
    let message = match str::from_utf8(bytes) {
        Ok(text) => Message::text(text),
        Err(_) => Message::binary(bytes.to_vec()),
    };
    let (decoded, again) = (codec.decode(&message), codec.decode(&message));
    assert_eq!(decoded.as_ref().err(), again.as_ref().err(), "decoded twice");
    decoded.ok()
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;
    use crate::layers::{DecodeError, DecodeErrorKind, JsonLimits};

    type Ages = HashMap<String, u8>;

    #[test]
    fn what_the_limits_and_the_type_allow_is_returned_and_nothing_else() {
        let five = br#"{"a":1,"b":2,"c":3,"d":4,"e":5}"#;
        assert_eq!(fuzz_message::<Ages>(five).map(|it| it.len()), Some(5));
        for refused in [&b"{}}"[..], b"[]", br#"{"a":256}"#, br#"{"a":1,"a":1}"#, b"\xff", b""] {
            assert_eq!(fuzz_message::<Ages>(refused), None, "{refused:?}");
        }
        let two = Json::new(JsonLimits::default().max_keys(2.try_into().unwrap()));
        assert_eq!(fuzz_message_with::<Ages>(&two, five), None);
    }

    #[test]
    #[should_panic = "decoded twice"]
    fn a_codec_that_cannot_make_up_its_mind_is_found() {
        struct Moody(AtomicBool);
        impl Decode<()> for Moody {
            fn decode(&self, _: &Message) -> Result<(), DecodeError> {
                let refused = self.0.fetch_xor(true, Ordering::Relaxed);
                let error = DecodeError::new(DecodeErrorKind::Invalid, "mood");
                if refused { Err(error) } else { Ok(()) }
            }
        }
        fuzz_message_with(&Moody(AtomicBool::new(false)), b"{}");
    }
}
