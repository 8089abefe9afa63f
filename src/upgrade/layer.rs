//! Wrap an HTTP service: upgrades on the endpoint's paths become connections, the rest goes inward.
//!
//! See the [module docs](super) for the rules.

use std::{
    convert::Infallible,
    fmt,
    future::{Future, Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready as ready_or_return},
};

use http::{Method, Request, Response, Uri};
use hyper::upgrade::OnUpgrade;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    admission::Admission,
    body::ResponseBody,
    config_error::ConfigError,
    endpoint::StackEndpoint,
    gate::{AdmittedRequest, Gate},
    offers,
    origin::OriginPolicy,
    path,
    peer::PeerAddr,
    presence::Presence,
    refused,
    rejection::{UpgradeRejection, UpgradeRejectionKind},
    request::{UpgradeRequest, is_attempt},
    serve::{Endpoint, OnClose, OnConnect, Settings, switch_protocols, take_upgrade},
};
use crate::{
    audit::{
        Audit, AuditEvent, AuditRecord, AuditSink, Connected, TracingSink, UpgradeRefused,
        thinner::RefusedHandshakes,
    },
    connection::Connection,
    driver::ConnectionConfig,
    hooks::Hooks,
    layers::{Anonymous, Failure, Handler, HandlerService, Inbound, Reply},
    message::Message,
    outbound::budget::MemoryBudget,
};

/// Layer that applies [`WebSocket`]: a WebSocket endpoint beside an HTTP service.
///
/// Clones are the same endpoint: they share the limits of their [`Admission`].
///
/// # In a router
///
/// Give the endpoint a route of its own, as a [service](Self::into_service). It is there whatever is
/// added to the router later, and wherever the router is nested or merged:
///
/// ```
/// use axum::{Router, routing::get};
/// # use tower::{layer::util::Identity, service_fn};
/// # use tower_websocket::{Anonymous, Close, Inbound, Message, Reply, WebSocketLayer};
/// # async fn echo(m: Inbound<Message, Anonymous>) -> Result<Reply<Message>, Close> {
/// #     Ok(Reply::one(m.message))
/// # }
/// # let endpoint = WebSocketLayer::new(Identity::new(), service_fn(echo));
///
/// let app: Router = Router::new()
///     .route("/", get("a page"))
///     .route_service("/ws", endpoint.into_service())
///     .fallback(async || "index.html");
/// ```
///
/// As a layer it is for a whole service that has no routes of its own for it: hyper's, or a finished
/// router, outside of which nothing is added. What axum's `Router::layer` wraps is the routes and the
/// fallback as they are at that moment. A path that has no route is the fallback's, so `.fallback(..)`
/// afterwards takes the endpoint away, and so do `nest` and `merge`, which take over the routes alone.
/// To have a page and an endpoint at one path, wrap that route: `get(page).layer(endpoint)`.
///
/// A layer is not asked what goes elsewhere. If nobody has asked for the endpoint's paths within 30 s
/// of its application, or if it is dropped before anything was asked of it, it says so once, at `warn`.
#[must_use]
#[derive(Clone)]
pub struct WebSocketLayer {
    shared: Arc<Shared>,
}

/// An HTTP service `S` with a WebSocket endpoint in front of it.
///
/// See the [module docs](super).
#[derive(Clone)]
pub struct WebSocket<S> {
    inner: S,
    shared: Arc<Shared>,
}

/// A service that has nothing but the endpoint: `426` on its paths, `404` elsewhere.
///
/// See [`WebSocketLayer::into_service`].
#[derive(Clone)]
pub struct WebSocketOnly {
    shared: Arc<Shared>,
}

#[derive(Clone)]
struct Shared {
    endpoint: Arc<dyn Endpoint>,
    /// Empty: every path.
    paths: Vec<Box<str>>,
    origin: OriginPolicy,
    /// Clones made before a setter was called still count together, unless it is
    /// [`admission`](WebSocketLayer::admission).
    gate: Arc<Gate>,
    refused: Arc<RefusedHandshakes>,
    settings: Settings,
    presence: Arc<Presence>,
}

