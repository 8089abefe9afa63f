//! Test an endpoint without a network: your handlers, your stack, your messages.
//!
//! With the feature `testing`, for your dev-dependencies:
//!
//! ```toml
//! [dev-dependencies]
//! tower-websocket = { version = "0.1", features = ["testing"] }
//! tokio = { version = "1", features = ["macros", "rt", "test-util"] }
//! serde_json = "1"
//! ```
//!
//! **Not for anything but tests.** It makes proofs of what was never shown: with it, code anywhere in the
//! program can claim to be authenticated. Cargo adds up features, so look whether a dependency turns
//! it on: `cargo tree -e features,normal -i tower-websocket`.
//!
//! | to test | use |
//! |---|---|
//! | a handler, called as a function | [`TestConnection`], which makes proofs; [`assert_reply`], [`assert_push`], [`assert_broadcast`], [`assert_closed`] |
//! | a whole application, from the handshake on | [`TestServer`] and its [`TestPeer`]s: they send and expect, read slowly, fragment, half-close, vanish |
//! | what should hold of every endpoint | [`Properties`] |
//! | the type you decode | [`fuzz_message`] |
//! | what is recorded | [`Records`] |
//!
//! Everything is in memory, and the only clock is tokio's: with `#[tokio::test(start_paused = true)]`
//! a test of a deadline takes no time, and none depends on how busy the machine is. A paused clock does
//! not wait for other threads, though: a handler that asks a real database needs the real one.
//!
//! # Example
//!
//! A chat handler, called directly:
//!
//! ```
//! use serde_json::json;
//! use tower_websocket::{
//!     Json, Message, Rooms,
//!     layers::Decode,
//!     service::{self, ClientMessage, ServerMessage},
//!     testing::{TestConnection, assert_broadcast, assert_reply, replies},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let rooms = Rooms::<ServerMessage>::new();
//! let (mut ada, mut bob) = (TestConnection::new(), TestConnection::new());
//! let member = ada.join(&rooms, &ada.authenticated("ada"), "lobby", ()).await;
//! bob.join(&rooms, &bob.authenticated("bob"), "lobby", ()).await;
//!
//! let answer = service::handle(ada.inbound(ClientMessage::Ping, member.clone())).await;
//! assert_reply(answer, json!({ "type": "pong" }));
//!
//! let chat = Message::text(r#"{"type":"chat","roomId":"lobby","text":"hello"}"#);
//! let chat: ClientMessage = Json::default().decode(&chat).unwrap();
//! let answer = service::handle(ada.inbound(chat, member)).await;
//! assert_eq!(replies(answer).map(|it| it.len()), Ok(0));
//! let expected = json!({ "type": "chat", "userId": "ada", "text": "hello" });
//! assert_broadcast([&mut ada, &mut bob], expected).await;
//! # }
//! ```

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "in a test, what must not happen panics"
)]

pub use self::{
    assertions::{Listener, assert_broadcast, assert_closed, assert_push, assert_reply, replies},
    closing::Closing,
    connection::TestConnection,
    content::Content,
    fuzzing::{fuzz_message, fuzz_message_with},
    handshake::{TestHandshake, handshake},
    peer::{Received, TestPeer},
    properties::Properties,
    records::Records,
    server::{RequestBody, TestServer},
};

// For tests of this crate's documents.
#[doc(hidden)]
pub use self::invariant::Invariant;

mod server;
mod handshake;
mod peer;
mod connection;
mod auto_replies;
mod content;
mod closing;
mod assertions;
mod properties;
mod crowd;
mod fuzzing;
mod records;
mod invariant;

#[doc(hidden)]
pub mod wire;
#[doc(hidden)]
pub mod socket;
#[doc(hidden)]
pub mod driven;
