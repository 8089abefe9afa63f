//! What a payload holds, beside its bytes.

use bytes::Bytes;

use crate::{
    layers::{Encode as _, Json},
    message::Message,
};

/// Bytes that are set aside for the payload of `message`, which nobody else has.
fn set_aside(message: Message) -> usize {
    let bytes = match message {
        Message::Text(text) => Bytes::from(text.0),
        Message::Binary(bytes) => bytes,
    };
    bytes.try_into_mut().unwrap().capacity()
}

// covers: DL-10
#[test]
fn a_message_that_waits_holds_no_more_than_its_text() {
    for len in [1, 100, 1023, 1024, 1025, 5_000, 60_000] {
        let mut roomy = String::with_capacity(1_000_000);
        roomy.extend(std::iter::repeat_n('x', len));
        assert_eq!(set_aside(Message::text(roomy).detached()), len);

        // The text, and something behind it, which is when the writer's buffer doubles.
        let reply = serde_json::json!({ "text": "x".repeat(len), "then": "2026-08-01T00:00:00Z" });
        let message = Json::default().encode(&reply).unwrap().detached();
        let expected = message.len();
        assert_eq!(set_aside(message), expected, "{len}");
    }
}
