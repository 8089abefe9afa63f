//! What happens before the 101: who may open a connection, and whether there is room.
//!
//! A [`WebSocketEndpoint`] is a service for a route, or a layer around an HTTP service. A request on one of
//! its paths that tries to upgrade goes through seven steps, each of which needs what the one before it proved:
//!
//! | step | asks | refuses with |
//! |---|---|---|
//! | request | is it a handshake, to the letter of RFC 6455 §4.2.1, and without credentials in the URL? | 400, 405, 426 |
//! | client | who is on the other end of the proxies? [`TrustedProxies`] | 400, 500 |
//! | origin | whose page started it? [`OriginPolicy`] | 403, 421 |
//! | subprotocol | do we speak what is offered, where it matters? [`Subprotocols`] | 400 |
//! | admission | is there room, also for this address, and is it not too fast? [`Admission`] | 429, 503 |
//! | identity | who is it, [if that is known already](crate::HandshakeIdentity)? | 401 |
//! | serve | 101, and one task for the connection | |
//!
//! An attempt is a request whose `Upgrade` lists `websocket`, or with any `Sec-WebSocket-*` header, or
//! a `CONNECT`; everything else goes inward untouched, but without the upgrade that hyper offers for
//! whatever else is in `Upgrade`: on a path of the endpoint no other code switches protocols. A `CONNECT`
//! that names no path is refused on whatever path the endpoint is, because hyper would upgrade it. [`WebSocketEndpoint::into_service`] makes a
//! service without anything inside, which answers `426` there.
//!
//! A refusal is a finished response with a fixed text, never an error of the service. It carries an
//! [`UpgradeRejection`] in its extensions, and each is one
//! [`AuditEvent::UpgradeRefused`](crate::AuditEvent::UpgradeRefused).
//!
//! # Deployment
//!
//! Give the endpoint a route of its own ([how, and why](WebSocketEndpoint#in-a-router)).
//!
//! Layers outside must not replace the 101, and must not time it: what they measure ends there. The
//! server has to serve connections with upgrades (hyper: `with_upgrades`; axum does), and to close
//! those that never finish their request (hyper: a timer and `header_read_timeout`). A bare line
//! feed ends a header line for hyper; a proxy in front should refuse it.
//!
//! What hyper hands over after the 101 is a box. If there is a tokio `TcpStream` in it, as in axum's and
//! in the examples, the layer takes it out and sets what a WebSocket needs: `TCP_NODELAY`, because all
//! that is ready goes out in one write already and to wait for more would only cost time, and a bound
//! on what the kernel holds for the peer
//! ([`ConnectionConfig::unsent_bytes`](crate::ConnectionConfig::unsent_bytes)). Anything else, TLS among
//! it, is served as it is: set `TCP_NODELAY` (`TcpStream::set_nodelay`, in axum by
//! `ListenerExt::tap_io`) and `TCP_NOTSENT_LOWAT` on its socket when it is accepted, and bound what hyper
//! reads ahead by `max_buf_size`, or a peer can have as much held that no budget counts.
//!
//! A server that stops does not wait for those who have upgraded: axum's `with_graceful_shutdown` returns
//! when the last HTTP exchange is over, and when `main` returns, the runtime drops the connections. Each
//! then tries, in a single write that may not wait, to tell its peer 1001. That is all: what was queued and
//! the handler's answer are lost, as is the close frame behind a message of which the socket has taken a
//! part. Over anything but a plain `TcpStream`, TLS among it, the peer is told nothing, and
//! `std::process::exit` drops no task. To end in good order close each connection
//! ([`Connection::close`](crate::Connection::close) with
//! [`Close::GOING_AWAY`](crate::Close::GOING_AWAY)), and wait until
//! [`on_close`](WebSocketEndpoint::on_close) has told of all of them.

pub use self::{
    admission::Admission,
    body::ResponseBody,
    client_addr_layer::{ClientAddrLayer, SetClientAddr},
    endpoint::WebSocketEndpoint,
    invalid_origin::InvalidOrigin,
    invalid_proxies::InvalidProxies,
    layer::{ResponseFuture, WebSocket, WebSocketLayer, WebSocketOnly},
    origin::OriginPolicy,
    path::InvalidPath,
    peer_addr::{PeerAddr, PeerTls},
    proxies::TrustedProxies,
    rejection::{UpgradeRejection, UpgradeRejectionKind},
    subprotocol::{InvalidSubprotocol, Subprotocols},
};
pub use crate::quota::{PeerSlot, PeerSlots};

mod endpoint;
mod layer;
mod path;
mod request;
mod credential;
mod peer_addr;
mod invalid_proxies;
mod forwarded;
mod proxies;
mod client;
mod client_addr_layer;
mod authority;
mod invalid_origin;
mod origin;
mod parsed_origin;
mod cookie;
mod admission;
mod gate;
mod identity;
mod subprotocol;
mod switch;
mod offers;
mod reachability;
mod stack;
mod socket;
mod rejection;
mod refused;
mod body;

/// The first two steps alone: they need no socket, so the fuzz target can take them.
pub(crate) fn verify<B>(
    request: &http::Request<B>,
    policy: &OriginPolicy,
) -> Result<Option<http::HeaderValue>, UpgradeRejectionKind> {
    let Some(attempt) = request::UpgradeRequest::parse(request)? else {
        return Ok(None);
    };
    policy.verify(attempt).map(|trusted| Some(trusted.accept))
}

#[cfg(test)]
mod tests;
