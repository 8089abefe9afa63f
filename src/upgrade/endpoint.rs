//! Put an endpoint together: what its messages go through, and what its connections may.

use std::{fmt, net::SocketAddr, sync::Arc};

use http::{Extensions, request::Parts};
use tower_layer::Layer;

use super::{
    admission::Admission,
    client::Clients,
    gate::Gate,
    identity::IdentityPolicy,
    invalid_origin::InvalidOrigin,
    layer::{Shared, WebSocket, WebSocketLayer, WebSocketOnly},
    origin::OriginPolicy,
    path::InvalidPath,
    proxies::TrustedProxies,
    stack::StackEndpoint,
    subprotocol::Subprotocols,
    switch::{Settings, SpawnConnection},
};
use crate::{
    audit::{Audit, AuditSink, Closed, TracingSink, throttle::RefusedHandshakes},
    connection::Connection,
    connections::Connections,
    driver::{Authentication, ConnectionConfig, ConnectionConfigError},
    hooks::Hooks,
    layers::{Handler, HandlerService, MessageStack},
    outbound::budget::MemoryBudget,
    principal::Principal,
};

/// A WebSocket endpoint that is being put together.
///
/// It has the safe defaults; a setter is for what is to be otherwise. At the end it becomes a service for
/// a route, or a layer around an application.
///
/// # In a router
///
/// Give the endpoint a route of its own, as a [service](Self::into_service). It is there whatever is
/// added to the router later, and wherever the router is nested or merged:
///
/// ```
/// use axum::{Router, routing::get};
/// # use tower::{layer::util::Identity, service_fn};
/// # use tower_websocket::{Anonymous, HandlerResult, Inbound, Message, Reply, WebSocketEndpoint};
/// # async fn echo(m: Inbound<Message, Anonymous>) -> HandlerResult {
/// #     Ok(Reply::one(m.message))
/// # }
/// # let endpoint = WebSocketEndpoint::new(Identity::new(), service_fn(echo));
///
/// let app: Router = Router::new()
///     .route("/", get("a page"))
///     .route_service("/ws", endpoint.into_service())
///     .fallback(async || "index.html");
/// ```
///
/// # Around an application
///
/// A [layer](Self::layer) is for a whole service that has no routes of its own for the endpoint: hyper's,
/// or a finished router, outside of which nothing is added. See [`WebSocketLayer`].
#[must_use]
pub struct WebSocketEndpoint {
    spawn: Arc<dyn SpawnConnection>,
    clients: Clients,
    origin: OriginPolicy,
    admission: Admission,
    settings: Settings,
}

impl WebSocketEndpoint {
    /// An endpoint with the defaults: each message goes through `messages` to `handler`.
    ///
    /// `messages` is applied once for each connection, to a clone of `handler`. What the layers share
    /// is shared by all connections; what their services keep belongs to one. So a layer of this crate
    /// belongs into `messages`, never into `handler`: a service that was made once and can be cloned,
    /// by `buffer` or a lock, is the same for all connections, and would know the second peer by the
    /// name of the first. Such a service serves the connection that comes first, and closes every other
    /// with 1011 ([module docs](crate::layers#a-stack-belongs-to-one-connection)).
    pub fn new<L, H>(messages: L, handler: H) -> Self
    where
        L: Layer<H> + Send + Sync + 'static,
        H: Clone + Send + Sync + 'static,
        L::Service: MessageStack + Send + 'static,
        <L::Service as MessageStack>::Future: Send,
    {
        let make = move |_: &Connection, _: &mut Parts| handler.clone();
        Self::from_spawn(Arc::new(StackEndpoint { layers: messages, make }))
    }

    /// The same with a [`Handler`] of its own for each connection, which `make` makes. It is given the
    /// handshake: its headers, its URI, and in the extensions what the layers in front have left there, as
    /// the parameters of a route. Nothing of it is kept or logged but what `make` takes.
    ///
    /// `make` runs before the answer is given; with
    /// [`RequireAuthLayer::handshake`](crate::RequireAuthLayer::handshake) there may be no connection after
    /// it. A panic costs the connection.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_websocket::{Anonymous, Handler, HandlerResult, Inbound, Message, Reply, WebSocketEndpoint};
    ///
    /// /// Speaks the language of the page.
    /// struct Greet(&'static str);
    ///
    /// impl Handler<Message, Anonymous> for Greet {
    ///     type Reply = Message;
    ///
    ///     async fn handle(&mut self, _: Inbound<Message, Anonymous>) -> HandlerResult {
    ///         Ok(Reply::one(Message::text(self.0)))
    ///     }
    /// }
    ///
    /// let messages = tower::layer::util::Identity::new();
    /// let endpoint = WebSocketEndpoint::with_handler(messages, |_, request| {
    ///     let language = request.headers.get("accept-language");
    ///     let german = language.is_some_and(|it| it.as_bytes().starts_with(b"de"));
    ///     Greet(if german { "hallo" } else { "hello" })
    /// });
    /// # let _ = endpoint;
    /// ```
    pub fn with_handler<L, F, H, M, P>(messages: L, make: F) -> Self
    where
        L: Layer<HandlerService<H, M, P>> + Send + Sync + 'static,
        F: Fn(&Connection, &mut Parts) -> H + Send + Sync + 'static,
        H: Handler<M, P>,
        M: Send + 'static,
        P: Send + 'static,
        L::Service: MessageStack + Send + 'static,
        <L::Service as MessageStack>::Future: Send,
    {
        let make = move |connection: &Connection, request: &mut Parts| {
            HandlerService::new(make(connection, request))
        };
        Self::from_spawn(Arc::new(StackEndpoint { layers: messages, make }))
    }

