//! Find out who the client of a request is: from the server, and from the proxies that are trusted.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Extensions, Request};
use tokio::time::Instant;

use super::{
    peer_addr::{PeerAddr, PeerTls},
    proxies::{TrustedProxies, Untold},
    rejection::UpgradeRejectionKind,
};
use crate::client_addr::ClientAddr;

/// Where in a request's extensions the server has put the address of the socket.
type PeerFrom = dyn Fn(&Extensions) -> Option<SocketAddr> + Send + Sync;

/// How clients are found. Clones complain together.
#[derive(Clone, Default)]
pub(super) struct Clients {
    /// `None`: as [`PeerAddr`].
    peer_from: Option<Arc<PeerFrom>>,
    proxies: Option<TrustedProxies>,
    complaints: Arc<Complaints>,
}

/// Who a request is from. [`ClientAddrLayer`](super::ClientAddrLayer) leaves it for an endpoint within.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whence {
    /// The address of the socket, where the server told it.
    pub(super) peer: Option<SocketAddr>,
    /// Goes on without an address, if nothing was set that needs one.
    pub(super) client: Result<Option<ClientAddr>, UpgradeRejectionKind>,
    /// Whether the client came over TLS, as far as that is known.
    pub(super) tls: bool,
}

/// What the operator has to know, and would be told with each request.
#[derive(Debug, Default)]
struct Complaints {
    missing: Complaint,
    unknown: Complaint,
}

#[derive(Debug, Default)]
struct Complaint(Mutex<Option<Instant>>);

impl Clients {
    pub(super) fn peer_from(
        self,
        peer_from: impl Fn(&Extensions) -> Option<SocketAddr> + Send + Sync + 'static,
    ) -> Self {
        Self { peer_from: Some(Arc::new(peer_from)), ..self }
    }

    pub(super) fn trusted_proxies(self, proxies: TrustedProxies) -> Self {
        Self { proxies: Some(proxies), ..self }
    }

    /// Who `request` is from.
    pub(super) fn find<B>(&self, request: &Request<B>) -> Whence {
        let extensions = request.extensions();
        // An endpoint without settings of its own takes what a layer outside has found.
        if self.is_default()
            && let Some(found) = extensions.get::<Whence>()
        {
            return *found;
        }
        let peer = match &self.peer_from {
            Some(peer_from) => peer_from(extensions).map(canonical),
            None => extensions.get().map(|PeerAddr(addr)| canonical(*addr)),
        };
        let own_tls = extensions.get::<PeerTls>().is_some()
            || request.uri().scheme_str().is_some_and(|it| it.eq_ignore_ascii_case("https"));
        let client = self.client(request, peer, own_tls);
        let tls = match client {
            Ok(Some(client)) => client.is_tls(),
            // A proxy's own TLS says nothing of its client's.
            Ok(None) | Err(_) => own_tls && self.proxies.is_none(),
        };
        Whence { peer, client, tls }
    }

    fn client<B>(
        &self,
        request: &Request<B>,
        peer: Option<SocketAddr>,
        own_tls: bool,
    ) -> Result<Option<ClientAddr>, UpgradeRejectionKind> {
        let Some(peer) = peer else {
            if self.is_default() {
                return Ok(None);
            }
            self.complaints.missing();
            return Err(UpgradeRejectionKind::PeerMissing);
        };
        let Some(proxies) = &self.proxies else {
            return Ok(Some(ClientAddr::new(peer, peer.ip(), own_tls)));
        };
        match proxies.client(peer.ip(), request.headers()) {
            Ok(hop) => {
                let direct = hop.nth == 0;
                let tls = if direct { own_tls } else { proxies.is_tls(request.headers(), hop) };
                Ok(Some(ClientAddr::new(peer, hop.ip, tls)))
            }
            Err(Untold::Malformed) => Err(UpgradeRejectionKind::Forwarded),
            Err(Untold::Missing) => {
                self.complaints.unknown(peer);
                Err(UpgradeRejectionKind::ClientUnknown)
            }
        }
    }

    /// Nothing was set.
    fn is_default(&self) -> bool {
        self.peer_from.is_none() && self.proxies.is_none()
    }
}

fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

impl Complaints {
    fn missing(&self) {
        if self.missing.is_due() {
            tracing::warn!(
                "a request came without the address of its socket, so its client is unknown, and \
                 handshakes are answered 500. The code that accepts sockets has to put it where `peer_from` \
                 looks for it: axum with `into_make_service_with_connect_info`"
            );
        }
    }

    fn unknown(&self, proxy: SocketAddr) {
        if self.unknown.is_due() {
            tracing::warn!(
                %proxy,
                "a trusted proxy sends requests without saying whom it speaks for, and handshakes are \
                 answered 500: everybody behind it would be one address. See `TrustedProxies`"
            );
        }
    }
}

impl Complaint {
    fn is_due(&self) -> bool {
        let now = Instant::now();
        // Held to compare two times.
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = said.is_none_or(|at| now.duration_since(at) >= COMPLAIN_EVERY);
        if due {
            *said = Some(now);
        }
        due
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("proxies", &self.proxies).finish_non_exhaustive()
    }
}

const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
