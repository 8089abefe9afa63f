//! Let nothing through before the peer is authenticated.

mod progress;

use std::{
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

use self::progress::{Progress, refused};
use crate::{
    close::{Close, CloseReason},
    connection::Connection,
    hooks::Hooks,
    layers::{
        Anonymous, AuthFailure, Authenticate, AuthenticateFn, Authenticated, Failure,
        HandlerResult, Handshake, Inbound, Reply, Session,
        binding::{Binding, Own},
        future::{ResponseFuture, Unchanged},
        ready_on_call::ReadyOnCall,
    },
    login::Moment,
    message::Message,
    opaque::opaque_debug,
    principal::Principal,
};

/// What happens when a peer has been authenticated, before its next message is read.
type OnOpen<U> = dyn Fn(&Authenticated<U>, &Connection) + Send + Sync;

/// Layer that applies [`RequireAuth`].
///
/// The first message on a connection is credentials and nothing else is looked at: an
/// [`Authenticate`] verifies it, and the layer's inner service is called only for what comes after.
///
/// 1. The first message goes to [`Authenticate::authenticate`]. While it is pending nothing is read.
/// 2. `Ok`: the session's reply, if it has one, is sent; every later message carries
///    [`Authenticated<U>`]; the authentication deadline ends, and the session's own begins.
/// 3. `Err`: the connection closes. There is one attempt for each.
/// 4. The deadline ([`ConnectionConfig::auth_timeout`](crate::ConnectionConfig::auth_timeout)) runs
///    from the accepted handshake and includes the verifier's time. When it passes, 4401.
///
/// Refusals all look the same to the peer: 4403 `authentication failed`. What it was stands in the audit
/// record. A verifier that fails or panics is 1011; after
/// [too many](crate::Admission::failed_logins_per_peer) failures of an address it is not asked: 1013.
///
/// # Example
///
/// ```
/// use tower_websocket::{AuthFailure, Message, RequireAuthLayer, Session};
///
/// let layer = RequireAuthLayer::from_fn(async |credentials, _connection| {
///     match credentials.as_text().and_then(|text| text.strip_prefix("ticket ")) {
///         Some("t-1") => Ok(Session::new("ada").reply(Message::text("welcome"))),
///         Some(_) => Err(AuthFailure::Rejected),
///         None => Err(AuthFailure::Required),
///     }
/// });
/// # fn is_one<A: tower_websocket::Authenticate<User = &'static str>>(_: RequireAuthLayer<A>) {}
/// # is_one(layer);
/// ```
///
/// # Example: a verifier with a state, and users with tenants
///
/// ```
/// use std::collections::HashMap;
/// use tower_websocket::{
///     AuthFailure, Authenticate, Connection, Message, Principal, RequireAuthLayer, Session,
/// };
///
/// #[derive(Clone)]
/// struct User {
///     tenant: String,
///     id: String,
/// }
///
/// impl Principal for User {
///     fn id(&self) -> &str {
///         &self.id
///     }
///
///     fn tenant(&self) -> Option<&str> {
///         Some(&self.tenant)
///     }
/// }
///
/// struct Tickets(HashMap<String, User>);
///
/// impl Authenticate for Tickets {
///     type User = User;
///
///     async fn authenticate(
///         &self,
///         credentials: &Message,
///         _: &Connection,
///     ) -> Result<Session<User>, AuthFailure> {
///         let ticket = credentials.as_text().ok_or(AuthFailure::Required)?;
///         let user = self.0.get(ticket).ok_or(AuthFailure::Rejected)?;
///         let welcome = Message::json(&("welcome", user.id()))?;
///         Ok(Session::new(user.clone()).reply(welcome))
///     }
/// }
///
/// let layer = RequireAuthLayer::new(Tickets(HashMap::new()));
/// # let _ = layer;
/// ```
///
/// # Example: users whom the application has logged in by cookie
///
/// See [`HandshakeIdentity`](crate::HandshakeIdentity). A peer without one may be asked for credentials instead:
///
/// ```
/// use tower_websocket::{AuthFailure, Authenticate, RequireAuthLayer, Session, layers::Handshake};
///
/// fn door<A: Authenticate<User = String>>(tickets: A) -> RequireAuthLayer<A> {
///     RequireAuthLayer::first_of(Handshake::<String>::new(), tickets)
/// }
/// ```
///
/// # Deployment
///
/// Compare secrets in constant time, never with `==`: how long a refusal takes must not tell how much
/// of a guess was right. The crate `subtle` does it.
///
/// Each connection waits for one verdict at most, so there are never more of them than
/// [`Admission::max_unauthenticated`](crate::Admission::max_unauthenticated). If the backend takes
/// fewer at once, hold a permit of a `tokio::sync::Semaphore` in [`Authenticate::authenticate`]: the
/// wait for it counts as time of the verifier's, and who is still waiting at the deadline is closed
/// with 4401 and waits no longer.
#[must_use]
pub struct RequireAuthLayer<A: Authenticate> {
    authenticator: Arc<A>,
    on_open: Hooks<OnOpen<A::User>>,
    way: Way,
}

/// What counts as a login.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// The first message.
    Message,
    /// The handshake, or else the first message.
    Either,
    /// The handshake; a peer that has shown nothing by then is answered 401.
    Handshake,
    /// The handshake; a peer that has shown nothing by then is let in, to be told so in a close frame.
    HandshakeThenClose,
}

