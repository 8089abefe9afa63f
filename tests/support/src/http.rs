//! A plain hyper server around the endpoint, and a client that writes bytes.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;
use tower_websocket::{PeerAddr, WebSocketEndpoint, WebSocketLayer};

use crate::{echo::endpoint, recorder::Recorder};

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

    pub async fn connect(&self) -> RawClient {
        let stream = TcpStream::connect(self.addr).await.unwrap();
        RawClient { stream, read: Vec::new() }
    }

    /// Connects, sends `request`, and reads the head of the answer.
    pub async fn send(&self, request: impl AsRef<[u8]>) -> (Head, RawClient) {
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

/// A socket, and what was read from it but not asked for yet.
pub struct RawClient {
    stream: TcpStream,
    read: Vec<u8>,
}

impl RawClient {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Like [`send`](Self::send), to a server that may have hung up.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// The head of the next answer.
    pub async fn head(&mut self) -> Head {
        loop {
            if let Some(end) = self.read.windows(4).position(|it| it == b"\r\n\r\n") {
                let rest = self.read.split_off(end + 4);
                return Head::parse(&std::mem::replace(&mut self.read, rest));
            }
            assert!(self.fill().await, "EOF within a head: {:?}", self.read);
        }
    }

    /// The next `count` bytes.
    pub async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(self.fill().await, "EOF after {:?}", self.read);
        }
        let rest = self.read.split_off(count);
        std::mem::replace(&mut self.read, rest)
    }

    /// Everything until the server hangs up, however it does.
    pub async fn until_eof(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.read)
    }

    /// Sends a text message and takes the echo.
    pub async fn assert_echo(&mut self) {
        self.send(TEXT_FRAME).await;
        assert_eq!(self.take(TEXT_ECHO.len()).await, TEXT_ECHO);
    }

    async fn fill(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.read));
        matches!(read.await.expect("the server neither answers nor hangs up"), Ok(1..))
    }
}

/// The head of a response.
#[derive(Debug)]
pub struct Head {
    pub status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    fn parse(bytes: &[u8]) -> Self {
        let text = str::from_utf8(bytes).unwrap();
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |it: &str| {
            let (name, value) = it.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        };
        Self { status, headers: lines.map(header).collect() }
    }

    /// The one line of header `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.iter().filter(|(it, _)| it == name);
        let value = lines.next().map(|(_, it)| it.as_str());
        assert!(lines.next().is_none(), "{name} is repeated: {self:?}");
        value
    }
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

/// The text `{}`, masked with zeros.
pub const TEXT_FRAME: &[u8] = b"\x81\x82\0\0\0\0{}";

/// What the echo endpoint answers to it.
pub const TEXT_ECHO: &[u8] = b"\x81\x02{}";

/// So that a server that does nothing fails a test instead of holding it up.
const PATIENCE: Duration = Duration::from_secs(10);