    pub(super) fn from_spawn(spawn: Arc<dyn SpawnConnection>) -> Self {
        Self {
            spawn,
            clients: Clients::default(),
            origin: OriginPolicy::new(),
            admission: Admission::new(),
            settings: Settings {
                connection: Arc::default(),
                authentication: Authentication::Required,
                identity: IdentityPolicy::default(),
                connections: None,
                subprotocols: None,
                audit: Audit::new(TracingSink::shared()),
                budget: None,
                on_connect: Hooks::default(),
                on_close: Hooks::default(),
                warned: Arc::default(),
            },
        }
    }

    /// Where in a request's extensions the address of its socket is: a type that the server has for it.
    /// The default is a [`PeerAddr`](super::PeerAddr), which the code that accepts sockets sets.
    ///
    /// ```
    /// # use std::net::SocketAddr;
    /// # use axum::extract::ConnectInfo;
    /// # use tower_websocket::WebSocketEndpoint;
    /// # fn with_axum(endpoint: WebSocketEndpoint) -> WebSocketEndpoint {
    /// // `into_make_service_with_connect_info::<SocketAddr>()` puts it there.
    /// endpoint.peer_from(|it| it.get::<ConnectInfo<SocketAddr>>().map(|it| it.0))
    /// # }
    /// ```
    ///
    /// An operator who says where it is wants it to be there: a handshake without it is answered `500`.
    pub fn peer_from(
        mut self,
        peer_from: impl Fn(&Extensions) -> Option<SocketAddr> + Send + Sync + 'static,
    ) -> Self {
        self.clients = self.clients.peer_from(peer_from);
        self
    }

