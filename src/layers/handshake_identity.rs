//! Say who a peer is before there is a connection: what the application's HTTP layers know already.

use std::{any::Any, fmt, marker::PhantomData, sync::Arc};

use super::{AuthFailure, Authenticate, Session};
use crate::{
    connection::Connection, foreign::Caught, message::Message, opaque::opaque_debug,
    principal::Principal,
};

/// Who the sender of a handshake is, as the application's own HTTP layers have found out: by the cookie of a
/// session, by an `Authorization` header.
///
/// A layer in front of the endpoint puts it into the request's extensions, and an endpoint that was told to
/// ([`handshake_identity`](crate::WebSocketEndpoint::handshake_identity)) takes it out. A
/// [`RequireAuthLayer::handshake`](crate::RequireAuthLayer::handshake) in its stack then asks for no
/// credentials: the first message is a message like any other.
///
/// The session's end is the connection's end. What a peer says on a connection does not prolong it, also
/// where the cookie's session would be prolonged by a request.
///
/// # Example
///
/// ```
/// use tower_websocket::{HandshakeIdentity, RequireAuthLayer, Session, WebSocketEndpoint};
/// # use tower_websocket::{Authenticated, HandlerResult, Inbound, Message, Reply};
/// # async fn echo(m: Inbound<Message, Authenticated<String>>) -> HandlerResult {
/// #     Ok(Reply::one(m.message))
/// # }
/// # fn user_of<B>(_: &http::Request<B>) -> Option<String> { None }
///
/// fn identify<B>(mut request: http::Request<B>) -> http::Request<B> {
///     if let Some(user) = user_of(&request) {
///         request.extensions_mut().insert(HandshakeIdentity::new(Session::new(user)));
///     }
///     request
/// }
///
/// # fn main() -> Result<(), tower_websocket::upgrade::InvalidOrigin> {
/// let endpoint = WebSocketEndpoint::new(RequireAuthLayer::handshake(), tower::service_fn(echo))
///     .handshake_identity::<String>()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HandshakeIdentity {
    /// A [`Session`], of whatever user: one type in the extensions, so that one of another user is seen.
    session: Caught<Arc<dyn Any + Send + Sync>>,
}

impl HandshakeIdentity {
    /// The sender of a handshake has this session.
    ///
    /// To be made for each handshake, once its session was looked up: a user who was thrown out since this
    /// call is not let in by it.
    pub fn new<U: Principal>(session: Session<U>) -> Self {
        Self { session: Caught::new(Arc::new(session)) }
    }

    /// Whether it says of a `U` who that is.
    pub(crate) fn is_of<U: Principal>(&self) -> bool {
        self.session.get().is_some_and(|it| it.is::<Session<U>>())
    }

    /// The session, if it is that of a `U`.
    pub(super) fn session<U: Principal>(&self) -> Option<Session<U>> {
        self.session.get()?.downcast_ref::<Session<U>>().cloned()
    }
}

impl fmt::Debug for HandshakeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandshakeIdentity")
    }
}

/// The part of a verifier for peers without an identity from the handshake: it lets none of them in.
///
/// See [`RequireAuthLayer::handshake`](crate::RequireAuthLayer::handshake).
pub struct Handshake<U> {
    user: PhantomData<fn() -> U>,
}

impl<U> Handshake<U> {
    /// Identities that are a `U`.
    pub const fn new() -> Self {
        Self { user: PhantomData }
    }
}

impl<U> Default for Handshake<U> {
    fn default() -> Self {
        Self::new()
    }
}

impl<U: Principal> Authenticate for Handshake<U> {
    type User = U;

    async fn authenticate(&self, _: &Message, _: &Connection) -> Result<Session<U>, AuthFailure> {
        Err(AuthFailure::Unidentified)
    }
}

opaque_debug! { [U] Handshake<U>; }
