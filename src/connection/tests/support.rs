//! A socket whose every answer is the test's, and a connection served on it turn by turn.

use std::{
    collections::VecDeque,
    future::{Future, ready},
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower::service_fn;
use tower_service::Service;

use crate::{
    audit::{AuditEvent, AuditSink, Closed},
    connection::{self, ConnectionConfig},
    handle::Connection,
    message::{Anonymous, Failure, Inbound, Message, Reply},
};

/// What the test holds of a socket.
#[derive(Clone, Default)]
pub(super) struct Peer(Arc<Mutex<Socket>>);

/// What the server holds of it.
pub(super) struct Server(Peer);

#[derive(Default)]
pub(super) struct Socket {
    /// What the peer sent; each is one read at most.
    incoming: VecDeque<Vec<u8>>,
    ended: bool,
    pub(super) broken: bool,
    /// Bytes that the server has read.
    pub(super) read: usize,
    /// Bytes that the socket takes before it is full; `None` is no end of them.
    room: Option<usize>,
    /// Bytes that it takes at once.
    piece: Option<usize>,
    pub(super) written: Vec<u8>,
    pub(super) writes: usize,
    pub(super) flushes: usize,
    pub(super) shut_down: bool,
    waiting: Vec<Waker>,
}

impl Peer {
    pub(super) fn socket(&self) -> MutexGuard<'_, Socket> {
        self.0.lock().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut Socket)) {
        let waiting = {
            let mut socket = self.socket();
            change(&mut socket);
            std::mem::take(&mut socket.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(super) fn send(&self, bytes: impl Into<Vec<u8>>) {
        self.change(|socket| socket.incoming.push_back(bytes.into()));
    }

    pub(super) fn end(&self) {
        self.change(|socket| socket.ended = true);
    }

    pub(super) fn break_down(&self) {
        self.change(|socket| socket.broken = true);
    }

    /// From now on the socket takes so many bytes more.
    pub(super) fn room(&self, bytes: impl Into<Option<usize>>) {
        self.change(|socket| socket.room = bytes.into());
    }

    pub(super) fn piece(&self, bytes: impl Into<Option<usize>>) {
        self.change(|socket| socket.piece = bytes.into());
    }

    /// Bytes the peer sent that the server has not read.
    pub(super) fn unread(&self) -> usize {
        self.socket().incoming.iter().map(Vec::len).sum()
    }

    /// The frames on the wire: opcode and payload. The last may be cut short.
    pub(super) fn frames(&self) -> Vec<(u8, Vec<u8>)> {
        frames(&self.socket().written)
    }

    pub(super) fn texts(&self) -> Vec<String> {
        let texts = self.frames().into_iter().filter(|(opcode, _)| *opcode == 1);
        texts.map(|(_, payload)| String::from_utf8(payload).unwrap()).collect()
    }

    /// The code of the close frame, which is the last frame.
    pub(super) fn close_code(&self) -> Option<u16> {
        let frames = self.frames();
        assert!(frames.iter().rev().skip(1).all(|(opcode, _)| *opcode != 8), "data behind a close");
        let (_, payload) = frames.last().filter(|(opcode, _)| *opcode == 8)?;
        Some(u16::from_be_bytes([payload[0], payload[1]]))
    }
}

impl AsyncRead for Server {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut socket = self.0.socket();
        if socket.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let Some(mut bytes) = socket.incoming.pop_front() else {
            if socket.ended {
                return Poll::Ready(Ok(()));
            }
            socket.waiting.push(cx.waker().clone());
            return Poll::Pending;
        };
        let rest = bytes.split_off(bytes.len().min(buf.remaining()));
        if !rest.is_empty() {
            socket.incoming.push_front(rest);
        }
        socket.read += bytes.len();
        buf.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Server {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut socket = self.0.socket();
        socket.writes += 1;
        if socket.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let most = socket.room.unwrap_or(usize::MAX).min(socket.piece.unwrap_or(usize::MAX));
        let taken = &buf[..buf.len().min(most)];
        if taken.is_empty() {
            socket.waiting.push(cx.waker().clone());
            return Poll::Pending;
        }
        socket.room = socket.room.map(|room| room - taken.len());
        socket.written.extend_from_slice(taken);
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.socket().flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.socket().shut_down = true;
        Poll::Ready(Ok(()))
    }
}

/// Audit records, kept.
#[derive(Clone, Default)]
pub(super) struct Records(Arc<Mutex<Vec<AuditEvent>>>);

impl AuditSink for Records {
    fn record(&self, event: AuditEvent) {
        self.0.lock().unwrap().push(event);
    }
}

impl Records {
    pub(super) fn connected(&self) -> usize {
        let records = self.0.lock().unwrap();
        records.iter().filter(|it| matches!(it, AuditEvent::Connected { .. })).count()
    }

    pub(super) fn all_closed(&self) -> Vec<Closed> {
        let records = self.0.lock().unwrap();
        let closed = records.iter().filter_map(|it| match it {
            AuditEvent::Closed(closed) => Some(closed.clone()),
            _ => None,
        });
        closed.collect()
    }

    /// The one record of the end.
    pub(super) fn closed(&self) -> Closed {
        assert_eq!(self.connected(), 1);
        let [closed] = <[Closed; 1]>::try_from(self.all_closed()).unwrap();
        closed
    }
}

/// A connection that is served, as long as the test lets it.
pub(super) struct Served {
    future: Pin<Box<dyn Future<Output = ()>>>,
    woken: Arc<Woken>,
    pub(super) peer: Peer,
    pub(super) connection: Connection,
    pub(super) records: Records,
    pub(super) done: bool,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Served {
    /// Anonymous, so that nothing ends it by itself; the first ping comes within its interval.
    pub(super) fn new<S>(config: ConnectionConfig, stack: S) -> Self
    where
        S: Service<Inbound<Message, Anonymous>, Response = Reply<Message>> + 'static,
        S::Error: Into<Failure<Message>>,
    {
        Self::with(config, true, stack)
    }

    pub(super) fn with<S>(config: ConnectionConfig, anonymous: bool, stack: S) -> Self
    where
        S: Service<Inbound<Message, Anonymous>, Response = Reply<Message>> + 'static,
        S::Error: Into<Failure<Message>>,
    {
        let (peer, records) = (Peer::default(), Records::default());
        let audit = Arc::new(records.clone());
        let connection = Connection::new(None, config.outbound_limits(), None, audit);
        let (io, handle) = (Server(peer.clone()), connection.clone());
        let future =
            Box::pin(connection::serve(io, handle, Arc::new(config), anonymous, stack, ()));
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        Self { future, woken, peer, connection, records, done: false }
    }

    /// One turn, whether something woke it or not.
    pub(super) async fn turn(&mut self) {
        // Gives the timers of this test a budget of their own, and a look at the clock.
        tokio::task::yield_now().await;
        self.woken.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self.woken));
        if !self.done {
            self.done = self.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        }
    }

    /// Turns until nothing wakes it any more; says how many there were.
    pub(super) async fn settle(&mut self) -> usize {
        for turns in 0..SETTLES {
            if self.done || !self.woken.0.load(Ordering::SeqCst) {
                return turns;
            }
            self.turn().await;
        }
        panic!("wakes itself for ever");
    }

    /// So many milliseconds pass, one by one where anything happens in them.
    pub(super) async fn wait(&mut self, millis: u64) {
        for _ in 0..millis {
            self.settle().await;
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        self.settle().await;
    }

    pub(super) async fn send(&mut self, bytes: impl Into<Vec<u8>>) {
        self.peer.send(bytes);
        self.settle().await;
    }

    /// The task is dropped, as at the end of a runtime.
    pub(super) fn abort(self) -> (Peer, Records) {
        (self.peer, self.records)
    }
}

/// A connection that answers every message with itself, at once.
pub(super) fn echo(config: ConnectionConfig) -> Served {
    let echo = |inbound: Inbound<Message, Anonymous>| {
        ready(Ok::<_, Failure<Message>>(Reply::one(inbound.message)))
    };
    Served::new(config, service_fn(echo))
}

/// The defaults, without pings.
pub(super) fn quiet() -> ConnectionConfig {
    ConnectionConfig::new().ping_interval(Duration::MAX)
}

/// A client's frame, with a mask of zeros.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()).unwrap() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

pub(super) fn text(text: &str) -> Vec<u8> {
    frame(0x81, text.as_bytes())
}

pub(super) fn ping(payload: &[u8]) -> Vec<u8> {
    frame(0x89, payload)
}

/// A server's frames.
pub(super) fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        assert_eq!(first & 0xf0, 0x80, "one final frame for a message");
        let (header, length) = match length {
            0..=125 => (0, u64::from(*length)),
            126 => (2, rest.get(..2).map_or(u64::MAX, |it| it.iter().fold(0, shift))),
            127 => (8, rest.get(..8).map_or(u64::MAX, |it| it.iter().fold(0, shift))),
            _ => panic!("masked"),
        };
        let end = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(header);
        let Some(payload) = rest.get(header..end) else {
            break;
        };
        frames.push((first & 0x0f, payload.to_vec()));
        bytes = &rest[end..];
    }
    frames
}

fn shift(sum: u64, byte: &u8) -> u64 {
    sum << 8 | u64::from(*byte)
}

/// More turns than anything here can use, with everything ready.
const SETTLES: usize = 2000;
