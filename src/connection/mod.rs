//! Push to a connection, and end it, from anywhere in the application.

mod records;

use std::{
    any::TypeId,
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    attached::Attached,
    audit::{self, Audit, AuditEvent, Closed, throttle},
    client_addr::ClientAddr,
    close::Close,
    connection_id::ConnectionId,
    login::{Login, SessionKey, SessionLimits},
    message::Message,
    outbound::{
        OutboundLimits, Outlet, SendError,
        budget::{Charge, MemoryBudget},
    },
    principal::Principal,
    quota::{FailedLogins, Failure, Measured, Meter, RateKeyValue, clock},
    signals::{SignalSlot, Signals},
};

/// A handle on one connection. Cheap to clone; a kept clone does not keep the connection open.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

struct Shared {
    id: ConnectionId,
    client: Option<ClientAddr>,
    /// Where those of its endpoint are counted.
    failed_logins: Option<Arc<FailedLogins>>,
    opened: Instant,
    audit: Audit,
    outbound: Arc<Outlet>,
    /// What is spoken, where that has a name. Boxed: few have one.
    protocol: OnceLock<Box<Arc<str>>>,
    /// What its session may, if that was ever bounded.
    limited: OnceLock<Box<Mutex<Option<Meter>>>>,
    /// Where it is to be found, and under which number.
    registered: OnceLock<(Arc<dyn Registry>, u64)>,
    /// Set once, by the authentication layer; read by audit records and per-user limits.
    user: OnceLock<Identity>,
    /// The type of the codec that the stack has; read by layers that write beside it.
    codec: OnceLock<TypeId>,
    /// Microseconds plus one; zero while no pong has come.
    rtt: AtomicU64,
    signals: SignalSlot,
    /// What was refused lately, so that a flood of refusals is not a flood of records.
    refused: throttle::Refusals,
    /// The same for joins.
    joined: throttle::Joins,
    /// Set at the end, for the hooks that are told of it. Boxed: a kept handle need not hold the place
    /// for it from the beginning.
    closed: OnceLock<Box<Closed>>,
    /// What others keep for it as long as it lasts.
    attached: Attached,
}

/// Who the peer was verified to be.
struct Identity {
    /// `None` where users have no tenants.
    tenant: Option<Arc<str>>,
    user: Arc<str>,
    /// What it came in by, where that has a name.
    session: Option<SessionKey>,
}

/// Where connections can be found by whose they are.
pub(crate) trait Registry: Send + Sync {
    /// `connection` has turned out whose it is. An error is why it is not let in.
    fn enter(&self, connection: &Connection, serial: u64, login: Login) -> Result<(), Close>;

    /// It is over.
    fn leave(&self, connection: &Connection, serial: u64);
}

impl Connection {
    pub(crate) fn new(
        client: Option<ClientAddr>,
        limits: OutboundLimits,
        budget: Option<&MemoryBudget>,
        audit: Audit,
    ) -> Self {
        let outbound = Arc::new_cyclic(|queue: &Weak<Outlet>| {
            Outlet::new(limits, budget.map(|it| it.open(queue.clone())))
        });
        Self {
            shared: Arc::new(Shared {
                id: ConnectionId::new(),
                client,
                failed_logins: None,
                opened: Instant::now(),
                audit,
                outbound,
                protocol: OnceLock::new(),
                limited: OnceLock::new(),
                registered: OnceLock::new(),
                user: OnceLock::new(),
                codec: OnceLock::new(),
                rtt: AtomicU64::new(0),
                signals: SignalSlot::default(),
                refused: throttle::Refusals::default(),
                joined: throttle::Joins::default(),
                closed: OnceLock::new(),
                attached: Attached::default(),
            }),
        }
    }

