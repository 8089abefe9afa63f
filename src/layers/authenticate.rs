//! Verify credentials: what an application says of a peer that is not known yet.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    connection::Connection,
    login::{Login, Moment, SessionKey, SessionLimits},
    message::{EncodeError, Message},
    opaque::opaque_debug,
    principal::Principal,
};

/// Verifies credentials.
pub trait Authenticate: Send + Sync + 'static {
    /// Who a verified peer is.
    type User: Principal;

    /// Verifies `credentials`: the first message of `connection`, from a peer that is not known yet.
    ///
    /// The future is dropped when the authentication deadline passes.
    fn authenticate(
        &self,
        credentials: &Message,
        connection: &Connection,
    ) -> impl Future<Output = Result<Session<Self::User>, AuthFailure>> + Send;
}

/// A verified peer: who it is, until when, and what it is told.
#[must_use]
pub struct Session<U> {
    pub(super) user: Arc<U>,
    pub(super) expires: Option<Instant>,
    pub(super) reply: Option<Message>,
    /// By when it was known.
    began: Moment,
    id: Option<SessionKey>,
    pub(super) limits: Option<SessionLimits>,
}

/// Why credentials were not accepted. The peer is not told whether they were any, or whether they were wrong.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthFailure {
    /// The message was not credentials.
    Required,
    /// The credentials are wrong, expired or locked.
    Rejected,
    /// There are no credentials to ask for: the handshake should have said who it is, and did not.
    Unidentified,
    /// It could not be decided: the verifier's backend failed.
    Unavailable,
    /// Too many failed before, and these were not looked at. The peer is told to come back later.
    Throttled,
}

/// A function that verifies credentials; made by
/// [`RequireAuthLayer::from_fn`](crate::RequireAuthLayer::from_fn).
#[derive(Clone)]
pub struct AuthenticateFn<F> {
    verify: F,
}

impl<F> AuthenticateFn<F> {
    pub(super) fn new(verify: F) -> Self {
        Self { verify }
    }
}

impl<F, Fut, U> Authenticate for AuthenticateFn<F>
where
    F: Fn(Message, Connection) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Session<U>, AuthFailure>> + Send,
    U: Principal,
{
    type User = U;

    fn authenticate(
        &self,
        credentials: &Message,
        connection: &Connection,
    ) -> impl Future<Output = Result<Session<U>, AuthFailure>> + Send {
        (self.verify)(credentials.clone(), connection.clone())
    }
}

impl AuthFailure {
    /// Whether something was tried and was wrong: an outage of ours must not lock users out.
    pub(super) fn is_a_guess(self) -> bool {
        matches!(self, Self::Required | Self::Rejected)
    }
}

impl<U> Session<U> {
    /// A session of `user` that does not end by itself.
    pub fn new(user: U) -> Self {
        let (expires, reply, id, limits) = Default::default();
        Self { user: Arc::new(user), expires, reply, began: Moment::now(), id, limits }
    }

    /// Whose session it is.
    pub fn user(&self) -> &U {
        &self.user
    }

    /// A session that was known before, as by a ticket.
    pub(crate) fn restored(user: U, began: Moment, id: Option<SessionKey>) -> Self {
        Self { began, id, ..Self::new(user) }
    }

    pub(crate) fn expires(&self) -> Option<Instant> {
        self.expires
    }

    pub(crate) fn began(&self) -> Moment {
        self.began
    }

    pub(crate) fn key(&self) -> Option<SessionKey> {
        self.id
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn into_user(self) -> Arc<U> {
        self.user
    }

    /// Ends the session `time` from now: the connection then closes with 4401.
    pub fn expires_in(mut self, time: Duration) -> Self {
        self.expires = Instant::now().checked_add(time);
        self
    }

    /// Names the session, so that [`Connections::session`](crate::Connections::session) finds what came in
    /// by it: what the application calls it by, as the value of its cookie. Kept as a hash.
    pub fn session_id(mut self, id: impl AsRef<[u8]>) -> Self {
        self.id = Some(SessionKey::of(id.as_ref()));
        self
    }

    /// Bounds what the peer may in this session. Default: nothing but the endpoint's layers does.
    pub fn limits(mut self, limits: SessionLimits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// The login by it, of a peer that asked for it at `asked`.
    pub(crate) fn login(&self, asked: Moment) -> Login {
        Login { began: self.began.min(asked), session: self.id }
    }

    /// Tells the peer that it is authenticated, in the endpoint's own words:
    /// [`Message::json`](Message::json) writes them as [`Json`](crate::Json) would.
    pub fn reply(mut self, message: Message) -> Self {
        self.reply = Some(message);
        self
    }
}

/// A welcome that cannot be written is a fault of the server.
impl From<EncodeError> for AuthFailure {
    fn from(_: EncodeError) -> Self {
        Self::Unavailable
    }
}

impl<U> Clone for Session<U> {
    fn clone(&self) -> Self {
        let Self { user, expires, reply, began, id, limits } = self;
        let (user, reply, limits) = (Arc::clone(user), reply.clone(), limits.clone());
        Self { user, expires: *expires, reply, began: *began, id: *id, limits }
    }
}

opaque_debug! { [F] AuthenticateFn<F>; }

impl<U: Principal> fmt::Debug for Session<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("user", &self.user.id()).finish_non_exhaustive()
    }
}
