//! Any text, decoded as types that an application may have: what is accepted, what that costs, and that
//! it does not depend on the pieces in which it comes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use peak_alloc::PeakAlloc;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tower_websocket::{
    Json, JsonLimits, Message, internal, layers::Decode, service::ClientMessage,
    testing::driven::pieces,
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

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
        assert_same_in_pieces(text, value);
    }

    let plain = bounded(text, || internal::from_str::<Plain>(text, &limits));
    if let Ok(plain) = &plain {
        assert!(value.is_ok(), "one walk for all types");
        assert_eq!(*plain, serde_json::from_str::<Plain>(text).unwrap());
        let again = serde_json::to_string(plain).unwrap();
        // Not compared: serde_json reads a float to the last bit but one.
        internal::from_str::<Plain>(&again, &limits).unwrap();
    }

    let message = Message::text(text.to_owned());
    let message: Result<ClientMessage, _> = bounded(text, || Json::default().decode(&message));
    if let Err(error) = &message {
        // By the type's own names and by places in arrays, and never by the peer's names.
        let known = ["", "type", "roomId", "requestId", "text"];
        let digits = |it: char| it.is_ascii_digit() || "[]".contains(it);
        let names = error.field().unwrap_or_default().split('.');
        let mut names = names.map(|it| it.trim_end_matches(digits));
        assert!(names.all(|it| known.contains(&it)), "{error}");
    }
    if let Ok(message) = message {
        let Ok(Value::Object(fields)) = value else { panic!("one walk for all types") };
        let named = |names: &[&str]| fields.keys().all(|it| names.contains(&it.as_str()));
        let (kind, allowed): (_, &[&str]) = match message {
            ClientMessage::Join(_) => ("join", &["type", "roomId"]),
            ClientMessage::Leave(_) => ("leave", &["type", "roomId"]),
            ClientMessage::Chat(_) => ("chat", &["type", "roomId", "requestId", "text"]),
            ClientMessage::Ping => ("ping", &["type"]),
            _ => panic!("a message that this target does not know"),
        };
        assert!(fields["type"] == kind && named(allowed), "{fields:?}");
    }
});

/// Decodes with so much memory at most; `tests/json_memory.rs` says why.
fn bounded<T>(text: &str, decode: impl FnOnce() -> T) -> T {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let decoded = decode();
    let peak = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(peak <= 3 * text.len() + 96 * 1024, "{peak} bytes for {}", text.len());
    decoded
}

/// A whole connection decodes it as the same, in whatever fragments and chunks it comes.
fn assert_same_in_pieces(text: &str, value: &Value) {
    if text.len() > LARGEST {
        return;
    }
    let seed = text.bytes().map(usize::from).sum::<usize>();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        for fragments in [1, 1 + seed % FRAGMENTS] {
            let decoded = pieces::decode(text, fragments, 1 + seed % 100).await;
            assert_eq!(decoded.as_ref(), Some(value), "in {fragments} fragments");
        }
    });
}

/// What a connection takes as one message, and in how many fragments.
const LARGEST: usize = 64 * 1024;
const FRAGMENTS: usize = 64;
