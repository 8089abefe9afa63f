//! Admit a connection only while there is room, and not too many at once.
//!
//! An idle socket costs its peer nothing. [`Admission`] bounds what such sockets cost the server.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use governor::{Quota, RateLimiter, clock::Clock, middleware::NoOpMiddleware, state};
use http::HeaderValue;

use super::{origin::TrustedRequest, peer::PeerKey, rejection::UpgradeRejectionKind};

/// How many connections there may be, and how fast they may come.
///
/// The limits are checked together, before anything is spawned:
///
/// | limit | default | why this | over it |
/// |---|---|---|---|
/// | [`max_connections`](Admission::max_connections) | 10,000 | 80 MiB while idle; 14 GiB if every peer makes the server hold all that one can | `503` |
/// | [`max_unauthenticated`](Admission::max_unauthenticated) | 1,000 | 200 logins a second, even if each takes all 5 s it has; nine tenths stay for those who showed who they are | `503` |
/// | [`max_connections_per_peer`](Admission::max_connections_per_peer) | 256 | two each for the 128 subscribers behind one address of a carrier; a quarter of what may wait for credentials, so that no address locks out the others | `429` |
/// | [`handshakes_per_second`](Admission::handshakes_per_second) | 500 | 10,000 clients are back 20 s after a restart | `429` |
/// | [`handshake_burst`](Admission::handshake_burst) | 1,000 | as many as may wait for their credentials | `429` |
///
/// A refusal carries `Retry-After`, at random within 5 to 30 s, so that those refused together do
/// not come back together. The slot is held by the connection's task, not by the response, and is
/// free again when that task ends, however it ends. tower's `ConcurrencyLimit` around the HTTP
/// service does not do this: its permit is released at the 101.
///
/// # Example
///
/// ```
/// use std::num::NonZeroUsize;
///
/// use tower_websocket::Admission;
///
/// const SMALL: NonZeroUsize = NonZeroUsize::new(200).unwrap();
///
/// let admission = Admission::new().max_connections(SMALL).max_unauthenticated(SMALL);
/// ```
///
/// # Deployment
///
/// The limit per peer needs a [`PeerAddr`](super::PeerAddr). Each connection needs a file
/// descriptor: raise the limit of the process (often 1,024) above `max_connections`. A socket that
/// never sends a request is not counted here: only the HTTP server's header timeout closes it.
#[must_use]
#[derive(Clone, Debug)]
pub struct Admission {
    max_connections: NonZeroUsize,
    max_unauthenticated: NonZeroUsize,
    max_connections_per_peer: NonZeroUsize,
    handshakes_per_second: NonZeroU32,
    handshake_burst: NonZeroU32,
}

/// A handshake for which there is room. The permit is the room.
#[derive(Debug)]
pub(super) struct AdmittedRequest {
    /// The value of `Sec-WebSocket-Accept`.
    pub(super) accept: HeaderValue,
    pub(super) permit: ConnectionPermit,
}

/// The room one connection takes up. Its task owns it; dropping it is the only way to give it back.
pub(crate) struct ConnectionPermit {
    gate: Arc<Gate>,
    peer: Option<PeerKey>,
    unauthenticated: bool,
}

/// Counts the connections of one endpoint.
pub(super) struct Gate {
    limits: Admission,
    rate: Rate,
    /// One lock for all counts, so that they are checked and taken together. Held for a few
    /// instructions, twice or three times in a connection's life.
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    connections: usize,
    unauthenticated: usize,
    /// Peers with at least one connection, so never more than `max_connections`.
    per_peer: HashMap<PeerKey, usize>,
}

impl Admission {
    /// The defaults of the [table](Self).
    pub const fn new() -> Self {
        Self {
            max_connections: MAX_CONNECTIONS,
            max_unauthenticated: MAX_UNAUTHENTICATED,
            max_connections_per_peer: MAX_CONNECTIONS_PER_PEER,
            handshakes_per_second: HANDSHAKES_PER_SECOND,
            handshake_burst: HANDSHAKE_BURST,
        }
    }

    /// Connections in all. The default is 10,000; over it, `503`.
    ///
    /// The more are let in, the more memory and file descriptors a flood can take.
    pub const fn max_connections(mut self, limit: NonZeroUsize) -> Self {
        self.max_connections = limit;
        self
    }

    /// Connections whose peer has not been authenticated yet. The default is 1,000; over it, `503`.
    ///
    /// This is what somebody without credentials can take up. It may be larger than
    /// [`max_connections`](Self::max_connections), which then holds for both.
    pub const fn max_unauthenticated(mut self, limit: NonZeroUsize) -> Self {
        self.max_unauthenticated = limit;
        self
    }

