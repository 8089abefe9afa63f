//! A server with small kernel buffers, and a peer that reads only when it is told to.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{Arc, mpsc::Sender},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
};
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    Admission, AuthFailure, Authenticate, Connection, ConnectionConfig, DecodeLayer, Message,
    OpenRooms, Quota, RequireAuthLayer, Rooms, RoomsLayer, Session, WebSocketEndpoint,
    service::{self, ClientMessage, ServerMessage, credentials},
};

pub use super::slow_peer::{Frame, Peer, frame};
use crate::{
    http::{handshake, serve_one},
    recorder::Recorder,
};

/// A server whose endpoint answers on every path.
pub struct Server {
    addr: SocketAddr,
    pub audit: Arc<Recorder>,
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
        let audit = Arc::new(Recorder::default());
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
        let audit = Arc::new(Recorder::default());
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
        assert_eq!(peer.head().await.status, 101);
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
    let layer = endpoint.layer_on_every_path();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        serve_one(wrap(stream), None, &layer);
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
