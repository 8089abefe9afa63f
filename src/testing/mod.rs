//! Test an endpoint without a network: your handlers, your stack, your messages.
//!
//! With the feature `testing`, for your dev-dependencies:
//!
//! ```toml
//! [dev-dependencies]
//! tower-websocket = { version = "0.1", features = ["testing"] }
//! tokio = { version = "1", features = ["macros", "rt", "test-util"] }
//! ```
//!
//! | to test | use |
//! |---|---|
//! | a handler, called as a function | [`TestConnection`], which makes proofs; [`assert_reply`], [`assert_push`], [`assert_broadcast`] |
//! | a whole application, from the handshake on | [`TestServer`] and its [`TestPeer`]s: they send and expect, read slowly, fragment, half-close, vanish |
//! | what should hold of every endpoint | [`Properties`] |
//! | the type you decode | [`fuzz_message`] |
//! | what is recorded | [`Records`] |
//!
//! Everything is in memory, and the only clock is tokio's: with `#[tokio::test(start_paused = true)]`
//! a test of a deadline takes no time, and none depends on how busy the machine is.
//!
//! # Example
//!
//! A chat handler, called directly:
//!
//! ```
//! use serde_json::json;
//! use tower_websocket::{
//!     Json, Message, Principal, Rooms,
//!     message::Decode,
//!     room::service::{self, ClientMessage, ServerMessage},
//!     testing::{TestConnection, assert_broadcast, assert_reply},
//! };
//!
//! struct User(&'static str);
//! impl Principal for User {
//!     fn id(&self) -> &str {
//!         self.0
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let rooms = Rooms::<ServerMessage>::new();
//! let (mut ada, mut bob) = (TestConnection::new(), TestConnection::new());
//! let member = ada.join(&rooms, &ada.authenticated(User("ada")), "lobby", ()).await;
//! bob.join(&rooms, &bob.authenticated(User("bob")), "lobby", ()).await;
//!
//! let answer = service::handle(ada.inbound(ClientMessage::Ping, member.clone())).await;
//! assert_reply(answer, json!({ "type": "pong" }));
//!
//! let chat = Message::text(r#"{"type":"chat","roomId":"lobby","text":"hello"}"#);
//! let chat: ClientMessage = Json::default().decode(&chat).unwrap();
//! service::handle(ada.inbound(chat, member)).await.unwrap();
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
    assertions::{Listener, assert_broadcast, assert_push, assert_reply, replies},
    connection::TestConnection,
    content::Content,
    fuzzing::fuzz_message,
    invariant::Invariant,
    peer::{Heard, TestPeer},
    properties::Properties,
    records::Records,
    server::{RequestBody, TestServer, handshake},
};

mod server;
mod peer;
mod connection;
mod content;
mod assertions;
mod properties;
mod crowd;
mod fuzzing;
mod invariant;

#[doc(hidden)]
pub mod wire;
#[doc(hidden)]
pub mod socket;
#[doc(hidden)]
pub mod records;
#[doc(hidden)]
pub mod driven;
