//! Name who is on the other end: the socket's address, and behind proxies the client's.

use std::net::{IpAddr, SocketAddr};

/// Who is on the other end of a request or a connection.
///
/// The *peer* is the other end of the socket. The *client* is who limits, shares and records go by: the
/// peer itself, or the address that a [trusted proxy](crate::TrustedProxies) vouches for.
///
/// [`ClientAddrLayer`](crate::ClientAddrLayer) puts it into the extensions of a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ClientAddr {
    peer: SocketAddr,
    ip: IpAddr,
    tls: bool,
}

impl ClientAddr {
    /// The client `ip`, of whom `peer` has told, or who is that itself.
    pub(crate) fn new(peer: SocketAddr, ip: IpAddr, tls: bool) -> Self {
        Self { peer, ip: ip.to_canonical(), tls }
    }

    /// The client at the other end of the socket.
    #[cfg(test)]
    pub(crate) fn direct(peer: SocketAddr) -> Self {
        Self::new(peer, peer.ip(), false)
    }

    /// The address of the socket, an IPv4 address as such even if it came in on an IPv6 socket.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The client's address, an IPv4 address as such however it was spelled.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Whether the client came over TLS, as far as that is known: the socket had it
    /// ([`PeerTls`](crate::upgrade::PeerTls)), or the proxy that the client came to says so.
    pub fn is_tls(&self) -> bool {
        self.tls
    }
}