    /// Whose word counts for who the client is, behind proxies. The default is nobody's: then the other end
    /// of the socket is the client, whatever a header says.
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.clients = self.clients.trusted_proxies(proxies);
        self
    }

    /// Whose pages may connect. The default is those of the same host.
    pub fn origin(mut self, policy: OriginPolicy) -> Self {
        self.origin = policy;
        self
    }

    /// How many connections there may be. The defaults stand with [`Admission`].
    pub fn admission(mut self, admission: Admission) -> Self {
        self.admission = admission;
        self
    }

    /// The bounds of each connection. The defaults stand with [`ConnectionConfig`].
    ///
    /// # Errors
    ///
    /// [`ConnectionConfigError`] if they contradict each other: a time that is over at once, or a
    /// legal message that could not be sent on.
    pub fn connection(mut self, config: ConnectionConfig) -> Result<Self, ConnectionConfigError> {
        self.settings.connection = Arc::new(config.checked()?);
        Ok(self)
    }

    /// Lets connections live that never authenticate: for endpoints that are open to the public.
    ///
    /// Without it, one that has not passed a [`RequireAuthLayer`](crate::RequireAuthLayer) is closed
    /// when the authentication deadline passes.
    pub fn allow_anonymous(mut self) -> Self {
        self.settings.authentication = Authentication::Optional;
        self
    }

    /// Takes a [`HandshakeIdentity`](crate::HandshakeIdentity) of users `U` out of each handshake, for a
    /// [`RequireAuthLayer::handshake`](crate::RequireAuthLayer::handshake) or
    /// [`first_of`](crate::RequireAuthLayer::first_of) in the stack.
    ///
    /// A handshake whose identity is of another type than `U` or the stack's, or whose identity no layer
    /// of the stack goes by, is answered `500`, and the log says at `warn`, once, what does not fit.
    ///
    /// # Errors
    ///
    /// [`InvalidOrigin::AnyPage`] if the endpoint's [origin policy](Self::origin), which is to be set
    /// before, trusts any page: browsers send cookies with whatever handshake a page starts, so that any
    /// page could act in its visitor's name (cross-site WebSocket hijacking, CWE-1385). `null` and
    /// `file://` are origins of any page, too. `SameSite` on a cookie does not replace the check: not
    /// every browser has it by default, and other ports of a host are the same site. A policy that is set
    /// afterwards and trusts any page has every handshake answered `500`.
    pub fn handshake_identity<U: Principal>(mut self) -> Result<Self, InvalidOrigin> {
        if let Some(origin) = self.origin.any_page() {
            return Err(InvalidOrigin::AnyPage(origin));
        }
        self.settings.identity = IdentityPolicy::of::<U>();
        Ok(self)
    }

    /// Has each connection in `connections`, which other endpoints may share, from the handshake to the
    /// end. Default: none.
    pub fn connections(mut self, connections: Connections) -> Self {
        self.settings.connections = Some(Arc::new(connections));
        self
    }

    /// What the endpoint speaks. Default: nothing that has a name; what clients offer is not read.
    pub fn subprotocols(mut self, subprotocols: Subprotocols) -> Self {
        self.settings.subprotocols = Some(subprotocols);
        self
    }

    /// Where refusals and the lives of connections are recorded. The default is a [`TracingSink`]
    /// that all endpoints share.
    pub fn audit(mut self, sink: impl AuditSink) -> Self {
        self.settings.audit = self.settings.audit.with_sink(sink);
        self
    }

    /// Names this server in all records of the endpoint, where several write to one place. Default:
    /// none.
    pub fn node(mut self, name: impl Into<Arc<str>>) -> Self {
        self.settings.audit = self.settings.audit.with_node(name.into());
        self
    }

    /// Charges what connections hold to `budget`, which other endpoints may share. Default: none, so
    /// that only the bounds of each connection and their number hold.
    pub fn memory_budget(mut self, budget: MemoryBudget) -> Self {
        self.settings.budget = Some(budget);
        self
    }

    /// Calls `hook` for each connection whose handshake was accepted, after those that were given
    /// before. Its peer is still anybody;
    /// [`RequireAuthLayer::on_open`](crate::RequireAuthLayer::on_open) tells who it turns out to be.
    ///
    /// One that panics costs the connection: there is no answer. The others are called all the same,
    /// and so are those of [`on_close`](Self::on_close).
    pub fn on_connect(mut self, hook: impl Fn(&Connection) + Send + Sync + 'static) -> Self {
        self.settings.on_connect.add(Arc::new(hook));
        self
    }

    /// Calls `hook` once for each connection that has ended, however it did, with the record of its end,
    /// after those that were given before. If one panics, the others are called all the same.
    pub fn on_close(mut self, hook: impl Fn(&Connection, &Closed) + Send + Sync + 'static) -> Self {
        self.settings.on_close.add(Arc::new(hook));
        self
    }

    /// The endpoint as a service of its own, for a route: axum's `route_service`.
    ///
    /// It answers at whatever path it is asked. What does not try to upgrade is answered `426`. Clones are
    /// the same endpoint: they share its limits.
    pub fn into_service(self) -> WebSocket<WebSocketOnly> {
        self.layer_on_every_path().into_service()
    }

    /// The endpoint as a layer that takes the upgrades on `path` out of what an application is asked.
    ///
    /// `path` is compared byte for byte with the path of the request, as a browser sends it (what is not
    /// ASCII percent-encoded): `/ws` is neither `/ws/` nor `//ws` nor `/%77s`.
    /// [`WebSocketLayer::also`] adds others.
    ///
    /// # Errors
    ///
    /// [`InvalidPath`] if no request can have `path`: without a slash in front, with a query, a
    /// fragment, dot segments, or as a pattern.
    pub fn layer(self, path: impl AsRef<str>) -> Result<WebSocketLayer, InvalidPath> {
        // Without a path so far, so that this is the only one.
        self.layer_on_every_path().also(path)
    }

    /// The endpoint as a layer that takes every upgrade, whatever its path is: around one route of a
    /// router, to have a page and an endpoint at one path.
    ///
    /// Around an application it takes the upgrade out of whatever else comes with an `Upgrade` header.
    pub fn layer_on_every_path(self) -> WebSocketLayer {
        let Self { spawn, clients, origin, admission, mut settings } = self;
        settings.identity.check(&origin);
        if let Some(connections) = &settings.connections {
            connections.outlast(settings.connection.auth_timeout);
        }
        WebSocketLayer::new(Shared {
            spawn,
            clients,
            origin,
            gate: Arc::new(Gate::new(&admission)),
            refused: RefusedHandshakes::default(),
            settings,
            reachability: Arc::default(),
        })
    }
}

impl fmt::Debug for WebSocketEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketEndpoint")
            .field("origin", &self.origin)
            .field("admission", &self.admission)
            .finish_non_exhaustive()
    }
}
