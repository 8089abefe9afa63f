//! Say how many connections there may be, and how fast they may come.
//!
//! An idle socket costs its peer nothing. [`Admission`] bounds what such sockets cost the server.

use std::num::{NonZeroU32, NonZeroUsize};

use crate::quota::Quota;

/// How many connections there may be, and how fast they may come.
///
/// The limits are checked together, before anything is spawned:
///
/// | limit | default | why this | over it |
/// |---|---|---|---|
/// | [`max_connections`](Admission::max_connections) | 10,000 | 14 GiB if every peer makes the server hold all that one can, against which there is the [budget](crate::MemoryBudget) | `503` |
/// | [`max_unauthenticated`](Admission::max_unauthenticated) | 1,000 | 200 logins a second, even if each takes all 5 s it has; nine tenths stay for those who showed who they are | `503` |
/// | of it, for one address | a quarter | one address cannot keep all others from logging in | `429` |
/// | [`max_connections_per_peer`](Admission::max_connections_per_peer) | 256 | two each for the 128 subscribers behind one address of a carrier | `429` |
/// | [`handshakes`](Admission::handshakes) | 500 a second, 1,000 at once | 10,000 clients are back 20 s after a restart; at once as many as may wait for their credentials | `429` |
/// | [`handshakes_per_peer`](Admission::handshakes_per_peer) | 10 a second, 256 at once | a fiftieth of what all have, so that a peer that opens and hangs up keeps no other out; as many at once as there may be, so that all behind one address are back after a restart | `429` |
/// | [`failed_logins_per_peer`](Admission::failed_logins_per_peer) | 10 a minute, 20 at once | an office of 20 whose passwords expired together gets in; one address has 14,400 guesses a day | `429` |
///
/// A refusal carries `Retry-After`, at random within 5 to 30 s, so that those refused together do
/// not come back together. The place is held by the connection's task, not by the response, and is
/// free again when that task ends, however it ends. tower's `ConcurrencyLimit` around the HTTP
/// service does not do this: its permit is released at the 101.
///
/// # Addresses
///
/// An IPv4 address is one peer. So is an IPv6 /64; but as RFC 6177 gives a subscriber a /56 or a /48,
/// these are counted too: a /56 may have twice, a /48 four times what one address may have, and never
/// more than half of all. Raise the limit if more users than that are behind one network.
///
/// What goes by addresses needs that of the [client](crate::ClientAddr). Without one the shares that are
/// defaults do not hold, and the endpoint says so once, at `warn`; where one of them was set, a handshake
/// without an address is answered `500`. Who sets `max_connections_per_peer` to `max_connections` or more has said
/// that addresses tell nothing: then no share of an address holds but those that are set with
/// `handshakes_per_peer` and `failed_logins_per_peer`.
///
/// If the first hundred connections that are open are all of one address, the endpoint says so once, at `warn`:
/// it may be a proxy's, of which [`TrustedProxies`](super::TrustedProxies) is to know.
///
/// # Unauthenticated
///
/// A place among the unauthenticated is given back when the peer is authenticated or when the
/// connection begins to close, whichever is first: a refused login makes room for the next one at once.
/// Connections that are closing hold their socket a little longer, for `close_timeout` at most, and
/// count among all and for their address until it is gone.
///
/// # Example
///
/// ```
/// use std::num::{NonZeroU32, NonZeroUsize};
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
/// Each connection needs a file descriptor: raise the limit of the process (often 1,024) above
/// `max_connections`. A socket that never sends a request is not counted here: only the HTTP server's
/// header timeout closes it, and [`PeerSlots`](super::PeerSlots) counts it where it is accepted.
#[must_use]
#[derive(Clone, Debug)]
pub struct Admission {
    pub(super) max_connections: NonZeroUsize,
    pub(super) max_unauthenticated: NonZeroUsize,
    /// `None`: the default, or less in a small pool.
    max_connections_per_peer: Option<NonZeroUsize>,
    pub(super) handshakes: Quota,
    /// `None`: its share of what all have.
    handshakes_per_peer: Option<Quota>,
    /// `None`: the default, if addresses tell anything.
    failed_logins_per_peer: Option<Quota>,
}