impl<A: Authenticate> RequireAuthLayer<A> {
    /// Authenticates every connection with `authenticator`.
    pub fn new(authenticator: A) -> Self {
        Self::by(Way::Message, authenticator)
    }

    /// Lets in whom the handshake has told of ([`HandshakeIdentity`](crate::HandshakeIdentity)); whoever it has not is asked for
    /// credentials, which `authenticator` verifies.
    ///
    /// Where there are both, the handshake holds: credentials are then a message like any other, as they
    /// are after any login.
    pub fn first_of(_: Handshake<A::User>, authenticator: A) -> Self {
        Self::by(Way::Either, authenticator)
    }

    fn by(way: Way, authenticator: A) -> Self {
        Self { authenticator: Arc::new(authenticator), on_open: Hooks::default(), way }
    }

    /// Calls `hook` for each authenticated peer, after those that were given before. If one panics, the
    /// others are called all the same, and the connection closes with 1011.
    pub fn on_open(
        mut self,
        hook: impl Fn(&Authenticated<A::User>, &Connection) + Send + Sync + 'static,
    ) -> Self {
        self.on_open.add(Arc::new(hook));
        self
    }
}

impl<U: Principal> RequireAuthLayer<Handshake<U>> {
    /// Lets in whom the handshake has told of ([`HandshakeIdentity`](crate::HandshakeIdentity)), and nobody else: without an identity
    /// the handshake is answered `401`, and there is no connection.
    ///
    /// The endpoint has to be told to read identities
    /// ([`handshake_identity`](crate::WebSocketEndpoint::handshake_identity)).
    pub fn handshake() -> Self {
        Self::by(Way::Handshake, Handshake::new())
    }

    /// Answers 101 to a peer without an identity, and closes with 4401 `not authenticated` at once.
    ///
    /// For pages: a browser shows them a handshake that was refused as a connection that was lost (1006),
    /// whatever the status was, so that they try again and again instead of asking for a login.
    pub fn refuse_after_open(mut self) -> Self {
        self.way = Way::HandshakeThenClose;
        self
    }
}

impl<F, Fut, U> RequireAuthLayer<AuthenticateFn<F>>
where
    F: Fn(Message, Connection) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Session<U>, AuthFailure>> + Send,
    U: Principal,
{
    /// Authenticates every connection with `verify`, which is given its first message.
    pub fn from_fn(verify: F) -> Self {
        Self::new(AuthenticateFn::new(verify))
    }
}