    /// Connections of one client address, an IPv6 network of 64 bits counting as one. The default
    /// is 256; over it, `429`.
    ///
    /// The more one address may have, the fewer addresses an attacker needs to fill the server.
    pub const fn max_connections_per_peer(mut self, limit: NonZeroUsize) -> Self {
        self.max_connections_per_peer = limit;
        self
    }

    /// Handshakes that are accepted per second in the long run. The default is 500; over it, `429`.
    ///
    /// Each costs a task and the check of credentials, which may ask another server.
    pub const fn handshakes_per_second(mut self, rate: NonZeroU32) -> Self {
        self.handshakes_per_second = rate;
        self
    }

    /// Handshakes that are accepted at once after a quiet time. The default is 1,000.
    pub const fn handshake_burst(mut self, burst: NonZeroU32) -> Self {
        self.handshake_burst = burst;
        self
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    pub(super) fn new(limits: Admission) -> Self {
        let quota =
            Quota::per_second(limits.handshakes_per_second).allow_burst(limits.handshake_burst);
        let rate = Rate::direct_with_clock(quota, TokioClock);
        Self { limits, rate, counts: Mutex::default() }
    }

    /// Takes room for `request`, which came from `peer`.
    pub(super) fn admit(
        self: &Arc<Self>,
        request: TrustedRequest,
        peer: Option<SocketAddr>,
    ) -> Result<AdmittedRequest, UpgradeRejectionKind> {
        let permit = self.take(peer.map(PeerKey::of))?;
        // Last, so that who is refused for want of room does not slow down the others. A refusal
        // here drops the permit again.
        self.rate.check().map_err(|_| UpgradeRejectionKind::TooFast)?;
        Ok(AdmittedRequest { accept: request.accept, permit })
    }

    fn take(
        self: &Arc<Self>,
        peer: Option<PeerKey>,
    ) -> Result<ConnectionPermit, UpgradeRejectionKind> {
        let limits = &self.limits;
        let mut counts = self.counts();
        if let Some(peer) = peer
            && counts.of(peer) >= limits.max_connections_per_peer.get()
        {
            return Err(UpgradeRejectionKind::TooManyFromPeer);
        }
        if counts.connections >= limits.max_connections.get() {
            return Err(UpgradeRejectionKind::TooManyConnections);
        }
        if counts.unauthenticated >= limits.max_unauthenticated.get() {
            return Err(UpgradeRejectionKind::TooManyUnauthenticated);
        }
        counts.connections += 1;
        counts.unauthenticated += 1;
        if let Some(peer) = peer {
            *counts.per_peer.entry(peer).or_default() += 1;
        }
        drop(counts);
        Ok(ConnectionPermit { gate: Arc::clone(self), peer, unauthenticated: true })
    }

    /// Whether every permit was given back.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let counts = self.counts();
        (counts.connections, counts.unauthenticated, counts.per_peer.len()) == (0, 0, 0)
    }

    #[cfg(test)]
    pub(super) fn peers(&self) -> usize {
        self.counts().per_peer.len()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn of(&self, peer: PeerKey) -> usize {
        self.per_peer.get(&peer).copied().unwrap_or_default()
    }
}

impl ConnectionPermit {
    /// Frees the place among the unauthenticated; the connection keeps its place among all.
    ///
    /// To be called when the peer was authenticated, and at the start on an endpoint that
    /// authenticates nobody. Once is enough.
    pub(crate) fn authenticated(&mut self) {
        if self.unauthenticated {
            self.unauthenticated = false;
            self.gate.counts().unauthenticated -= 1;
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.authenticated();
        let mut counts = self.gate.counts();
        counts.connections -= 1;
        if let Some(peer) = self.peer
            && let Entry::Occupied(mut entry) = counts.per_peer.entry(peer)
        {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

impl fmt::Debug for ConnectionPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionPermit")
            .field("unauthenticated", &self.unauthenticated)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("limits", &self.limits).finish_non_exhaustive()
    }
}

type Rate = RateLimiter<state::NotKeyed, state::InMemoryState, TokioClock, NoOpMiddleware<Instant>>;

/// The clock of the runtime, which tests can pause.
#[derive(Clone, Copy, Debug)]
struct TokioClock;

impl Clock for TokioClock {
    type Instant = Instant;

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

// The reasons stand in the table of `Admission`.
const MAX_CONNECTIONS: NonZeroUsize = at_least_one(10_000);
const MAX_UNAUTHENTICATED: NonZeroUsize = at_least_one(1_000);
const MAX_CONNECTIONS_PER_PEER: NonZeroUsize = at_least_one(256);
const HANDSHAKES_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(499);
const HANDSHAKE_BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(999);

const fn at_least_one(count: usize) -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(count - 1)
}
