//! Know whose word counts for who the client is.

use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, HeaderName, header};
use ipnet::{IpNet, Ipv4Net};

use super::{
    forwarded::{self, Element},
    invalid_proxies::InvalidProxies,
};

/// The proxies whose word counts for who the client is, and the one header in which they give it.
///
/// Anybody can send `X-Forwarded-For`. So it is read only if the socket comes from a network that was
/// named here, and only one header is, because a second one would be whatever a client wrote into it.
///
/// 1. The client is the address of the socket, unless that is in a trusted network.
/// 2. Otherwise it is the last address of the header (all its lines are one list), unless that is in a
///    trusted network, too; then the one before it, and so on.
/// 3. If all of them are trusted, it is the first.
///
/// What a client puts on the left is never reached, and changes nothing. A port is cut off; an IPv4 address
/// that is mapped into IPv6 is an IPv4 address.
///
/// | | answer to a handshake | rule |
/// |---|---|---|
/// | a hop that is reached is no address, is `unknown` or hidden (`_x`), is the 33rd, or lies behind 2 KiB | 400 | `peer.forwarded` |
/// | the socket is a proxy's, and the header is missing or empty | 500, and a warning a minute | `peer.unknown` |
/// | the server tells no address of the socket | 500, and a warning a minute | `peer.missing` |
///
/// The second is a proxy that does not do its part: everybody would be one address. For internal clients
/// that are in a trusted network themselves there is [`allow_direct`](Self::allow_direct).
///
/// # Example
///
/// ```
/// use tower_websocket::TrustedProxies;
///
/// # fn main() -> Result<(), tower_websocket::upgrade::InvalidProxies> {
/// let nginx = TrustedProxies::x_forwarded_for(["10.0.0.0/8", "fd00::/8"])?;
/// let cdn = TrustedProxies::header("cf-connecting-ip", ["173.245.48.0/20"])?;
/// // Everybody could say who they are.
/// assert!(TrustedProxies::x_forwarded_for(["0.0.0.0/0"]).is_err());
/// # let _ = (nginx, cdn);
/// # Ok(())
/// # }
/// ```
///
/// # Deployment
///
/// Each proxy has to append the address that it sees, or to replace the header with it. One that passes on
/// what the client wrote, and nothing else, lets each client choose its address. The folder `docs/proxies` has
/// configurations of nginx and HAProxy that are tested.
#[must_use]
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    /// Shared by the clones that a router makes.
    networks: Arc<[IpNet]>,
    header: HeaderName,
    direct: bool,
}

/// Who the client is, and how many proxies told of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Hop {
    pub(super) ip: IpAddr,
    /// 0: the socket itself.
    pub(super) nth: usize,
}

/// Why it is unknown who the client is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Untold {
    /// The proxy has said nothing.
    Missing,
    /// A proxy, or what is taken for one, has said what is no address.
    Malformed,
}

