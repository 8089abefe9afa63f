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
    body::ResponseBody,
    client::{Clients, Whence},
    gate::{Gate, Login},
    offers,
    origin::OriginPolicy,
    path::{self, InvalidPath},
    reachability::Reachability,
    refused,
    rejection::{UpgradeRejection, UpgradeRejectionKind},
    request::{UpgradeRequest, is_attempt},
    subprotocol::Chosen,
    switch::{Attempt, Settings, SpawnConnection, switch_protocols, take_upgrade},
};
use crate::{
    audit::{AuditEvent, AuditRecord, UpgradeRefused, throttle::RefusedHandshakes},
    layers::HandshakeIdentity,
    opaque::opaque_debug,
    outbound::budget::MemoryBudget,
};

/// Layer that applies [`WebSocket`]: an endpoint beside an HTTP service.
///
/// [`WebSocketEndpoint::layer`](super::WebSocketEndpoint::layer) makes it. Clones are the same endpoint:
/// they share the limits of its [`Admission`](super::Admission).
///
/// What axum's `Router::layer` wraps is the routes and the fallback as they are at that moment. A path that
/// has no route is the fallback's, so `.fallback(..)` afterwards takes the endpoint away, and so do `nest`
/// and `merge`, which take over the routes alone. A
/// [route of its own](super::WebSocketEndpoint#in-a-router) has none of that. To have a page and an endpoint
/// at one path, wrap that route: `get(page).layer(endpoint.layer_on_every_path())`.
///
/// A layer is not asked what goes elsewhere. If there was no request for the endpoint's paths within 30 s
/// of its application, or if it is dropped before anything was asked of it, it says so once, at `warn`.
#[must_use]
#[derive(Clone)]
pub struct WebSocketLayer {
    shared: Arc<Shared>,
    paths: Paths,
}

/// Where an endpoint answers. Empty: on every path.
type Paths = Arc<[Box<str>]>;

/// An HTTP service `S` with a WebSocket endpoint in front of it.
///
/// See the [module docs](super).
#[derive(Clone)]
pub struct WebSocket<S> {
    inner: S,
    shared: Arc<Shared>,
    paths: Paths,
}

/// A service that has nothing but the endpoint: `426` on its paths, `404` elsewhere.
///
/// See [`WebSocketEndpoint::into_service`](super::WebSocketEndpoint::into_service).
#[derive(Clone)]
pub struct WebSocketOnly {
    shared: Arc<Shared>,
    paths: Paths,
}

/// What all clones of a layer share, and all services that it has made.
pub(super) struct Shared {
    pub(super) spawn: Arc<dyn SpawnConnection>,
    pub(super) clients: Clients,
    pub(super) origin: OriginPolicy,
    pub(super) gate: Arc<Gate>,
    pub(super) refused: RefusedHandshakes,
    pub(super) settings: Settings,
    pub(super) reachability: Arc<Reachability>,
}

/// What becomes of a request.
#[expect(clippy::large_enum_variant, reason = "there is one of them, for as long as a call")]
enum Decision {
    /// It has nothing to do with WebSockets.
    Inward,
    /// The endpoint takes it.
    Accept(Attempt, Whence),
}

/// Why a handshake is refused, and who it is from.
struct Refusal {
    rejection: UpgradeRejection,
    whence: Whence,
}

impl WebSocketLayer {
    /// An endpoint on every path.
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared), paths: Arc::default() }
    }

    /// The same endpoint also on `path`.
    ///
    /// # Errors
    ///
    /// [`InvalidPath`] as [`WebSocketEndpoint::layer`](super::WebSocketEndpoint::layer).
    pub fn also(self, path: impl AsRef<str>) -> Result<Self, InvalidPath> {
        let path = path::configured(path.as_ref())?;
        let paths = self.paths.iter().cloned().chain([path]).collect();
        Ok(Self { paths, ..self })
    }

    /// The endpoint as a service of its own that looks at paths: `426` on its own for what does not try
    /// to upgrade, `404` elsewhere.
    pub fn into_service(self) -> WebSocket<WebSocketOnly> {
        // It is where it was put, and nothing can take it away again: there is nothing to watch.
        let Self { shared, paths } = self;
        let inner = WebSocketOnly { shared: Arc::clone(&shared), paths: Arc::clone(&paths) };
        WebSocket { inner, shared, paths }
    }
}

impl<S> Layer<S> for WebSocketLayer {
    type Service = WebSocket<S>;

    fn layer(&self, inner: S) -> WebSocket<S> {
        self.shared.reachability.applied(&self.paths);
        WebSocket { inner, shared: Arc::clone(&self.shared), paths: Arc::clone(&self.paths) }
    }
}

