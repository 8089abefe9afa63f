//! A server in memory: an HTTP service behind hyper, and no TCP.

use std::{
    error::Error,
    future::{Future, poll_fn},
    panic::Location,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Extensions, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tower_service::Service;

use super::{
    Content, TestHandshake, TestPeer,
    handshake::handshake,
    peer::{PATIENCE, in_one_frame},
    socket::{Peer, Server},
};
use crate::{opaque::opaque_debug, upgrade::WebSocketEndpoint};

/// An HTTP service with your endpoint in it, served to peers in memory.
///
/// Each peer has a connection of its own, with hyper on the server's side: what is tested is the
/// whole way from the handshake to your handler.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use tower::{layer::util::Identity, service_fn};
/// use tower_websocket::{
///     Anonymous, HandlerResult, Inbound, Message, Reply, WebSocketEndpoint, testing::TestServer,
/// };
///
/// async fn echo(m: Inbound<Message, Anonymous>) -> HandlerResult {
///     Ok(Reply::one(m.message))
/// }
///
/// let endpoint = WebSocketEndpoint::new(Identity::new(), service_fn(echo)).allow_anonymous();
/// let mut peer = TestServer::endpoint(endpoint).connect("/").await;
/// peer.assert_reply("hello", "hello").await;
/// # }
/// ```
#[derive(Clone)]
pub struct TestServer {
    serve: Arc<dyn Fn(Server, Extensions) -> Failed + Send + Sync>,
}

/// Why a connection that was not upgraded ended badly, if it did.
type Failed = Arc<OnceLock<String>>;

/// The body of a request, as hyper reads it.
#[derive(Debug)]
pub struct RequestBody(Incoming);

impl TestServer {
    /// Serves `service`: your application with its endpoint, an axum router for example.
    pub fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let serve = move |socket, extensions: Extensions| {
            let service = service.clone();
            let answer = service_fn(move |request: Request<Incoming>| {
                let mut request = request.map(RequestBody);
                request.extensions_mut().extend(extensions.clone());
                let mut service = service.clone();
                async move {
                    poll_fn(|cx| service.poll_ready(cx)).await?;
                    service.call(request).await
                }
            });
            let connection = http1::Builder::new()
                .serve_connection(TokioIo::new(socket), answer)
                .with_upgrades();
            let failed = Failed::default();
            let failing = Arc::clone(&failed);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    let cause = error.source().map(|it| format!(": {it}")).unwrap_or_default();
                    let _ = failing.set(format!("{error}{cause}"));
                }
            });
            failed
        };
        Self { serve: Arc::new(serve) }
    }

    /// Serves nothing but an endpoint.
    pub fn endpoint(endpoint: WebSocketEndpoint) -> Self {
        Self::new(endpoint.into_service())
    }

    /// A peer that has connected to `path`, with [`handshake`](handshake())'s headers.
    ///
    /// # Panics
    ///
    /// If the handshake is refused, or not answered within a minute.
    #[track_caller]
    pub fn connect(&self, path: &str) -> impl Future<Output = TestPeer> + Send + '_ {
        let at = Location::caller();
        self.open(path, Vec::new(), at)
    }

    /// A peer that connects to `path` and sends a message in the same segment as the handshake: the
    /// server has both before it has answered.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// # use tower::{layer::util::Identity, service_fn};
    /// # use tower_websocket::{
    /// #     Anonymous, HandlerResult, Inbound, Message, Reply, WebSocketEndpoint, testing::TestServer,
    /// # };
    /// # async fn echo(m: Inbound<Message, Anonymous>) -> HandlerResult {
    /// #     Ok(Reply::one(m.message))
    /// # }
    /// # let endpoint = WebSocketEndpoint::new(Identity::new(), service_fn(echo)).allow_anonymous();
    /// let mut peer = TestServer::endpoint(endpoint).connect_sending("/", "hello").await;
    /// peer.assert_push("hello").await;
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If the handshake is refused, or not answered within a minute.
    #[track_caller]
    pub fn connect_sending(
        &self,
        path: &str,
        content: impl Content,
    ) -> impl Future<Output = TestPeer> + Send + '_ {
        self.open(path, in_one_frame(&content.message()), Location::caller())
    }

    fn open(
        &self,
        path: &str,
        early: Vec<u8>,
        at: &'static Location<'static>,
    ) -> impl Future<Output = TestPeer> + Send + '_ {
        let request = handshake(path).body(()).expect("a path");
        async move {
            match self.answer(request, early, at).await {
                Ok(peer) => peer,
                Err(response) => panic!("{at}: the handshake was refused: {response:?}"),
            }
        }
    }

    /// The handshake of a peer that connects to `path`, to which a cookie, an origin or any other header
    /// is added.
    ///
    /// # Example
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// # use tower::{layer::util::Identity, service_fn};
    /// # use tower_websocket::{
    /// #     Anonymous, HandlerResult, Inbound, Message, Reply, WebSocketEndpoint, testing::TestServer,
    /// # };
    /// # async fn echo(m: Inbound<Message, Anonymous>) -> HandlerResult {
    /// #     Ok(Reply::one(m.message))
    /// # }
    /// # let endpoint = WebSocketEndpoint::new(Identity::new(), service_fn(echo)).allow_anonymous();
    /// let server = TestServer::endpoint(endpoint);
    /// let page = |origin| server.handshake("/").origin(origin).cookie("session=ada");
    /// let mut ada = page("http://localhost").connect().await;
    /// ada.assert_reply("hello", "hello").await;
    ///
    /// let refused = page("https://evil.example").send().await.unwrap_err();
    /// assert_eq!(refused.status(), 403);
    /// # }
    /// ```
    pub fn handshake(&self, path: &str) -> TestHandshake<'_> {
        TestHandshake::new(self, path)
    }

    /// Sends `request` on a connection of its own. The server sees its extensions: a
    /// [`PeerAddr`](crate::PeerAddr) says where it comes from.
    ///
    /// # Errors
    ///
    /// The answer, if it is not 101. Its body is there as far as `content-length` says.
    ///
    /// # Panics
    ///
    /// If the server answers with something that is not HTTP, or not within a minute.
    #[track_caller]
    pub fn request(
        &self,
        request: Request<()>,
    ) -> impl Future<Output = Result<TestPeer, Response<Bytes>>> + Send + '_ {
        self.answer(request, Vec::new(), Location::caller())
    }

    /// Sends `request` and, in the same segment, `early`: a body, frames before the 101, or anything
    /// else that a peer may put behind its request without waiting for the answer.
    ///
    /// # Errors
    ///
    /// # Panics
    ///
    /// As [`request`](Self::request).
    #[track_caller]
    pub fn request_sending(
        &self,
        request: Request<()>,
        early: impl Into<Vec<u8>>,
    ) -> impl Future<Output = Result<TestPeer, Response<Bytes>>> + Send + '_ {
        self.answer(request, early.into(), Location::caller())
    }

    pub(super) async fn answer(
        &self,
        request: Request<()>,
        early: Vec<u8>,
        at: &'static Location<'static>,
    ) -> Result<TestPeer, Response<Bytes>> {
        let socket = Peer::default();
        let failed = (self.serve)(socket.server(), request.extensions().clone());
        socket.send([head(&request), early].concat());
        let answer = poll_fn(|cx| {
            socket.poll_heard(cx, |heard| match response(&heard.written) {
                None if heard.gone => Some(None),
                answer => answer.map(Some),
            })
        });
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        let Ok(Some((response, taken))) = answer else {
            let why = failed.get().map_or("nothing came", String::as_str);
            panic!("{at}: the server did not answer: {why}");
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            Ok(TestPeer::new(socket, response.map(drop), taken))
        } else {
            socket.hang_up();
            Err(response)
        }
    }
}

opaque_debug! { [] TestServer; }

fn head(request: &Request<()>) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    head
}

/// The answer in `written`, once it is there whole, and its length.
fn response(written: &[u8]) -> Option<(Response<Bytes>, usize)> {
    let end = written.windows(4).position(|it| it == b"\r\n\r\n")?;
    let head = str::from_utf8(&written[..end]).expect("a head of ASCII");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status.parse().expect("a status");
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let name: HeaderName = name.parse().expect("a header's name");
        let value = HeaderValue::from_str(value.trim()).expect("a header's value");
        response.headers_mut().append(name, value);
    }
    let length = response.headers().get(header::CONTENT_LENGTH);
    let length = length.map_or(0, |it| it.to_str().ok().and_then(|it| it.parse().ok()).unwrap());
    let body = written[end + 4..].get(..length)?;
    *response.body_mut() = Bytes::copy_from_slice(body);
    Some((response, end + 4 + length))
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
