//! A server with small kernel buffers, and a peer that reads only when it is told to.

use std::{
    convert::Infallible,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex, mpsc::Sender},
    time::Duration,
};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
    time::timeout,
};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_layer::Layer;
use tower_websocket::{
    Admission, AuditEvent, AuditRecord, AuditSink, AuthFailure, Authenticate, Connection,
    ConnectionConfig, ConnectionId, DecodeLayer, Message, OpenRooms, PeerAddr, Quota,
    RequireAuthLayer, Rooms, RoomsLayer, Session, WebSocketEndpoint,
    audit::{Closed, Refused},
    service::{self, ClientMessage, ServerMessage, credentials},
};

pub use super::slow_peer::{Frame, Peer, frame};
use crate::{http::handshake, slow_peer::PATIENCE};

/// Keeps every audit record, and tells who waits for one.
#[derive(Debug, Default)]
pub struct Audit {
    records: Mutex<Vec<AuditRecord>>,
    recorded: Notify,
}

impl AuditSink for Audit {
    fn record(&self, record: &AuditRecord) {
        self.records.lock().unwrap().push(record.clone());
        self.recorded.notify_waiters();
    }
}

impl Audit {
    pub fn records(&self) -> Vec<AuditRecord> {
        self.records.lock().unwrap().clone()
    }

    fn all<T>(&self, of: impl Fn(&AuditRecord) -> Option<T>) -> Vec<T> {
        self.records.lock().unwrap().iter().filter_map(of).collect()
    }

    pub fn refusals(&self) -> Vec<Refused> {
        self.all(|it| match &it.event {
            AuditEvent::Refused(refused) => Some(refused.clone()),
            _ => None,
        })
    }

    /// The id of the connection that was the last to end.
    pub fn last_closed(&self) -> ConnectionId {
        let closed = |it: &AuditRecord| matches!(it.event, AuditEvent::Closed(_));
        let ids = self.all(|it| it.connection.filter(|_| closed(it)));
        *ids.last().unwrap()
    }

    /// The flight records of the first `count` connections to end, waited for.
    pub async fn closed(&self, count: usize) -> Vec<Closed> {
        loop {
            let recorded = self.recorded.notified();
            let mut recorded = std::pin::pin!(recorded);
            recorded.as_mut().enable();
            let closed = self.all(|it| match &it.event {
                AuditEvent::Closed(closed) => Some(closed.clone()),
                _ => None,
            });
            if closed.len() >= count {
                return closed;
            }
            timeout(PATIENCE, recorded).await.expect("the connection does not end");
        }
    }
}

/// A server whose endpoint answers on every path.
pub struct Server {
    addr: SocketAddr,
    pub audit: Arc<Audit>,
}

impl Server {
    /// Must be called within the runtime of the test.
    pub fn start(endpoint: WebSocketEndpoint) -> Self {
        Self::start_on(endpoint, |stream| stream)
    }