impl TrustedProxies {
    /// Proxies in these networks, which append the address that they see to `X-Forwarded-For`.
    ///
    /// A network is an address and a prefix, `10.0.0.0/8`, or a single address.
    ///
    /// # Errors
    ///
    /// [`InvalidProxies`] if there is none, if one of them is none or has bits behind its prefix, or if it is
    /// wider than what anybody owns: /8, and /7 of IPv6.
    pub fn x_forwarded_for(
        networks: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, InvalidProxies> {
        Self::new(HeaderName::from_static("x-forwarded-for"), networks)
    }

    /// The same with `Forwarded`, the header of RFC 7239.
    ///
    /// # Errors
    ///
    /// As [`x_forwarded_for`](Self::x_forwarded_for).
    pub fn forwarded(
        networks: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, InvalidProxies> {
        Self::new(header::FORWARDED, networks)
    }

    /// The same with a header of the proxy's own: `cf-connecting-ip`, `true-client-ip`. It is read as a
    /// list of addresses, of which there may be one; `forwarded` is read as [`forwarded`](Self::forwarded)
    /// does.
    ///
    /// # Errors
    ///
    /// As [`x_forwarded_for`](Self::x_forwarded_for), and if no header can have this name.
    pub fn header(
        name: &str,
        networks: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, InvalidProxies> {
        let header = HeaderName::from_bytes(name.trim().as_bytes());
        Self::new(header.map_err(|_| InvalidProxies::Header(name.to_owned()))?, networks)
    }

    fn new(
        header: HeaderName,
        networks: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, InvalidProxies> {
        let networks: Arc<[_]> =
            networks.into_iter().map(|it| network(it.as_ref())).collect::<Result<_, _>>()?;
        if networks.is_empty() {
            return Err(InvalidProxies::NoNetwork);
        }
        Ok(Self { networks, header, direct: false })
    }

    /// Takes a socket from a trusted network that comes without the header for the client itself: for
    /// clients, or health checks, in the network of the proxies.
    ///
    /// # Security
    ///
    /// A proxy that forgets the header is then no longer noticed: everybody behind it is one address.
    pub fn allow_direct(mut self) -> Self {
        self.direct = true;
        self
    }

    /// Whether `ip` is in one of the networks: a proxy, or its neighbor.
    pub fn includes(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.networks.iter().any(|it| it.contains(&ip))
    }

    /// Who the client is of a request with `headers`, on a socket from `peer`.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Result<Hop, Untold> {
        let mut client = Hop { ip: peer, nth: 0 };
        let mut bytes = 0_usize;
        for element in self.elements(headers) {
            if !self.includes(client.ip) {
                break;
            }
            bytes = bytes.saturating_add(element.len());
            if client.nth == MAX_HOPS || bytes > MAX_BYTES {
                return Err(Untold::Malformed);
            }
            let ip = self.address(element).ok_or(Untold::Malformed)?;
            client = Hop { ip, nth: client.nth + 1 };
        }
        let told = client.nth > 0 || self.direct || !self.includes(peer);
        told.then_some(client).ok_or(Untold::Missing)
    }

    /// Whether the proxy that the client at `hop` came to says that it came over TLS.
    ///
    /// `X-Forwarded-Proto` has one value for all, or one for each proxy, as the addresses have.
    pub(super) fn is_tls(&self, headers: &HeaderMap, hop: Hop) -> bool {
        let Some(before) = hop.nth.checked_sub(1) else { return false };
        let said = if self.header == header::FORWARDED {
            let element = self.elements(headers).nth(before);
            element.and_then(Element::parse).and_then(|it| it.proto).map(str::as_bytes)
        } else {
            let mut all = forwarded::elements(headers, &PROTO, false).take(MAX_HOPS);
            match (all.next(), all.next()) {
                (only, None) => only,
                (first, _) if before == 0 => first,
                (_, second) if before == 1 => second,
                _ => all.nth(before - 2),
            }
        };
        said.is_some_and(|it| it.eq_ignore_ascii_case(b"https") || it.eq_ignore_ascii_case(b"wss"))
    }

    fn elements<'a>(&self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a [u8]> {
        forwarded::elements(headers, &self.header, self.header == header::FORWARDED)
    }

    fn address(&self, element: &[u8]) -> Option<IpAddr> {
        let node = if self.header == header::FORWARDED {
            Element::parse(element)?.node?
        } else {
            str::from_utf8(element).ok()?
        };
        forwarded::address(node)
    }
}

/// Reads what an operator wrote. Addresses are compared in their canonical form, so a network of mapped ones
/// is one of IPv4.
fn network(text: &str) -> Result<IpNet, InvalidProxies> {
    let error = || InvalidProxies::Network(text.to_owned());
    let trimmed = text.trim();
    let alone = || trimmed.parse::<IpAddr>().map(IpNet::from);
    let network = trimmed.parse::<IpNet>().or_else(|_| alone()).map_err(|_| error())?;
    let network = match network {
        IpNet::V6(v6) => match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
            (Some(v4), Some(prefix)) => IpNet::V4(Ipv4Net::new(v4, prefix).map_err(|_| error())?),
            _ => network,
        },
        IpNet::V4(_) => network,
    };
    let widest = if matches!(network, IpNet::V4(_)) { 8 } else { 7 };
    if network.prefix_len() < widest {
        Err(InvalidProxies::TooWide(text.to_owned()))
    } else if network.trunc() != network {
        Err(error())
    } else {
        Ok(network)
    }
}

/// More proxies than any operator has in a row.
const MAX_HOPS: usize = 32;

/// Bytes of the hops that are reached: room for each of them with an IPv6 address and a port.
const MAX_BYTES: usize = 2048;

static PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
