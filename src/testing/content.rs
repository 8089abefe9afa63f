//! What a peer says or is expected to hear, in the form that is easiest to write.

use serde::Serialize;
use serde_json::Value;

use crate::message::{Message, Utf8Bytes};

/// Something to send, or to expect.
///
/// * A string is a text message, as it is.
/// * A [`Message`] is itself.
/// * Anything else that serializes is JSON text: `serde_json::json!({ "type": "ping" })`, or a
///   message type of your own. Bytes are not: they serialize as a list of numbers; say
///   [`Message::binary`].
///
/// JSON is a pattern when it is expected: what an object names has to be there, and there may be more,
/// so that a test need not know ids and times. Arrays have to be as long.
pub trait Content: sealed::Content {}

impl<T: sealed::Content> Content for T {}

/// What is expected.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    Exactly(Message),
    Json(Value),
}

pub(super) mod sealed {
    use super::*;

    #[expect(unnameable_types, reason = "which seals it")]
    pub trait Content {
        /// Content as a message.
        fn message(&self) -> Message;

        /// Content as a pattern.
        #[expect(private_interfaces, reason = "which seals it")]
        fn expected(&self) -> Expected {
            Expected::Exactly(self.message())
        }
    }

    impl<T: Serialize> Content for T {
        fn message(&self) -> Message {
            let json = serde_json::to_string(self).expect("a message that can be written as JSON");
            match serde_json::from_str(&json) {
                Ok(Value::String(text)) => Message::text(text),
                _ => Message::text(json),
            }
        }

        #[expect(private_interfaces, reason = "which seals it")]
        fn expected(&self) -> Expected {
            match serde_json::to_value(self).expect("a message that can be written as JSON") {
                Value::String(text) => Expected::Exactly(Message::text(text)),
                json => Expected::Json(json),
            }
        }
    }

    impl Content for Message {
        fn message(&self) -> Message {
            self.clone()
        }
    }

    impl Content for &Message {
        fn message(&self) -> Message {
            (*self).clone()
        }
    }

    impl Content for Utf8Bytes {
        fn message(&self) -> Message {
            Message::Text(self.clone())
        }
    }
}

impl Expected {
    /// Whether `actual` is what was expected.
    pub(super) fn matches(&self, actual: &Message) -> bool {
        match self {
            Self::Exactly(expected) => expected == actual,
            Self::Json(expected) => {
                let actual = actual.as_text().and_then(|it| serde_json::from_str(it).ok());
                actual.is_some_and(|actual| within(expected, &actual))
            }
        }
    }

    /// What was expected, as a failed test shows it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Exactly(message) => shown(message),
            Self::Json(json) => json.to_string(),
        }
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
        None => format!("binary {:?}", String::from_utf8_lossy(message.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{sealed::Content, *};

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
            let matched = expected.expected().matches(&actual.message());
            assert_eq!(matched, matching, "{expected} {actual}");
        }
    }

    #[test]
    fn a_string_is_text_and_a_message_is_itself() {
        assert_eq!("open sesame".message(), Message::text("open sesame"));
        assert_eq!(String::from("{}").message(), Message::text("{}"));
        let binary = Message::binary(&b"{}"[..]);
        assert_eq!(
            (Content::message(&&binary), binary.message()),
            (binary.clone(), binary.clone())
        );
        assert!(!json!({}).expected().matches(&binary));
        // Only what is written as JSON is a pattern.
        let more = Message::text(r#"{"a":1}"#);
        assert!(json!({}).expected().matches(&more) && !"{}".expected().matches(&more));
    }
}