    /// Counts its failed logins there. To be called before there is a second handle.
    pub(crate) fn with_failed_logins(mut self, failed: Option<Arc<FailedLogins>>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.failed_logins = failed;
        }
        self
    }

    /// The connection's id.
    pub fn id(&self) -> ConnectionId {
        self.shared.id
    }

    /// The address of the socket that the connection came in on, where the server told it: behind a proxy
    /// the proxy's. Limits go by [`client_ip`](Self::client_ip).
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.shared.client.map(|it| it.peer())
    }

    /// The client's address, where it is known: that of the socket, or the one that a
    /// [trusted proxy](crate::TrustedProxies) vouches for. Limits, shares and records go by it.
    pub fn client_ip(&self) -> Option<IpAddr> {
        self.shared.client.map(|it| it.ip())
    }

    /// The id of the user, once the peer is authenticated.
    pub fn user_id(&self) -> Option<&Arc<str>> {
        self.shared.user.get().map(|it| &it.user)
    }

    /// The tenant of the user, once the peer is authenticated; `None` for users without one. Ids are
    /// unique within a tenant only.
    pub fn tenant(&self) -> Option<&Arc<str>> {
        self.shared.user.get().and_then(|it| it.tenant.as_ref())
    }

    /// The subprotocol that the handshake agreed on, of the endpoint's
    /// [`Subprotocols`](crate::upgrade::Subprotocols).
    pub fn protocol(&self) -> Option<&str> {
        self.shared.protocol.get().map(|it| &***it)
    }

    /// This is spoken.
    pub(crate) fn set_protocol(&self, protocol: Arc<str>) {
        let _ = self.shared.protocol.set(Box::new(protocol));
    }

    /// The last round trip of a ping and its pong. One during which a message was being handled is
    /// not counted: the pong may have been waiting.
    pub fn rtt(&self) -> Option<Duration> {
        let micros = self.shared.rtt.load(Ordering::Relaxed);
        micros.checked_sub(1).map(Duration::from_micros)
    }

    /// The peer is written to by codecs of this type.
    pub(crate) fn set_codec(&self, codec: TypeId) {
        let _ = self.shared.codec.set(codec);
    }

    /// The type of the codec that the peer is written to by, where a layer told it.
    pub(crate) fn codec(&self) -> Option<TypeId> {
        self.shared.codec.get().copied()
    }

    /// Sends the peer a message that it did not ask for.
    ///
    /// # Errors
    ///
    /// [`SendError::TooLarge`] if no message to the peer may be so large;
    /// [`SendError::Full`] if the peer reads too slowly, whereupon the connection closes with 1013;
    /// [`SendError::Closed`] if it is closed or closing.
    pub fn push(&self, message: Message) -> Result<(), SendError> {
        self.shared.outbound.push(message.detached()).map(|_held| ())
    }

    /// Sends a value that a later one of the same `key` replaces while it still waits: a progress, a place, a
    /// price. A peer that reads slowly gets fewer of them, the last one always, and never one after a later one.
    ///
    /// A value that is replaced leaves its place to its successor. They go out behind all that was
    /// [pushed](Self::push) before, and once the driver has begun to write, one of a key may still be under way
    /// while the next waits. So a key costs no more than two values, and 256 keys can wait at once; a value of
    /// yet another is queued as any message.
    ///
    /// # Errors
    ///
    /// Those of [`push`](Self::push). A value that is too large replaces nothing.
    pub fn push_latest(&self, key: &str, message: Message) -> Result<(), SendError> {
        self.shared.outbound.push_latest(key, message.detached())
    }

    /// How many bytes wait for the peer: what was pushed and what its rooms have said, that its socket has
    /// not taken. Who sends much looks here before it passes
    /// [`max_outbound_bytes`](crate::ConnectionConfig::max_outbound_bytes), which closes the connection.
    pub fn backlog(&self) -> usize {
        self.shared.outbound.backlog()
    }

    /// Closes the connection. The first reason given wins; the call does not wait.
    ///
    /// Whatever the reason, what was accepted for the peer before goes out first, if the peer takes it
    /// within [`close_timeout`](crate::ConnectionConfig::close_timeout). With [`Close::NORMAL`] and
    /// [`Close::GOING_AWAY`] the message that is being handled is still answered; with any other the
    /// handler is dropped at once.
    pub fn close(&self, close: impl Into<Close>) {
        self.close_at_its_turn(close.into());
        self.wake();
    }

    /// The same, when the driver looks next: until it is [woken](Self::wake) it may be asleep.
    pub(crate) fn close_at_its_turn(&self, close: Close) {
        self.shared.signals.close(close);
    }

    pub(crate) fn wake(&self) {
        self.shared.outbound.notify();
    }

    pub(crate) fn outbound(&self) -> &Arc<Outlet> {
        &self.shared.outbound
    }

    /// Where what the connection's input holds is charged, if the process has a budget.
    pub(crate) fn input_charge(&self) -> Option<Charge> {
        self.shared.outbound.account().map(|it| Charge::new(Arc::clone(it)))
    }

    pub(crate) fn opened(&self) -> Instant {
        self.shared.opened
    }

    /// The session that the peer came in by, if that has a name.
    pub(crate) fn session(&self) -> Option<SessionKey> {
        self.shared.user.get().and_then(|it| it.session)
    }

    /// It is to be found in `registry` from now on, as `serial`.
    pub(crate) fn set_registry(&self, registry: Arc<dyn Registry>, serial: u64) {
        let _ = self.shared.registered.set((registry, serial));
    }

    /// It is over, and in no registry any more.
    pub(crate) fn leave_registry(&self) {
        if let Some((registry, serial)) = self.shared.registered.get() {
            registry.leave(self, *serial);
        }
    }

    /// What others keep for it as long as it lasts.
    pub(crate) fn attached(&self) -> &Attached {
        &self.shared.attached
    }

    /// Its session may this from now on.
    pub(crate) fn limit(&self, limits: &SessionLimits) {
        self.shared.outbound.bound(limits.outbound);
        let meter = limits.messages.map(Meter::of);
        if meter.is_none() && self.shared.limited.get().is_none() {
            return;
        }
        let limited = self.shared.limited.get_or_init(Box::default);
        *limited.lock().unwrap_or_else(PoisonError::into_inner) = meter;
    }

    /// Charges a message to its session; an error is why it is one too many.
    #[inline]
    pub(crate) fn charge_session(&self) -> Result<(), Close> {
        let Some(limited) = self.shared.limited.get() else { return Ok(()) };
        // Held for a clone.
        let meter = limited.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match meter {
            Some(meter) if meter.take(NonZeroU32::MIN) != Measured::Within => {
                self.refuse("auth", "session.rate", None, Some(meter.limit().into()));
                Err(Close::RATE_LIMITED)
            }
            _ => Ok(()),
        }
    }

    /// Ends the authentication deadline. Called by the one layer that verified the peer.
    ///
    /// # Errors
    ///
    /// Why `user` is not let in: it was thrown out since the login began, or is here too often.
    pub(crate) fn authenticated(
        &self,
        user: &impl Principal,
        expires: Option<Instant>,
        login: Login,
    ) -> Result<(), Close> {
        self.shared.user.get_or_init(|| Identity {
            tenant: user.tenant().map(Arc::from),
            user: user.id().into(),
            session: login.session,
        });
        if let Some((registry, serial)) = self.shared.registered.get() {
            registry.enter(self, *serial, login)?;
        }
        self.shared.signals.authenticated(expires);
        self.record(AuditEvent::Authenticated(audit::Authenticated {}));
        Ok(())
    }

    /// Whether so many logins from its address failed, since it was let in, that another is not looked at.
    pub(crate) fn must_wait_to_log_in(&self) -> bool {
        let failed = self.shared.failed_logins.as_ref().zip(self.client_ip());
        failed.is_some_and(|(failed, ip)| failed.wait(ip, clock::now()).is_some())
    }

    /// `credentials` were wrong, or none.
    pub(crate) fn login_failed(&self, credentials: &Message) {
        self.count_login(Failure::Tried(RateKeyValue::of(credentials.as_bytes())));
    }

    fn count_login(&self, failure: Failure) {
        if let Some((failed, ip)) = self.shared.failed_logins.as_ref().zip(self.client_ip()) {
            failed.count(ip, failure, clock::now());
        }
    }

    pub(crate) fn set_rtt(&self, rtt: Duration) {
        let micros = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX - 1);
        self.shared.rtt.store(micros.saturating_add(1), Ordering::Relaxed);
    }

    /// What was asked for since the last call, if anything.
    pub(crate) fn take_signals(&self) -> Option<Signals> {
        self.shared.signals.take()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id())
            .field("peer", &self.peer_addr())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