/// What becomes of a request.
enum Decision {
    /// It has nothing to do with WebSockets.
    Inward,
    /// The endpoint takes it.
    Accept(AdmittedRequest, OnUpgrade, Connected),
}

impl WebSocketLayer {
    /// An endpoint on every path, with the defaults: each message goes through `messages` to
    /// `handler`.
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
        L::Service:
            Service<Inbound<Message, Anonymous>, Response = Reply<Message>> + Send + 'static,
        <L::Service as Service<Inbound<Message, Anonymous>>>::Error: Into<Failure<Message>>,
        <L::Service as Service<Inbound<Message, Anonymous>>>::Future: Send,
    {
        let make = move |_: &Connection| handler.clone();
        Self::from_endpoint(Arc::new(StackEndpoint { layers: messages, make }))
    }

    /// The same with a [`Handler`] of its own for each connection, which `make` makes.
    pub fn with_handler<L, F, H, M, P>(messages: L, make: F) -> Self
    where
        L: Layer<HandlerService<H, M, P>> + Send + Sync + 'static,
        F: Fn(&Connection) -> H + Send + Sync + 'static,
        H: Handler<M, P>,
        M: Send + 'static,
        P: Send + 'static,
        L::Service:
            Service<Inbound<Message, Anonymous>, Response = Reply<Message>> + Send + 'static,
        <L::Service as Service<Inbound<Message, Anonymous>>>::Error: Into<Failure<Message>>,
        <L::Service as Service<Inbound<Message, Anonymous>>>::Future: Send,
    {
        let make = move |connection: &Connection| HandlerService::new(make(connection));
        Self::from_endpoint(Arc::new(StackEndpoint { layers: messages, make }))
    }

    /// An endpoint on every path, with the defaults.
    pub(crate) fn from_endpoint(endpoint: Arc<dyn Endpoint>) -> Self {
        Self {
            shared: Arc::new(Shared {
                endpoint,
                paths: Vec::new(),
                origin: OriginPolicy::new(),
                gate: Arc::new(Gate::new(&Admission::new())),
                refused: Arc::default(),
                settings: Settings {
                    connection: Arc::default(),
                    anonymous: false,
                    audit: Audit::new(TracingSink::shared()),
                    budget: None,
                    on_connect: Hooks::default(),
                    on_close: Hooks::default(),
                    told: Arc::default(),
                },
                presence: Arc::default(),
            }),
        }
    }

    /// Answers on `path`, and on others given before.
    ///
    /// It is compared byte for byte with the path of the request, as a browser sends it (what is not
    /// ASCII percent-encoded): `/ws` is neither `/ws/` nor `//ws` nor `/%77s`. Without any, the
    /// endpoint answers on every path, which is right behind a router and wrong around an application,
    /// where it takes the upgrade out of whatever else comes with an `Upgrade` header.
    ///
    /// # Panics
    ///
    /// If no request can have `path`, as axum's `route` does, because it is a constant of the program.
    /// [`try_path`](Self::try_path) is for one that comes from elsewhere.
    #[track_caller]
    pub fn path(self, path: impl AsRef<str>) -> Self {
        match self.try_path(path) {
            Ok(layer) => layer,
            Err(error) => panic!("WebSocketLayer::path: {error}"),
        }
    }

    /// The same for a path that is a setting of the program.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Path`] if no request can have `path`: without a slash in front, with a query, a
    /// fragment, dot segments, or as a pattern.
    pub fn try_path(mut self, path: impl AsRef<str>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let asked = path::configured(path).ok_or_else(|| ConfigError::Path(path.to_owned()))?;
        Arc::make_mut(&mut self.shared).paths.push(asked);
        Ok(self)
    }

    /// Whose pages may connect. The default is those of the same host.
    pub fn origin(mut self, policy: OriginPolicy) -> Self {
        Arc::make_mut(&mut self.shared).origin = policy;
        self
    }

    /// How many connections there may be. The defaults stand with [`Admission`].
    pub fn admission(mut self, admission: Admission) -> Self {
        Arc::make_mut(&mut self.shared).gate = Arc::new(Gate::new(&admission));
        self
    }