impl<A: Authenticate, S> Layer<S> for RequireAuthLayer<A> {
    type Service = RequireAuth<S, A>;

    fn layer(&self, inner: S) -> Self::Service {
        let inner = ReadyOnCall::new(inner);
        let (binding, progress) = (Binding::default(), self.progress());
        RequireAuth { inner, layer: self.clone(), binding, progress }
    }
}

/// Hands messages on only once their sender is authenticated: see [`RequireAuthLayer`].
pub struct RequireAuth<S, A: Authenticate> {
    /// Made ready for a message that reaches it, never for credentials.
    inner: ReadyOnCall<S>,
    layer: RequireAuthLayer<A>,
    binding: Binding,
    progress: Progress<A::User>,
}

impl<S, A: Authenticate> RequireAuth<S, A> {
    /// The proof for a message that is not the first: whose it is, only its own connection's may have.
    fn verified(&mut self, _: &Own) -> Option<&Authenticated<A::User>> {
        if let Progress::Asked(slot) = &self.progress {
            let proof = slot.get()?.clone();
            self.progress = Progress::Done(proof);
        }
        match &self.progress {
            Progress::Done(proof) => Some(proof),
            Progress::Nothing | Progress::Asked(_) => None,
        }
    }
}

impl<S, A> Service<Inbound<Message, Anonymous>> for RequireAuth<S, A>
where
    S: Service<Inbound<Message, Authenticated<A::User>>, Response = Reply<Message>>,
    S::Error: Into<Failure<Message>>,
    A: Authenticate,
{
    type Response = Reply<Message>;
    type Error = Failure<Message>;
    type Future = ResponseFuture<S, Inbound<Message, Authenticated<A::User>>, Message>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, inbound: Inbound<Message, Anonymous>) -> Self::Future {
        let own = match self.binding.admit("auth", inbound.connection()) {
            Ok(own) => own,
            Err(close) => return ResponseFuture::refused(close),
        };
        if let Some(proof) = self.verified(&own).cloned() {
            if let Err(close) = inbound.connection().charge_session() {
                return ResponseFuture::refused(close);
            }
            let (message, Anonymous { .. }, connection) = inbound.into_parts();
            let inbound = Inbound::new(message, proof, connection);
            return self.inner.call(inbound, Unchanged);
        }
        if let Progress::Asked(_) = self.progress {
            // The one attempt was made, and its future dropped before it could say how it ended.
            return ResponseFuture::refused(Close::because(CloseReason::AuthFailed));
        }
        let slot = Arc::new(OnceLock::new());
        self.progress = Progress::Asked(Arc::clone(&slot));
        ResponseFuture::boxed(Box::pin(verify(self.layer.clone(), inbound, slot)))
    }
}

/// Asks the authenticator.
async fn verify<A: Authenticate>(
    layer: RequireAuthLayer<A>,
    inbound: Inbound<Message, Anonymous>,
    slot: Arc<OnceLock<Authenticated<A::User>>>,
) -> HandlerResult<Message> {
    let (asked, connection) = (Moment::now(), inbound.connection());
    if connection.must_wait_to_log_in() {
        return Err(refused(AuthFailure::Throttled, connection).into());
    }
    match layer.authenticator.authenticate(&inbound.message, connection).await {
        Ok(session) => {
            let welcome = layer.admit(session, asked, connection, &slot)?;
            Ok(welcome.map_or(Reply::none(), Reply::one))
        }
        Err(failure) => {
            failure.is_a_guess().then(|| connection.login_failed(&inbound.message));
            Err(refused(failure, connection).into())
        }
    }
}

impl<A: Authenticate> Clone for RequireAuthLayer<A> {
    fn clone(&self) -> Self {
        let Self { authenticator, on_open, way } = self;
        Self { authenticator: Arc::clone(authenticator), on_open: on_open.clone(), way: *way }
    }
}

opaque_debug! {
    [A: Authenticate] RequireAuthLayer<A>;
    [S, A: Authenticate] RequireAuth<S, A>;
}
