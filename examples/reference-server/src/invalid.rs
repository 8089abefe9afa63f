//! Answer a message that is not of the protocol, where that does not end the connection.

use std::num::NonZeroU32;

use serde::Serialize;
use tower_websocket::layers::DecodeError;

/// What is said of such a message: `{"type":"error","code":"invalid_message","field":"text","reason":"empty"}`.
/// There is nothing in it that the peer sent.
#[derive(Serialize)]
pub(crate) struct Invalid {
    r#type: &'static str,
    code: &'static str,
    /// Which field it is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// What is wrong with it, and which limit it has.
    reason: String,
}

impl Invalid {
    pub(crate) fn new(error: &DecodeError) -> Self {
        let reason = error.constraint().map_or_else(|| error.fault().to_string(), str::to_owned);
        Self {
            r#type: "error",
            code: "invalid_message",
            field: error.field().map(str::to_owned),
            reason,
        }
    }
}

/// A person's slips come one at a time; five in a row are a program that does not know the protocol.
pub(crate) const INVALID_IN_A_ROW: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tower_websocket::{
        CloseReason, Rooms,
        testing::{TestPeer, TestServer},
    };

    use crate::{endpoint::endpoint, options::Options};

    async fn member(args: &[&str]) -> TestPeer {
        let options = Options::of(args).unwrap();
        let endpoint =
            endpoint(&options, "token", crate::auth::tickets(), Rooms::new(), None).unwrap();
        let mut peer = TestServer::endpoint(endpoint).connect("/ws").await;
        let auth = json!({ "type": "auth", "token": "token:ada" });
        peer.assert_reply(auth, json!({ "type": "auth_ok" })).await;
        let join = json!({ "type": "join", "roomId": "den" });
        peer.assert_reply(join, json!({ "type": "joined" })).await;
        peer
    }

    // covers: MS-25
    #[tokio::test(start_paused = true)]
    async fn by_choice_a_message_that_breaks_a_rule_is_told_field_and_limit() {
        let mut peer = member(&["--invalid-message", "reply"]).await;
        let chat =
            |text: &str| json!({ "type": "chat", "roomId": "den", "text": text }).to_string();
        let join = |room: &str| json!({ "type": "join", "roomId": room }).to_string();
        for (message, field, words) in [
            (chat(""), Some("text"), "empty"),
            (chat(&"x".repeat(1001)), Some("text"), "1,000"),
            (chat(&"\u{1f600}".repeat(501)), Some("text"), "1,000"),
            (chat("?").replace('?', "\\ud83d"), Some("text"), "surrogate"),
            (join("my room"), Some("roomId"), "A-Z a-z 0-9"),
            (join(""), Some("roomId"), "empty"),
            (join(&"r".repeat(65)), Some("roomId"), "64"),
            (join("den").replace("\"den\"", "7"), Some("roomId"), ""),
            (r#"{"type":"shout"}"#.to_owned(), Some("type"), ""),
            (r#"{"type":"ping","secret":1}"#.to_owned(), None, "field"),
            ("half a".to_owned(), None, "not an object"),
        ] {
            peer.send(message.as_str());
            let answer: Value = peer.recv_json().await;
            assert_eq!(answer["type"], "error", "{message}");
            assert_eq!(answer["code"], "invalid_message", "{message}");
            assert_eq!(answer.get("field").and_then(Value::as_str), field, "{message}: {answer}");
            let reason = answer["reason"].as_str().unwrap();
            assert!(reason.contains(words), "{message}: {answer}");
            assert!(!answer.to_string().contains("secret"), "{answer}");
            // It is a member all the same.
            peer.assert_reply(chat("x").as_str(), json!({ "type": "chat", "text": "x" })).await;
        }
    }

    // covers: MS-25
    #[tokio::test(start_paused = true)]
    async fn five_that_break_a_rule_in_a_row_are_closed() {
        let mut peer = member(&["--invalid-message", "reply"]).await;
        for _ in 0..4 {
            peer.assert_reply("{", json!({ "code": "invalid_message" })).await;
        }
        peer.assert_reply(json!({ "type": "ping" }), json!({ "type": "pong" })).await;
        for _ in 0..4 {
            peer.assert_reply("{", json!({ "code": "invalid_message" })).await;
        }
        peer.send("{");
        peer.assert_closed(CloseReason::InvalidMessage).await;
    }

    #[tokio::test(start_paused = true)]
    async fn unless_told_otherwise_the_first_is_closed() {
        for args in [&[][..], &["--invalid-message", "close"]] {
            let mut peer = member(args).await;
            peer.send(json!({ "type": "join", "roomId": "my room" }));
            peer.assert_closed(CloseReason::InvalidMessage).await;
        }
    }
}