    /// The bounds of each connection. The defaults stand with [`ConnectionConfig`].
    ///
    /// # Errors
    ///
    /// [`ConfigError::Connection`] if they contradict each other: a time that is over at once, or a
    /// legal message that could not be sent on.
    pub fn connection(mut self, config: ConnectionConfig) -> Result<Self, ConfigError> {
        Arc::make_mut(&mut self.shared).settings.connection = Arc::new(config.checked()?);
        Ok(self)
    }

    /// Lets connections live that never authenticate: for endpoints that are open to the public.
    ///
    /// Without it, one that has not passed a [`RequireAuthLayer`](crate::RequireAuthLayer) is closed
    /// when the authentication deadline passes.
    pub fn allow_anonymous(mut self) -> Self {
        Arc::make_mut(&mut self.shared).settings.anonymous = true;
        self
    }

    /// Where refusals and the lives of connections are recorded. The default is a [`TracingSink`]
    /// that all endpoints share.
    pub fn audit(mut self, sink: impl AuditSink) -> Self {
        let settings = &mut Arc::make_mut(&mut self.shared).settings;
        settings.audit = settings.audit.clone().with_sink(sink);
        self
    }

    /// Names this server in all records of the endpoint, where several write to one place. Default:
    /// none.
    pub fn node(mut self, name: impl Into<Arc<str>>) -> Self {
        let settings = &mut Arc::make_mut(&mut self.shared).settings;
        settings.audit = settings.audit.clone().with_node(name.into());
        self
    }

    /// Charges what connections hold to `budget`, which other endpoints may share. Default: none, so
    /// that only the bounds of each connection and their number hold.
    pub fn memory_budget(mut self, budget: MemoryBudget) -> Self {
        Arc::make_mut(&mut self.shared).settings.budget = Some(budget);
        self
    }

    /// Calls `hook` for each connection whose handshake was accepted, after those that were given
    /// before. Its peer is still anybody;
    /// [`RequireAuthLayer::on_open`](crate::RequireAuthLayer::on_open) tells who it turns out to be.
    ///
    /// One that panics costs the connection: there is no answer. The others are called all the same,
    /// and so are those of [`on_close`](Self::on_close).
    pub fn on_connect(mut self, hook: impl OnConnect) -> Self {
        Arc::make_mut(&mut self.shared).settings.on_connect.add(Arc::new(hook));
        self
    }

    /// Calls `hook` once for each connection that has ended, however it did, with the record of its end,
    /// after those that were given before. If one panics, the others are called all the same.
    pub fn on_close(mut self, hook: impl OnClose) -> Self {
        Arc::make_mut(&mut self.shared).settings.on_close.add(Arc::new(hook));
        self
    }

    /// The endpoint as a service of its own, for a router: axum's `route_service`.
    ///
    /// What does not try to upgrade is answered `426`.
    pub fn into_service(self) -> WebSocket<WebSocketOnly> {
        // It is where it was put, and nothing can take it away again: nobody has to be told of it.
        let inner = WebSocketOnly { shared: Arc::clone(&self.shared) };
        WebSocket { inner, shared: self.shared }
    }
}

impl<S> Layer<S> for WebSocketLayer {
    type Service = WebSocket<S>;

    fn layer(&self, inner: S) -> WebSocket<S> {
        self.shared.presence.applied(&self.shared.paths);
        WebSocket { inner, shared: Arc::clone(&self.shared) }
    }
}

impl Shared {
    fn is_ours(&self, method: &Method, uri: &Uri) -> bool {
        // The target of a plain CONNECT is a host and a port: it has no path to tell whose it is,
        // and hyper offers an upgrade for it.
        let pathless = *method == Method::CONNECT && uri.path().is_empty();
        pathless || self.paths.is_empty() || self.paths.iter().any(|it| **it == *uri.path())
    }

