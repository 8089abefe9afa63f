//! What a peer says or is expected to hear, in the form that is easiest to write.

use serde::Serialize;
use serde_json::Value;

use crate::message::Message;

/// Something to send, or to expect.
///
/// * A string is a text message.
/// * A [`Message`] is itself.
/// * Anything else that serializes is JSON text: `serde_json::json!({ "type": "ping" })`, or a
///   message type of your own.
///
/// An expected JSON object is a pattern: what it names has to be there, and there may be more, so
/// that a test need not know ids and times. Arrays have to be as long. Everything else is compared
/// as it is.
pub trait Content: sealed::Content {}

impl<T: sealed::Content> Content for T {}

pub(super) mod sealed {
    use super::*;

    #[expect(unnameable_types, reason = "which seals it")]
    pub trait Content {
        /// Content as a message.
        fn message(&self) -> Message;
    }

    impl<T: Serialize> Content for T {
        fn message(&self) -> Message {
            let json = serde_json::to_string(self).expect("a message that can be written as JSON");
            match serde_json::from_str(&json) {
                Ok(Value::String(text)) => Message::text(text),
                _ => Message::text(json),
            }
        }
    }

    impl Content for Message {
        fn message(&self) -> Message {
            self.clone()
        }
    }
}

/// Whether `actual` is what was expected.
pub(super) fn matches(expected: &Message, actual: &Message) -> bool {
    let json = |it: &Message| serde_json::from_str::<Value>(it.as_text()?).ok();
    match (json(expected), json(actual)) {
        (Some(expected), Some(actual)) => within(&expected, &actual),
        _ => expected == actual,
    }
}

fn within(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => expected
            .iter()
            .all(|(key, value)| actual.get(key).is_some_and(|actual| within(value, actual))),
        (Value::Array(expected), Value::Array(actual)) => {
            expected.len() == actual.len()
                && expected.iter().zip(actual).all(|(expected, actual)| within(expected, actual))
        }
        _ => expected == actual,
    }
}

/// A message as a failed test shows it: a raw one keeps its content to itself elsewhere.
pub(super) fn shown(message: &Message) -> String {
    match message.as_text() {
        Some(text) => text.to_owned(),
        None => format!("binary {:02x?}", message.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{sealed::Content as _, *};

    #[test]
    fn an_object_matches_what_has_more_fields_and_nothing_that_has_less() {
        for (expected, actual, matching) in [
            (json!({ "a": 1 }), json!({ "b": 2, "a": 1 }), true),
            (json!({ "a": 1, "b": 2 }), json!({ "a": 1 }), false),
            (json!({ "a": 1 }), json!({ "a": 2 }), false),
            (json!({ "a": { "b": 1 } }), json!({ "a": { "b": 1, "c": 2 } }), true),
            (json!([1, 2]), json!([1, 2]), true),
            (json!([1]), json!([1, 2]), false),
            (json!("a"), json!("a"), true),
            (json!("a"), json!("b"), false),
        ] {
            let matched = matches(&expected.message(), &actual.message());
            assert_eq!(matched, matching, "{expected} {actual}");
        }
    }

    #[test]
    fn a_string_is_text_and_a_message_is_itself() {
        assert_eq!("open sesame".message(), Message::text("open sesame"));
        assert_eq!(String::from("{}").message(), Message::text("{}"));
        assert_eq!(Message::binary(&b"{}"[..]).message(), Message::binary(&b"{}"[..]));
        assert!(!matches(&Message::text("{}"), &Message::binary(&b"{}"[..])));
    }
}
