//! Admit a connection only while there is room, and not too many at once.
//!
//! What is counted stands with [`Admission`]. The order: whether too many logins from there failed; room, which costs nothing to look for; then the
//! rate of the address, so that an address over its own share does not spend what all share; then the rate
//! of all.

use std::{
    fmt,
    net::IpAddr,
    num::{NonZeroU32, NonZeroUsize},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use http::HeaderValue;

use super::{
    admission::Admission,
    origin::TrustedRequest,
    rejection::{UpgradeRejection, UpgradeRejectionKind},
};
use crate::client_addr::ClientAddr;
use crate::quota::{
    AddressRate, Counts, FailedLogins, Full, Limits, Measured, Meter, TooFast, clock,
};

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
    /// The address whose share it is part of.
    address: Option<IpAddr>,
    unauthenticated: bool,
}

/// Counts the connections of one endpoint.
pub(super) struct Gate {
    connections: Limits,
    unauthenticated: Limits,
    /// Addresses have no shares: the operator has said that they tell nothing.
    shared: bool,
    /// The operator has set what goes by addresses, and would not be told that it does not hold.
    needs_address: bool,
    rate: Meter,
    rate_of_each: Option<AddressRate>,
    failed_logins: Option<Arc<FailedLogins>>,
    /// One lock for all counts, so that they are checked and taken together. Held for a few
    /// instructions, twice or three times in a connection's life.
    open: Mutex<Open>,
    warned: AtomicBool,
    warned_of_one: AtomicBool,
}

/// Whether the first message will be credentials.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Login {
    Due,
    /// The application knows who it is: the failures of others behind the same address are not his.
    Done,
}

#[derive(Debug, Default)]
struct Open {
    connections: Counts,
    unauthenticated: Counts,
}

impl Gate {
    pub(super) fn new(limits: &Admission) -> Self {
        let pool = |all: NonZeroUsize, each: Option<NonZeroUsize>| Limits {
            all,
            each: each.unwrap_or(NonZeroUsize::MAX),
        };
        let rate_of_each = limits
            .each_of_handshakes()
            .map(|it| AddressRate::new(it.interval(), it.at_once(), ADDRESSES));
        let failed_logins = limits.each_of_failed_logins();
        Self {
            connections: pool(limits.max_connections, limits.each_of_connections()),
            unauthenticated: pool(limits.max_unauthenticated, limits.each_of_unauthenticated()),
            shared: limits.each_of_connections().is_none()
                && rate_of_each.is_none()
                && failed_logins.is_none(),
            needs_address: limits.needs_address(),
            rate: Meter::of(limits.handshakes),
            rate_of_each,
            failed_logins: failed_logins.map(|it| Arc::new(FailedLogins::new(it))),
            open: Mutex::default(),
            warned: AtomicBool::new(false),
            warned_of_one: AtomicBool::new(false),
        }
    }

    /// Takes room for `request`, which came from `client`.
    pub(super) fn admit(
        self: &Arc<Self>,
        request: TrustedRequest,
        client: Option<ClientAddr>,
        login: Login,
    ) -> Result<AdmittedRequest, UpgradeRejection> {
        let address = client.filter(|_| !self.shared).map(|it| it.ip());
        if client.is_none() {
            self.warn_of_missing_addresses();
            if self.needs_address {
                return Err(UpgradeRejectionKind::PeerMissing.into());
            }
        }
        if login == Login::Due
            && let Some((failed, address)) = self.failed_logins.as_ref().zip(address)
            && let Some(wait) = failed.enter(address, clock::now())
        {
            let kind = UpgradeRejectionKind::TooManyFailedLogins;
            return Err(UpgradeRejection::for_a_while(kind, wait));
        }
        // First, so that a peer without room does not slow down the others. A refusal
        // after it drops the permit again.
        let permit = self.take(address)?;
        // A client that a proxy has named is no proxy.
        if let Some(client) = client.filter(|it| it.ip() == it.peer().ip()) {
            self.warn_of_one_address(client.ip());
        }
        if let Some((rate, address)) = self.rate_of_each.as_ref().zip(address) {
            rate.take(address, clock::now())
                .map_err(|TooFast| UpgradeRejectionKind::TooFastFromPeer)?;
        }
        if self.rate.take(NonZeroU32::MIN) != Measured::Within {
            return Err(UpgradeRejectionKind::TooFast.into());
        }
        Ok(AdmittedRequest { accept: request.accept, permit })
    }