    fn decide<B>(&self, request: &mut Request<B>) -> Result<Decision, UpgradeRejectionKind> {
        let ours = self.is_ours(request.method(), request.uri());
        self.presence.asked(ours);
        if !ours {
            return Ok(Decision::Inward);
        }
        // Also from what is no attempt: whoever is inside has not decided that it may switch
        // protocols on this path, and hyper fulfils what it has offered.
        let upgrade = take_upgrade(request);
        let Some(attempt) = UpgradeRequest::parse(request)? else {
            return Ok(Decision::Inward);
        };
        let trusted = self.origin.verify(attempt)?;
        let upgrade = upgrade.ok_or(UpgradeRejectionKind::NotUpgradable)?;
        if self.settings.budget.as_ref().is_some_and(MemoryBudget::is_tight) {
            return Err(UpgradeRejectionKind::MemoryTight);
        }
        let admitted = self.gate.admit(trusted, PeerAddr::read(request.extensions()))?;
        Ok(Decision::Accept(admitted, upgrade, offers::read(request.headers())))
    }

    /// Writes the record of a refusal and makes the answer.
    fn refuse<B, T: From<&'static str>>(
        &self,
        request: &Request<B>,
        kind: UpgradeRejectionKind,
    ) -> Response<T> {
        let (rule, status) = (kind.rule(), kind.status().as_u16());
        tracing::debug!(rule, status, "handshake refused");
        let peer = PeerAddr::read(request.extensions());
        if let Some(suppressed) = self.refused.pass(rule, peer.map(|it| it.ip())) {
            let (origin, host) = refused::compared(request, kind);
            let event = AuditEvent::UpgradeRefused(UpgradeRefused {
                rule,
                status,
                origin,
                host,
                suppressed,
            });
            let record = AuditRecord { peer, ..AuditRecord::of(event) };
            // The answer is the same, whether it could be recorded or not.
            let _ = self.settings.audit.tell(record);
        }
        UpgradeRejection::new(kind).into_response(request.version())
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for WebSocket<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let shared = &self.shared;
        match shared.decide(&mut request) {
            Ok(Decision::Inward) => ResponseFuture::inner(self.inner.call(request)),
            Ok(Decision::Accept(admitted, upgrade, offers)) => {
                let peer = PeerAddr::read(request.extensions());
                ResponseFuture::finished(switch_protocols(
                    admitted,
                    upgrade,
                    peer,
                    offers,
                    &*shared.endpoint,
                    &shared.settings,
                ))
            }
            Err(kind) => ResponseFuture::finished(shared.refuse(&request, kind)),
        }
    }
}

impl<B> Service<Request<B>> for WebSocketOnly {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let kind = if self.shared.is_ours(request.method(), request.uri()) {
            UpgradeRejectionKind::UpgradeRequired
        } else if is_attempt(&request) {
            // The router says one path, the endpoint another.
            return ready(Ok(self.shared.refuse(&request, UpgradeRejectionKind::NotFound)));
        } else {
            UpgradeRejectionKind::NotFound
        };
        // Not in the audit: nobody tried anything, and a health check would fill it.
        ready(Ok(UpgradeRejection::new(kind).into_response(request.version())))
    }
}

pin_project! {
    /// Response future of [`WebSocket`].
    pub struct ResponseFuture<F, B> {
        #[pin]
        kind: Kind<F, B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<F, B> {
        Inner { #[pin] future: F },
        Finished { response: Option<Response<ResponseBody<B>>> },
    }
}

impl<F, B> ResponseFuture<F, B> {
    const fn inner(future: F) -> Self {
        Self { kind: Kind::Inner { future } }
    }

    const fn finished(response: Response<ResponseBody<B>>) -> Self {
        Self { kind: Kind::Finished { response: Some(response) } }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    #[expect(clippy::expect_used, reason = "a future must not be polled after it is done")]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(match self.project().kind.project() {
            KindProjection::Inner { future } => {
                ready_or_return!(future.poll(cx))?.map(ResponseBody::inner)
            }
            KindProjection::Finished { response } => {
                response.take().expect("ResponseFuture polled after completion")
            }
        }))
    }
}

impl fmt::Debug for WebSocketLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketLayer")
            .field("paths", &self.shared.paths)
            .field("origin", &self.shared.origin)
            .field("gate", &self.shared.gate)
            .finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for WebSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl fmt::Debug for WebSocketOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketOnly").finish_non_exhaustive()
    }
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
