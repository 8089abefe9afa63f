//! A plain hyper server around the endpoint, and the handshake that it is asked for.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;
use tower_websocket::{PeerAddr, WebSocketEndpoint, WebSocketLayer};

use crate::{echo::endpoint, head::Head, recorder::Recorder, slow_peer::Peer};

/// An HTTP/1 server with an echo endpoint on `/ws` and `404` with the text `inner` elsewhere.
pub struct HttpServer {
    addr: SocketAddr,
    pub audit: Arc<Recorder>,
}

impl HttpServer {
    /// With the defaults.
    pub async fn start() -> Self {
        Self::start_with(|it| it).await
    }

    pub async fn start_with(
        configure: impl FnOnce(WebSocketEndpoint) -> WebSocketEndpoint,
    ) -> Self {
        let audit = Arc::new(Recorder::default());
        let endpoint = configure(endpoint(Arc::<Recorder>::clone(&audit)));
        Self::serve(endpoint, audit).await
    }

    /// Another endpoint than an echo, on `/ws`.
    pub async fn start_endpoint(endpoint: impl FnOnce() -> WebSocketEndpoint) -> Self {
        let audit = Arc::new(Recorder::default());
        let endpoint = endpoint().audit(Arc::<Recorder>::clone(&audit));
        Self::serve(endpoint, audit).await
    }

    async fn serve(endpoint: WebSocketEndpoint, audit: Arc<Recorder>) -> Self {
        let layer = endpoint.layer("/ws").unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, layer));
        Self { addr, audit }
    }

    /// An axum application around the endpoint, which is on no path yet.
    pub async fn start_axum(app: impl FnOnce(WebSocketEndpoint) -> axum::Router) -> Self {
        let audit = Arc::new(Recorder::default());
        let app = app(endpoint(Arc::<Recorder>::clone(&audit)));
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, app).await });
        Self { addr, audit }
    }

    pub async fn connect(&self) -> Peer {
        Peer::new(TcpStream::connect(self.addr).await.unwrap())
    }

    /// Connects, sends `request`, and reads the head of the answer.
    pub async fn send(&self, request: impl AsRef<[u8]>) -> (Head, Peer) {
        let mut client = self.connect().await;
        client.send(request).await;
        (client.head().await, client)
    }
}

/// Serves every connection to `listener`.
pub async fn serve(listener: TcpListener, layer: WebSocketLayer) {
    loop {
        let (stream, peer) = listener.accept().await.unwrap();
        // What the kernel holds back for a while never comes by a paused clock.
        stream.set_nodelay(true).unwrap();
        serve_one(stream, peer, &layer);
    }
}

/// Serves one connection, whatever carries it, from `peer` unless the request says from where.
pub fn serve_one<Io>(io: Io, peer: impl Into<Option<SocketAddr>>, layer: &WebSocketLayer)
where
    Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let inner = service_fn(async |_: Request<Incoming>| {
        let mut response = Response::new("inner".to_owned());
        *response.status_mut() = StatusCode::NOT_FOUND;
        Ok::<_, Infallible>(response)
    });
    let (service, peer) = (layer.layer(inner), peer.into());
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        let said = request.headers().get("x-test-from");
        let said = said.map(|it| it.to_str().unwrap().parse().unwrap());
        if let Some(peer) = said.or(peer) {
            request.extensions_mut().insert(PeerAddr(peer));
        }
        service.clone().oneshot(request)
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(io), service);
    // A peer that breaks off is no failure of the server.
    tokio::spawn(async { drop(connection.with_upgrades().await) });
}

/// The baseline handshake of the attack catalogue, `HS`.
pub fn handshake() -> String {
    handshake_with("Origin", &["https://app.example"])
}

/// `HS` with the lines of one header replaced; without any value it is left out.
pub fn handshake_with(name: &str, values: &[&str]) -> String {
    let baseline = [
        ("Host", "app.example"),
        ("Origin", "https://app.example"),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let kept = baseline.into_iter().filter(|(it, _)| !it.eq_ignore_ascii_case(name));
    let lines: String = kept
        .chain(values.iter().map(|value| (name, *value)))
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!("GET /ws HTTP/1.1\r\n{lines}\r\n")
}
