//! Tell the application's own routes who the client is, as the endpoint is told.

use std::{
    net::SocketAddr,
    task::{Context, Poll},
};

use http::{Extensions, Request};
use tower_layer::Layer;
use tower_service::Service;

use super::{client::Clients, proxies::TrustedProxies};

/// Puts a [`ClientAddr`](crate::ClientAddr) into the extensions of each request of which it is known who
/// it is from.
///
/// It refuses nothing: a page may be for anybody, and a health check comes from within. Where the client
/// cannot be told there is no `ClientAddr`, and a route that needs one has to refuse; the operator is
/// warned once a minute. An endpoint within, on which neither
/// [`peer_from`](super::WebSocketEndpoint::peer_from) nor
/// [`trusted_proxies`](super::WebSocketEndpoint::trusted_proxies) is set, goes by what this layer has
/// found, and answers as it would have by itself.
///
/// # Example
///
/// ```
/// use std::net::SocketAddr;
///
/// use axum::{Extension, Router, extract::ConnectInfo, routing::get};
/// use tower_websocket::{ClientAddr, ClientAddrLayer, TrustedProxies};
///
/// # fn main() -> Result<(), tower_websocket::upgrade::InvalidProxies> {
/// let clients = ClientAddrLayer::new()
///     .peer_from(|it| it.get::<ConnectInfo<SocketAddr>>().map(|it| it.0))
///     .trusted_proxies(TrustedProxies::x_forwarded_for(["10.0.0.0/8"])?);
/// let app: Router = Router::new()
///     .route("/whoami", get(async |Extension(client): Extension<ClientAddr>| client.ip().to_string()))
///     .layer(clients);
/// let service = app.into_make_service_with_connect_info::<SocketAddr>();
/// # drop(service);
/// # Ok(())
/// # }
/// ```
#[must_use]
#[derive(Clone, Debug, Default)]
pub struct ClientAddrLayer {
    clients: Clients,
}

/// A service whose requests have a [`ClientAddr`](crate::ClientAddr).
///
/// See [`ClientAddrLayer`].
#[derive(Clone, Debug)]
pub struct SetClientAddr<S> {
    inner: S,
    clients: Clients,
}

impl ClientAddrLayer {
    /// Takes the address of the socket from [`PeerAddr`](super::PeerAddr), and no proxy's word.
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`WebSocketEndpoint::peer_from`](super::WebSocketEndpoint::peer_from).
    pub fn peer_from(
        self,
        peer_from: impl Fn(&Extensions) -> Option<SocketAddr> + Send + Sync + 'static,
    ) -> Self {
        Self { clients: self.clients.peer_from(peer_from) }
    }

    /// As [`WebSocketEndpoint::trusted_proxies`](super::WebSocketEndpoint::trusted_proxies).
    pub fn trusted_proxies(self, proxies: TrustedProxies) -> Self {
        Self { clients: self.clients.trusted_proxies(proxies) }
    }
}

impl<S> Layer<S> for ClientAddrLayer {
    type Service = SetClientAddr<S>;

    fn layer(&self, inner: S) -> SetClientAddr<S> {
        SetClientAddr { inner, clients: self.clients.clone() }
    }
}

impl<S, B> Service<Request<B>> for SetClientAddr<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let whence = self.clients.find(&request);
        let extensions = request.extensions_mut();
        extensions.insert(whence);
        match whence.client {
            Ok(Some(client)) => drop(extensions.insert(client)),
            // Nor what a layer outside has said: this one is asked to know better.
            Ok(None) | Err(_) => drop(extensions.remove::<crate::ClientAddr>()),
        }
        self.inner.call(request)
    }
}
