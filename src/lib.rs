//! `tower-websocket` makes a WebSocket endpoint a stack of [tower](https://docs.rs/tower) layers, hardened by
//! default.
//!
//! You have an HTTP service (axum, hyper, anything that is a tower `Service`) and want WebSockets at one of
//! its paths. [`WebSocketEndpoint`] checks each handshake, answers it, and makes it a connection. Each message
//! passes a stack of layers: rate limit, authentication, decoding, rooms. What has passed arrives at your
//! handler, an `async fn`, and what the handler returns goes back.
//!
//! * **What was checked is a type.** A handler gets [`Inbound<M, P>`](Inbound): a message `M` and a proof `P`
//!   of what its sender has shown, such as [`Authenticated<User>`](Authenticated). Only the layer that did the
//!   check can make the proof. A stack without authentication, or in the wrong order, does not compile.
//! * **Everything has a bound.** The size of messages, the time for login, handler and write, the bytes that
//!   wait for a slow reader, connections in all and per address: each has a finite default with its reason
//!   beside it, and a status or close code for what exceeds it.
//!
//! It is no protocol engine (tokio-tungstenite is underneath), no HTTP server, and no message broker: a
//! message that reaches a room is not stored, but for what a room may keep for a while for those who were
//! cut off, and delivery is at most once.
//!
//! ## A complete server
//!
//! ```rust,no_run
//! use axum::{Router, routing::get};
//! use tower_websocket::{
//!     AuthFailure, Authenticated, HandlerResult, Inbound, Message, Reply, RequireAuthLayer, Session,
//!     WebSocketEndpoint,
//! };
//!
//! /// Its type says that the sender was let in: without the layer below, this does not compile.
//! async fn echo(m: Inbound<Message, Authenticated<&'static str>>) -> HandlerResult {
//!     Ok(Reply::one(m.message))
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     // Who knows the word is Ali. A real secret is compared in constant time.
//!     let door = RequireAuthLayer::from_fn(async |credentials, _connection| {
//!         let open = credentials.as_text() == Some("open sesame");
//!         open.then(|| Session::new("ali")).ok_or(AuthFailure::Rejected)
//!     });
//!     let endpoint = WebSocketEndpoint::new(door, tower::service_fn(echo));
//!     let app = Router::new().route("/", get("hello")).route_service("/ws", endpoint.into_service());
//!     let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
//!     let listener = tokio::net::TcpListener::bind(addr).await?;
//!     println!("listening on {}", listener.local_addr()?);
//!     axum::serve(listener, app).await
//! }
//! ```
//!
//! A client connects to `/ws`, sends `open sesame`, and from then on gets back what it sends. One that
//! says something else is closed with 4403, one that says nothing for five seconds with 4401, one that
//! sends more than 64 KiB in a message with 1009. A page of another site cannot connect at all.
//!
//! <!-- README.md is the same up to here -->
//!
//! # The picture
//!
//! ```text
//!     your HTTP layers: trace, sessions, compression
//!           │ http::Request
//!  ┌ upgrade ─────────────────────────────────────────────────────┐
//!  │ is it a handshake?      no: to your service; malformed: 400  │
//!  │ whose page started it?  another site's: 403                  │
//!  │ is there room?          no: 429, 503                         │
//!  └────────┬─────────────────────────────────────────────────────┘
//!           │ 101, and one task for the connection
//!  ┌ connection ──────────────────────────────────────────────────┐
//!  │ the only reader, the only writer; frames, deadlines, pings   │
//!  └────────┬────────────────────────────────────────────▲────────┘
//!           │ Inbound<Message, Anonymous>                │ one queue for what
//!  ┌ message ───────────────────────────────────────┐    │ the peer gets, bounded
//!  │ RateLimitLayer    not too fast                 │    │ in bytes
//!  │ RequireAuthLayer  Anonymous → Authenticated<U> │    │
//!  │ DecodeLayer       Message → your type T        │    │
//!  └────────┬───────────────────────────────────────┘    │
//!           │ Inbound<T, Authenticated<U>>               │
//!  ┌ room ──────────────────────────────────────────┐    │
//!  │ RoomsLayer        Authenticated<U> → Member<U> ├────┤ broadcast
//!  └────────┬───────────────────────────────────────┘    │
//!           │ Inbound<T, Member<U, ..>>                  │
//!      your handler ─────────────────────────────────────┘ reply
//! ```
//!
//! # The layers
//!
//! | layer | lets through | default | what does not pass |
//! |---|---|---|---|
//! | [`WebSocketEndpoint`] | handshakes to the letter of RFC 6455, from pages of the same host | 10,000 connections, 500 handshakes/s; 256 and 10/s per address (where it is [known](ClientAddr)) | 400, 403, 405, 421, 426, 429, 500, 503 |
//! | [frame limits](ConnectionConfig) | what RFC 6455 allows, in pieces of a sane size | 64 KiB a message (4 KiB for the first), 64 fragments, 50 control frames/s | 1002, 1007, 1008, 1009 |
//! | [`RateLimitLayer`] | messages within a quota per connection, user or address | none: you say | 1008 `rate limited`, a reply of yours, or it waits |
//! | [`RequireAuthLayer`] | everything after credentials that your `Authenticate` accepts | 5 s for the login | 4401 too late or expired, 4403 refused |
//! | [`DecodeLayer`] | JSON objects that are your type | depth 16, 1,024 values, 64 keys in an object, no key twice | 1003 binary, 1008 |
//! | [`RoomsLayer`] | messages to rooms their sender has joined | 100 rooms for a connection, 2,000 for a user, 10,000 for an address; 10,000 members in a room | 1008 `not a member`; a refused join is a reply |
//! | [outbound queue](ConnectionConfig::max_outbound_bytes) | what the peer reads in time | 1 MiB and 4,096 messages waiting | 1013 `slow consumer` |
//!
//! The middleware of tower works here too: a `TimeoutLayer` or a `LoadShedLayer` in the stack does for
//! messages what it does for requests. The stack is applied once for each connection, so what is to be
//! shared by all has to be global: a `GlobalConcurrencyLimitLayer` limits the messages that are handled at
//! once, a `ConcurrencyLimitLayer` only those of one connection, which are one at a time anyway.
//!
//! # What a connection costs
//!
//! A connection is one task with one timer. Between messages it holds no lock, no buffer and no protocol
//! context of its own: a thread's connections share a few, and what a large message made grow is given back
//! after a second. An idle member of a room takes less than 5 KiB (`tests/output_cost.rs`). Messages allocate
//! nothing here but what your codec and your handler allocate, and once for all that are read together; a
//! broadcast is encoded once, and its members share the payload. What all connections together may make the process hold is bounded by a [`MemoryBudget`], which is
//! for you to set.
//!
//! # Coming from axum's `WebSocketUpgrade`
//!
//! | there | here |
//! |---|---|
//! | the extractor, and `on_upgrade(\|socket\| ..)` | [`route_service`](WebSocketEndpoint#in-a-router) with the endpoint |
//! | a loop over `socket.recv()` | a handler for one message; the loop is the crate's |
//! | `socket.send(..)` for an answer | [`Reply`], what the handler returns |
//! | `socket.split()` and a channel, so that others can send | [`Connection::push`], from any task; [`Rooms`] |
//! | state before the loop | [`WebSocketEndpoint::with_handler`], a [`Handler`] for each connection |
//! | `max_message_size`, pings by hand | [`ConnectionConfig`], with defaults |
//! | a token in the first message, checked in the loop | [`RequireAuthLayer`] |
//!
//! # Coming from socketioxide
//!
//! | there | here |
//! |---|---|
//! | `io.ns("/", \|socket\| ..)` | an endpoint on a path |
//! | `socket.on("event", \|Data(data)\| ..)` | an enum for [`DecodeLayer`], and a `match` in the handler |
//! | `socket.join("room")` | a message whose [`Scope`] is to join, asked of your [`RoomPolicy`] |
//! | `io.to("room").emit(..)` | [`Rooms::at`], `broadcast` |
//! | acknowledgements | a field of your messages that the reply repeats |
//! | polling, adapters for several nodes | not there |
//!
//! # Where to read on
//!
//! | to | see |
//! |---|---|
//! | say who may connect, and how many | [`upgrade`], [`OriginPolicy`], [`Admission`], [`Subprotocols`](upgrade::Subprotocols) |
//! | know who is on the other end of a proxy | [`WebSocketEndpoint::peer_from`], [`TrustedProxies`], [`ClientAddrLayer`] |
//! | set the bounds of a connection | [`ConnectionConfig`] |
//! | log peers in | [`RequireAuthLayer`], [`Authenticate`]; by cookie [`HandshakeIdentity`], by ticket [`Tickets`] |
//! | stop who guesses | [`Admission::failed_logins_per_peer`], [`LoginThrottle`] |
//! | limit rates | [`RateLimitLayer`], [`Quota`] |
//! | decode messages, or bring another codec | [`DecodeLayer`], [`JsonLimits`], [`layers::Decode`] |
//! | keep state for each connection | [`Handler`], [`WebSocketEndpoint::with_handler`] |
//! | answer instead of closing when a layer fails | [`HandleErrorLayer`], [`Failure`] |
//! | measure messages | [`layers::ObserveLayer`] |
//! | put peers into rooms | [`room`], [`RoomPolicy`], and [`service`] for a small protocol of its own |
//! | know who comes and goes, and give who comes the state of a room | [`RoomsLayer::on_joined`], [`RoomsLayer::with_state`] |
//! | tell the newest value instead of all: prices, cursors | [`room::Keyed`] |
//! | send without being asked, or close | [`Connection`], [`Rooms::at`] |
//! | find a user's connections, and end them | [`Connections`] |
//! | know why connections end, and end them | [`CloseReason`], with the table of close codes; [`Close`] |
//! | keep a record | [`AuditSink`] |
//! | see what the compiler refuses | [`layers`] |
//!
//! The folder `examples` has a program for each common case: `minimal` (the server above), `axum_service` and
//! `hyper_service` (around what is there already), `cookie_session` and `hyper_session` (whose users are known by
//! cookie), `client` (one that comes back), `ticker` (prices for thousands, in a keyed room), `testing` (a handler's tests). `examples/reference-server` has rooms,
//! a page and every limit as an option; `examples/hostile` attacks a room server from outside and says what it did
//! not withstand.
//!
//! # Features
//!
//! Every layer is always there. A feature adds something; it never changes what existing code does.
//!
//! | feature | adds |
//! |---|---|
#![cfg_attr(
    feature = "testing",
    doc = "| `testing` | [`testing`]: peers, servers and properties in memory, for your tests |"
)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub use self::{
    audit::{AuditEvent, AuditRecord, AuditSink, TracingSink},
    client_addr::ClientAddr,
    close::{ApplicationClose, Close, CloseCode, CloseReason, InvalidClose, Retry},
    connection::Connection,
    connection_id::ConnectionId,
    connections::{Connections, Overflow},
    driver::{ConnectionConfig, ConnectionConfigError},
    layers::{
        Anonymous, AuthFailure, Authenticate, Authenticated, DecodeLayer, Failure,
        HandleErrorLayer, Handler, HandlerResult, HandshakeIdentity, Inbound, Json, JsonLimits,
        LoginThrottle, RateLimitLayer, Reply, RequireAuthLayer, Session,
    },
    login::SessionLimits,
    message::{EncodeError, Message, Utf8Bytes},
    outbound::{
        SendError,
        budget::{self, MemoryBudget},
    },
    principal::Principal,
    quota::Quota,
    room::{
        Member, OpenRooms, RoomKey, RoomName, RoomNotice, RoomPolicy, RoomScoped, Rooms,
        RoomsLayer, Scope,
    },
    tickets::Tickets,
    upgrade::{
        Admission, ClientAddrLayer, OriginPolicy, PeerAddr, TrustedProxies, UpgradeRejection,
        UpgradeRejectionKind, WebSocketEndpoint, WebSocketLayer,
    },
};

mod opaque;
mod message;
mod close;
mod principal;
mod connection_id;
mod client_addr;
mod login;
mod signals;
mod attached;
mod connection;
pub mod connections;
pub mod upgrade;
mod driver;
pub mod layers;
pub mod tickets;
pub mod room;
pub mod service;
mod outbound;
mod quota;
pub mod audit;

mod hooks;
mod foreign;
mod capacity;

#[doc(hidden)]
pub mod internal;

#[cfg(any(test, feature = "testing"))]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;

/// The guide has code, which is compiled as that of the docs is.
#[cfg(doctest)]
#[doc = include_str!("../docs/wrap.md")]
mod wrap {}