fn is_ours(paths: &[Box<str>], method: &Method, uri: &Uri) -> bool {
    // The target of a plain CONNECT is a host and a port: it has no path to tell whose it is,
    // and hyper offers an upgrade for it.
    let pathless = *method == Method::CONNECT && uri.path().is_empty();
    pathless || paths.is_empty() || paths.iter().any(|it| **it == *uri.path())
}

impl Shared {
    fn decide<B>(&self, paths: &[Box<str>], request: &mut Request<B>) -> Result<Decision, Refusal> {
        let ours = is_ours(paths, request.method(), request.uri());
        self.reachability.asked(ours);
        if !ours {
            return Ok(Decision::Inward);
        }
        // Also from what is no attempt: the service inside has not decided that it may switch
        // protocols on this path, and hyper fulfils what it has offered.
        let upgrade = take_upgrade(request);
        if !is_attempt(request) {
            return Ok(Decision::Inward);
        }
        let whence = self.clients.find(request);
        self.verify(request, upgrade, &whence).map_err(|rejection| Refusal { rejection, whence })
    }

    fn verify<B>(
        &self,
        request: &Request<B>,
        upgrade: Option<OnUpgrade>,
        whence: &Whence,
    ) -> Result<Decision, UpgradeRejection> {
        let Some(attempt) = UpgradeRequest::parse(request)? else {
            return Ok(Decision::Inward);
        };
        let client = whence.client?;
        let trusted = self.origin.verify(UpgradeRequest { tls: whence.tls, ..attempt })?;
        let max_token = self.settings.connection.max_first_message_size;
        let chosen = match &self.settings.subprotocols {
            Some(ours) => ours.choose(request.headers(), max_token)?,
            None => Chosen::default(),
        };
        let upgrade = upgrade.ok_or(UpgradeRejectionKind::NotUpgradable)?;
        if self.settings.budget.as_ref().is_some_and(MemoryBudget::is_tight) {
            return Err(UpgradeRejectionKind::MemoryTight.into());
        }
        let known = request.extensions().get::<HandshakeIdentity>().is_some();
        let login = if known { Login::Done } else { Login::Due };
        let admitted = self.gate.admit(trusted, client, login)?;
        let offers = offers::read(request.headers(), &chosen);
        let attempt = Attempt { admitted, upgrade, client, offers, chosen };
        Ok(Decision::Accept(attempt, *whence))
    }

    /// Writes the record of a refusal and makes the answer.
    fn refuse<B, T: From<&'static str>>(
        &self,
        request: &Request<B>,
        Refusal { rejection, whence }: Refusal,
    ) -> Response<T> {
        let kind = rejection.kind();
        let (rule, status) = (kind.rule(), kind.status().as_u16());
        tracing::debug!(rule, status, "handshake refused");
        let peer = whence.peer;
        let client = whence.client.ok().flatten().map(|it| it.ip());
        if let Some(suppressed) = self.refused.pass(rule, client.or(peer.map(|it| it.ip()))) {
            let (origin, host) = refused::compared(request, kind);
            let event = AuditEvent::UpgradeRefused(UpgradeRefused {
                rule,
                status,
                origin,
                host,
                suppressed,
            });
            let record = AuditRecord { peer, client, ..AuditRecord::of(event) };
            // The answer is the same, whether it could be recorded or not.
            let _ = self.settings.audit.tell(record);
        }
        rejection.into_response(request.version())
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
        let (attempt, whence) = match shared.decide(&self.paths, &mut request) {
            Ok(Decision::Inward) => return ResponseFuture::inner(self.inner.call(request)),
            Ok(Decision::Accept(attempt, whence)) => (attempt, whence),
            Err(refusal) => return ResponseFuture::finished(shared.refuse(&request, refusal)),
        };
        let (mut parts, body) = request.into_parts();
        let switched = switch_protocols(attempt, &mut parts, &*shared.spawn, &shared.settings);
        ResponseFuture::finished(switched.unwrap_or_else(|kind| {
            shared.refuse(
                &Request::from_parts(parts, body),
                Refusal { rejection: kind.into(), whence },
            )
        }))
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
        let kind = if is_ours(&self.paths, request.method(), request.uri()) {
            UpgradeRejectionKind::UpgradeRequired
        } else if is_attempt(&request) {
            // The router says one path, the endpoint another.
            let whence = self.shared.clients.find(&request);
            let rejection = UpgradeRejectionKind::NotFound.into();
            let refusal = Refusal { rejection, whence };
            return ready(Ok(self.shared.refuse(&request, refusal)));
        } else {
            UpgradeRejectionKind::NotFound
        };
        // Not in the audit: it is no attempt, and a health check would fill it.
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
            .field("paths", &self.paths)
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

opaque_debug! {
    [] WebSocketOnly;
    [F, B] ResponseFuture<F, B>;
}
