//! Know the address a connection came from, as far as the server tells it.
//!
//! Neither `http` nor hyper puts the peer's address into a request. The code that accepts the socket does, as
//! [`PeerAddr`] or as a type of its own ([`peer_from`](super::WebSocketEndpoint::peer_from)).

use std::net::SocketAddr;

/// The address of the socket that a request came in on: put it into the request's extensions.
///
/// A server that has a type of its own for this, as axum has `ConnectInfo`, needs none of it:
/// [`WebSocketEndpoint::peer_from`](super::WebSocketEndpoint::peer_from) says where to look.
///
/// # Deployment
///
/// Behind a proxy the socket's address is the proxy's.
/// [`WebSocketEndpoint::trusted_proxies`](super::WebSocketEndpoint::trusted_proxies) says whose word counts
/// for who the client is; without it, no header is ever read for that.
#[expect(clippy::exhaustive_structs, reason = "the code that accepts the socket makes it")]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PeerAddr(pub SocketAddr);

/// The socket that a request came in on has TLS, which ends in this process: put it into the request's
/// extensions where that is so. [`OriginPolicy::require_tls`](super::OriginPolicy::require_tls) asks for it.
#[expect(clippy::exhaustive_structs, reason = "the code that accepts the socket makes it")]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct PeerTls;