impl Admission {
    /// The defaults of the [table](Self).
    pub const fn new() -> Self {
        Self {
            max_connections: MAX_CONNECTIONS,
            max_unauthenticated: MAX_UNAUTHENTICATED,
            max_connections_per_peer: None,
            handshakes: HANDSHAKES,
            handshakes_per_peer: None,
            failed_logins_per_peer: None,
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
    /// This is what peers without credentials can take up. It may be larger than
    /// [`max_connections`](Self::max_connections), which then holds for both. One address may have a
    /// quarter of it, over which it gets `429`; but 16 at least, for a few people with a few pages each.
    pub const fn max_unauthenticated(mut self, limit: NonZeroUsize) -> Self {
        self.max_unauthenticated = limit;
        self
    }

    /// Connections of one client address. Over it, `429`.
    ///
    /// The default is 256, or a quarter of [`max_connections`](Self::max_connections) where that is
    /// less, but 16 at least. The more one address may have, the fewer addresses an attacker needs to
    /// fill the server.
    pub const fn max_connections_per_peer(mut self, limit: NonZeroUsize) -> Self {
        self.max_connections_per_peer = Some(limit);
        self
    }

    /// Handshakes that are accepted. The default is 500 a second, 1,000 at once; over it, `429`.
    ///
    /// Each costs a task and the check of credentials, which may ask another server.
    pub const fn handshakes(mut self, quota: Quota) -> Self {
        self.handshakes = quota;
        self
    }

    /// Handshakes of one client address that are accepted. Over it, `429`.
    ///
    /// The default is a fiftieth of [`handshakes`](Self::handshakes), and at once
    /// as many as one address may have connections. Caps on what is open do not stop who opens and hangs
    /// up; the more of that one address may do, the fewer addresses keep everybody else out.
    pub const fn handshakes_per_peer(mut self, quota: Quota) -> Self {
        self.handshakes_per_peer = Some(quota);
        self
    }

    /// Failed logins of one client address. Over it, `429` before any connection is made, with a
    /// `Retry-After` that says when.
    ///
    /// The default is 10 a minute, 20 at once. A login fails when the
    /// [verifier](crate::Authenticate) says [`Rejected`](crate::AuthFailure::Rejected) or
    /// [`Required`](crate::AuthFailure::Required); one that never comes is a quarter of one. The last four
    /// distinct credentials of an address are counted once each, so that a page with a stale token shuts
    /// nobody out; and a login that succeeds clears nothing. What is tried at the same moment, before the
    /// first has failed, is a debt. The more of it one address may have, the more it can guess.
    pub const fn failed_logins_per_peer(mut self, quota: Quota) -> Self {
        self.failed_logins_per_peer = Some(quota);
        self
    }

    /// Something that goes by addresses was set.
    pub(super) fn needs_address(&self) -> bool {
        let each = self.max_connections_per_peer.is_some() && self.each_of_connections().is_some();
        each || self.handshakes_per_peer.is_some() || self.failed_logins_per_peer.is_some()
    }

    /// How often logins of one address may fail; `None` if addresses tell nothing.
    pub(super) fn each_of_failed_logins(&self) -> Option<Quota> {
        let default = || self.each_of_connections().map(|_| FAILED_LOGINS);
        self.failed_logins_per_peer.or_else(default)
    }

    /// How many connections one address may have; `None` if as many as there are.
    pub(super) fn each_of_connections(&self) -> Option<NonZeroUsize> {
        let share = share_of(self.max_connections).min(MAX_CONNECTIONS_PER_PEER);
        let each = self.max_connections_per_peer.unwrap_or(share);
        (each < self.max_connections).then_some(each)
    }

    /// The same of those who wait for their credentials.
    pub(super) fn each_of_unauthenticated(&self) -> Option<NonZeroUsize> {
        self.each_of_connections().map(|_| share_of(self.max_unauthenticated))
    }

    /// How fast one address may come; `None` if as fast as all.
    pub(super) fn each_of_handshakes(&self) -> Option<Quota> {
        let share = || {
            let at_once = u32::try_from(self.each_of_connections()?.get()).unwrap_or(u32::MAX);
            Some(self.handshakes.share(ADDRESSES_TO_USE_THE_RATE_UP).burst(at_once))
        };
        self.handshakes_per_peer.or_else(share)
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self::new()
    }
}

/// What one address may have of a pool, unless the operator says otherwise.
fn share_of(pool: NonZeroUsize) -> NonZeroUsize {
    NonZeroUsize::new(pool.get() / 4).map_or(A_FEW, |it| it.max(A_FEW))
}

// The reasons stand in the table of `Admission`.
const MAX_CONNECTIONS: NonZeroUsize = at_least_one(10_000);
const MAX_UNAUTHENTICATED: NonZeroUsize = at_least_one(1_000);
const MAX_CONNECTIONS_PER_PEER: NonZeroUsize = at_least_one(256);
const HANDSHAKES: Quota = Quota::per_second(500).burst(1_000);
const FAILED_LOGINS: Quota = Quota::per_minute(10).burst(20);
const ADDRESSES_TO_USE_THE_RATE_UP: NonZeroU32 = NonZeroU32::new(50).unwrap();

/// A few people with a few pages each.
const A_FEW: NonZeroUsize = at_least_one(16);

const fn at_least_one(count: usize) -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(count - 1)
}
