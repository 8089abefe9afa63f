//! Know the address a connection came from, as far as the server tells it.
//!
//! Neither `http` nor hyper puts the peer's address into a request. The code that accepts the socket does,
//! as [`PeerAddr`]; without it, limits per address do not apply and audit records name none.
//! `X-Forwarded-For` and the like are never read: anybody can write them.

use std::net::SocketAddr;

use http::Extensions;

/// The address of the socket that a request came in on: put it into the request's extensions.
///
/// Without it, limits per address do not apply and audit records name none. `X-Forwarded-For` and
/// the like are never read: anybody can write them.
///
/// # Example
///
/// With axum, whose `ConnectInfo` is a type of its own:
///
/// ```
/// use std::net::SocketAddr;
///
/// use axum::{Router, extract::{ConnectInfo, Request}, middleware};
/// use tower_websocket::PeerAddr;
///
/// async fn tell_peer(ConnectInfo(addr): ConnectInfo<SocketAddr>, mut request: Request) -> Request {
///     request.extensions_mut().insert(PeerAddr(addr));
///     request
/// }
///
/// // Added last, so that it is outside, and runs before the WebSocket layer.
/// let app: Router = Router::new().layer(middleware::map_request(tell_peer));
/// let service = app.into_make_service_with_connect_info::<SocketAddr>();
/// # drop(service);
/// ```
///
/// # Deployment
///
/// Behind a proxy the socket's address is the proxy's, and one limit per address would hold for
/// everybody together. There, either insert the address that the proxy vouches for, or none.
#[expect(clippy::exhaustive_structs, reason = "it is made where sockets are accepted")]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PeerAddr(pub SocketAddr);

impl PeerAddr {
    /// The address in `extensions`, an IPv4 address as such even if it came in on an IPv6 socket.
    pub(super) fn read(extensions: &Extensions) -> Option<SocketAddr> {
        let Self(addr) = extensions.get()?;
        Some(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
    }
}