    fn take(
        self: &Arc<Self>,
        address: Option<IpAddr>,
    ) -> Result<ConnectionPermit, UpgradeRejectionKind> {
        let mut open = self.open();
        open.connections.check(self.connections, address).map_err(|full| match full {
            Full::Each => UpgradeRejectionKind::TooManyFromPeer,
            Full::All => UpgradeRejectionKind::TooManyConnections,
        })?;
        open.unauthenticated.check(self.unauthenticated, address).map_err(|full| match full {
            Full::Each => UpgradeRejectionKind::TooManyUnauthenticatedFromPeer,
            Full::All => UpgradeRejectionKind::TooManyUnauthenticated,
        })?;
        open.connections.take(address);
        open.unauthenticated.take(address);
        drop(open);
        Ok(ConnectionPermit { gate: Arc::clone(self), address, unauthenticated: true })
    }

    /// Once. What limits this address is a limit for all then.
    fn warn_of_one_address(&self, address: IpAddr) {
        let open = self.open();
        let alone = open.connections.all() == A_CROWD && open.connections.is_all_of(address);
        drop(open);
        if alone && !self.shared && !self.warned_of_one.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %address,
                "the first {A_CROWD} connections are all of one address: if it is a proxy's, each limit for an \
                 address is one for everybody. Say with `trusted_proxies` whose word counts"
            );
        }
    }

    /// Once: it is the operator who has to know, and every handshake would say it again.
    fn warn_of_missing_addresses(&self) {
        if !self.shared && !self.warned.swap(true, Ordering::Relaxed) {
            let answered = if self.needs_address { "500" } else { "as if it had none" };
            tracing::warn!(
                answered,
                "a handshake came without the address of its socket: this endpoint's limits for each \
                 address do not hold. Say with `peer_from` where it is, or set max_connections_per_peer \
                 to max_connections if addresses tell nothing here"
            );
        }
    }

    /// Whether every permit was given back.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let open = self.open();
        (open.connections.all(), open.unauthenticated.all()) == (0, 0)
            && self.networks_of(&open) == 0
    }

    /// In how many networks there is anything open.
    #[cfg(test)]
    pub(super) fn networks(&self) -> usize {
        self.networks_of(&self.open())
    }

    #[cfg(test)]
    fn networks_of(&self, open: &Open) -> usize {
        open.connections.networks().max(open.unauthenticated.networks())
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionPermit {
    /// Where failed logins are counted, if they are.
    pub(super) fn failed_logins(&self) -> Option<Arc<FailedLogins>> {
        self.gate.failed_logins.clone()
    }

    /// Frees the place among the unauthenticated; the connection keeps its place among all.
    ///
    /// To be called when there is a verdict: the peer was authenticated, or the connection begins to
    /// close; and at the start on an endpoint without authentication. Once is enough.
    pub(crate) fn verdict(&mut self) {
        if std::mem::take(&mut self.unauthenticated) {
            self.gate.open().unauthenticated.give_back(self.address);
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.verdict();
        self.gate.open().connections.give_back(self.address);
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
        f.debug_struct("Gate")
            .field("connections", &self.connections)
            .field("unauthenticated", &self.unauthenticated)
            .finish_non_exhaustive()
    }
}

/// More than one household or one person's tabs, and below what one address may have.
const A_CROWD: usize = 100;

/// Networks whose rate is told apart; past it those who come share one.
const ADDRESSES: usize = 100_000;
