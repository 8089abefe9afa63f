//! Any text, decoded as types that an application may have.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tower_websocket::{
    Json, JsonLimits, Message, internal, message::Decode, room::service::ClientMessage,
};

/// The kind of type that serde buffers its input for.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Plain {
    Say { text: String, to: Option<u32> },
    Draw { points: Vec<(f64, f64)>, color: Color },
    Leave {},
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Color {
    Red,
    Green,
}

fuzz_target!(|text: &str| {
    let limits = JsonLimits::default();
    let value = internal::from_str::<Value>(text, &limits);
    if let Ok(value) = &value {
        assert!(value.is_object());
        assert_eq!(*value, serde_json::from_str::<Value>(text).unwrap());
    }

    let plain = internal::from_str::<Plain>(text, &limits);
    if let Ok(plain) = &plain {
        assert!(value.is_ok(), "one walk for all types");
        assert_eq!(*plain, serde_json::from_str::<Plain>(text).unwrap());
        let again = serde_json::to_string(plain).unwrap();
        // Not compared: serde_json reads a float to the last bit but one.
        internal::from_str::<Plain>(&again, &limits).unwrap();
    }

    let message: Result<ClientMessage, _> = Json::default().decode(&Message::text(text.to_owned()));
    if let Ok(message) = message {
        let Ok(Value::Object(fields)) = value else { panic!("one walk for all types") };
        let named = |names: &[&str]| fields.keys().all(|it| names.contains(&it.as_str()));
        let (kind, allowed): (_, &[&str]) = match message {
            ClientMessage::Join { .. } => ("join", &["type", "roomId"]),
            ClientMessage::Leave { .. } => ("leave", &["type", "roomId"]),
            ClientMessage::Chat { .. } => ("chat", &["type", "roomId", "requestId", "text"]),
            ClientMessage::Ping => ("ping", &["type"]),
            _ => panic!("a message that this target does not know"),
        };
        assert!(fields["type"] == kind && named(allowed), "{fields:?}");
    }
});