    /// The same, with something between the socket and hyper.
    pub fn start_on<Io>(
        endpoint: WebSocketEndpoint,
        wrap: impl Fn(TcpStream) -> Io + Send + 'static,
    ) -> Self
    where
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let audit = Arc::new(Audit::default());
        let endpoint = endpoint.audit(Arc::clone(&audit));
        Self { audit, ..Self::start_unrecorded_on(endpoint, wrap) }
    }

    /// With the sink that the layer has.
    pub fn start_unrecorded(endpoint: WebSocketEndpoint) -> Self {
        Self::start_unrecorded_on(endpoint, |stream| stream)
    }

    fn start_unrecorded_on<Io>(
        endpoint: WebSocketEndpoint,
        wrap: impl Fn(TcpStream) -> Io + Send + 'static,
    ) -> Self
    where
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let endpoint = endpoint.admission(everybody());
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(KERNEL_BUFFER).unwrap();
        socket.set_recv_buffer_size(KERNEL_BUFFER).unwrap();
        Self::start_unrecorded_with(endpoint, socket, wrap)
    }

    /// With the kernel's own buffers on the server's side, which grow to megabytes.
    pub fn start_roomy(endpoint: WebSocketEndpoint) -> Self {
        let audit = Arc::new(Audit::default());
        let endpoint = endpoint.audit(Arc::clone(&audit)).admission(everybody());
        let socket = TcpSocket::new_v4().unwrap();
        Self { audit, ..Self::start_unrecorded_with(endpoint, socket, |stream| stream) }
    }

    fn start_unrecorded_with<Io>(
        endpoint: WebSocketEndpoint,
        socket: TcpSocket,
        wrap: impl Fn(TcpStream) -> Io + Send + 'static,
    ) -> Self
    where
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(4096).unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, endpoint, wrap));
        Self { addr, audit: Arc::default() }
    }

    /// A peer that has been accepted.
    pub async fn connect(&self) -> Peer {
        self.connect_with(&handshake()).await
    }

    pub async fn connect_with(&self, request: &str) -> Peer {
        let mut peer = self.connect_raw().await;
        peer.send(request).await;
        assert!(peer.head().await.starts_with("HTTP/1.1 101"));
        peer
    }

    /// A peer that has said nothing yet.
    pub async fn connect_raw(&self) -> Peer {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(KERNEL_BUFFER).unwrap();
        socket.set_send_buffer_size(KERNEL_BUFFER).unwrap();
        let stream = socket.connect(self.addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Peer::new(stream)
    }

    /// A peer of [`chat`] that is logged in as `user` and has joined `room`.
    pub async fn member(&self, user: &str, room: &str) -> Peer {
        let mut peer = self.user(user).await;
        peer.text(&format!(r#"{{"type":"join","roomId":"{room}"}}"#)).await;
        assert!(peer.message().await.contains("joined"));
        peer
    }

    /// A peer of [`chat`] that is logged in as `user`.
    pub async fn user(&self, user: &str) -> Peer {
        let mut peer = self.connect().await;
        peer.text(&format!(r#"{{"type":"auth","token":"{user}"}}"#)).await;
        assert_eq!(peer.message().await, "welcome");
        peer
    }
}

async fn serve<Io>(
    listener: TcpListener,
    endpoint: WebSocketEndpoint,
    wrap: impl Fn(TcpStream) -> Io + Send + 'static,
) where
    Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let inner = service_fn(async |_: Request<Incoming>| {
        Ok::<_, Infallible>(Response::new("inner".to_owned()))
    });
    let service = endpoint.layer_on_every_path().layer(inner);
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            // Tests come from wherever they say.
            if let Some(from) = request.headers().get("x-test-from") {
                let addr: SocketAddr = from.to_str().unwrap().parse().unwrap();
                request.extensions_mut().insert(PeerAddr(addr));
            }
            service.clone().oneshot(request)
        });
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(wrap(stream)), service);
        // A peer that breaks off is no failure of the server.
        tokio::spawn(async { drop(connection.with_upgrades().await) });
    }
}

/// A user is whoever the token says.
pub type User = String;

/// Lets everybody in under any name but `nobody`.
pub struct Tokens;

impl Authenticate for Tokens {
    type User = User;

    async fn authenticate(
        &self,
        message: &Message,
        _: &Connection,
    ) -> Result<Session<User>, AuthFailure> {
        let token = credentials(message).ok_or(AuthFailure::Required)?;
        if token.as_str() == "nobody" {
            return Err(AuthFailure::Rejected);
        }
        Ok(Session::new(token.as_str().to_owned()).reply(Message::text("welcome")))
    }
}

/// The small room service.
pub fn chat(rooms: &Rooms<ServerMessage>) -> WebSocketEndpoint {
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(Tokens))
        .layer(DecodeLayer::<ClientMessage>::json())
        .layer(RoomsLayer::new(rooms.clone(), OpenRooms));
    WebSocketEndpoint::new(messages, service_fn(service::handle)).connection(quiet()).unwrap()
}

/// What a member of the room `room` says.
pub fn say(room: &str, text: &str) -> String {
    format!(r#"{{"type":"chat","roomId":"{room}","requestId":"r","text":"{text}"}}"#)
}

/// The defaults, without pings.
pub fn quiet() -> ConnectionConfig {
    ConnectionConfig::new().ping_interval(Duration::from_secs(1_000_000))
}

/// Keeps the paused clock from moving by itself, which it also does when all tasks wait for sockets.
///
/// While this lives, only `tokio::time::advance` moves it.
pub struct FrozenClock(#[expect(dead_code, reason = "ends the wait when dropped")] Sender<()>);

impl FrozenClock {
    #[allow(clippy::new_without_default, reason = "what it does is more than a default")]
    pub fn new() -> Self {
        let (sender, dropped) = std::sync::mpsc::channel();
        // The runtime's clock stands still while there is blocking work. If a test hangs, it moves
        // again, and the test fails.
        tokio::task::spawn_blocking(move || dropped.recv_timeout(Duration::from_secs(60)));
        Self(sender)
    }
}

fn everybody() -> Admission {
    const MANY: u32 = 1_000_000;
    let count = NonZeroUsize::new(MANY as usize).unwrap();
    Admission::new()
        .max_connections(count)
        .max_unauthenticated(count)
        .max_connections_per_peer(count)
        .handshakes(Quota::per_second(MANY))
}

pub fn nonzero(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

/// Small, so that a peer that does not read is noticed soon. The kernel takes it as a hint.
const KERNEL_BUFFER: u32 = 8 * 1024;
