//! A socket in memory whose every answer is the test's.

use std::{
    collections::VecDeque,
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::wire;
use crate::driver::transport::Transport;

/// What the test holds of a socket.
#[derive(Clone, Debug, Default)]
pub struct Peer(Arc<Mutex<Socket>>);

/// What the server holds of it.
#[derive(Debug)]
pub struct Server(Peer);

/// What became of both sides.
#[derive(Debug, Default)]
pub struct Socket {
    /// What the peer sent; each is one read at most.
    incoming: VecDeque<Bytes>,
    ended: bool,
    pub broken: bool,
    /// The peer has closed its socket.
    deaf: bool,
    /// Bytes that the server has read.
    pub read: usize,
    /// Bytes that the socket takes before it is full; `None` is no end of them.
    room: Option<usize>,
    /// It is no TCP socket, and as OpenSSL's it fails if it is offered less than what it had no room for.
    pub encrypted: bool,
    /// So many bytes were that.
    refused: usize,
    /// Bytes that it takes at once.
    piece: Option<usize>,
    pub written: Vec<u8>,
    pub writes: usize,
    pub flushes: usize,
    /// What the server would let a kernel hold unsent, each time it said so.
    pub limits: Vec<u32>,
    /// The server will write no more.
    pub shut_down: bool,
    /// The server has dropped it.
    pub gone: bool,
    /// The server waits for something to read, or for room to write.
    waiting: Vec<Waker>,
    /// The peer waits for something to be written.
    listening: Vec<Waker>,
    auto_reply: Option<AutoReply>,
}

/// Looks at all that was written, and says what the peer sends upon it.
struct AutoReply(Box<dyn AnswersBytes>);

trait AnswersBytes: FnMut(&[u8]) -> Vec<u8> + Send {}

impl<F: FnMut(&[u8]) -> Vec<u8> + Send> AnswersBytes for F {}

impl Peer {
    pub fn socket(&self) -> MutexGuard<'_, Socket> {
        // A test that fails while it looks at the socket is to fail with its own words.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The other end.
    pub fn server(&self) -> Server {
        Server(self.clone())
    }

    fn change(&self, change: impl FnOnce(&mut Socket)) {
        let waiting = {
            let mut socket = self.socket();
            change(&mut socket);
            std::mem::take(&mut socket.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    pub fn send(&self, bytes: impl Into<Vec<u8>>) {
        self.change(|socket| socket.receive(bytes.into()));
    }

    /// From now on, and for what is written already, `auto_reply` says what the peer sends at once.
    pub fn set_auto_reply(&self, auto_reply: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static) {
        self.change(|socket| {
            socket.auto_reply = Some(AutoReply(Box::new(auto_reply)));
            socket.react();
        });
    }

    pub fn clear_auto_reply(&self) {
        self.change(|socket| socket.auto_reply = None);
    }

    pub fn end(&self) {
        self.change(|socket| socket.ended = true);
    }

    /// It closes its socket: there is nothing more to read, and no peer to write to.
    pub fn hang_up(&self) {
        self.change(|socket| {
            socket.ended = true;
            socket.deaf = true;
        });
    }

    pub fn break_down(&self) {
        self.change(|socket| socket.broken = true);
    }

    /// From now on the socket takes so many bytes more.
    pub fn room(&self, bytes: impl Into<Option<usize>>) {
        self.change(|socket| socket.room = bytes.into());
    }

    /// The socket takes so many bytes more, or less if it takes less already.
    pub fn at_most(&self, bytes: usize) {
        self.change(|socket| socket.room = Some(socket.room.map_or(bytes, |it| it.min(bytes))));
    }

    pub fn piece(&self, bytes: impl Into<Option<usize>>) {
        self.change(|socket| socket.piece = bytes.into());
    }

    /// The server does something that the peer may wait for, or answer.
    fn act<T>(&self, act: impl FnOnce(&mut Socket) -> T) -> T {
        let (done, wakers) = {
            let mut socket = self.socket();
            let sent = socket.incoming.len();
            let done = act(&mut socket);
            let mut wakers = std::mem::take(&mut socket.listening);
            if socket.incoming.len() > sent {
                wakers.append(&mut socket.waiting);
            }
            (done, wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
        done
    }

    /// Waits until `heard` finds something in what the server has done so far.
    pub fn poll_heard<T>(
        &self,
        cx: &mut Context<'_>,
        heard: impl FnOnce(&mut Socket) -> Option<T>,
    ) -> Poll<T> {
        let mut socket = self.socket();
        match heard(&mut socket) {
            Some(heard) => Poll::Ready(heard),
            None => {
                keep(&mut socket.listening, cx);
                Poll::Pending
            }
        }
    }

    /// Bytes the peer sent that the server has not read.
    pub fn unread(&self) -> usize {
        self.socket().incoming.iter().map(Bytes::len).sum()
    }

    /// The frames on the wire: opcode and payload. The last may be cut short.
    pub fn frames(&self) -> Vec<(u8, Vec<u8>)> {
        wire::frames(&self.socket().written)
    }

    pub fn texts(&self) -> Vec<String> {
        let texts = self.frames().into_iter().filter(|(opcode, _)| *opcode == 1);
        texts.map(|(_, payload)| String::from_utf8(payload).unwrap()).collect()
    }

    /// The code of the close frame, which is the last frame.
    pub fn close_code(&self) -> Option<u16> {
        let frames = self.frames();
        assert!(frames.iter().rev().skip(1).all(|(opcode, _)| *opcode != 8), "data behind a close");
        let (_, payload) = frames.last().filter(|(opcode, _)| *opcode == 8)?;
        Some(u16::from_be_bytes([payload[0], payload[1]]))
    }
}

impl Socket {
    /// Nothing is sent behind the end, and an empty read would be one. What comes when the server is gone
    /// is lost, as with a kernel.
    fn receive(&mut self, bytes: Vec<u8>) {
        if !self.ended && !self.gone && !bytes.is_empty() {
            self.incoming.push_back(bytes.into());
        }
    }

    fn react(&mut self) {
        if let Some(AutoReply(auto_reply)) = &mut self.auto_reply {
            let sent = auto_reply(&self.written);
            self.receive(sent);
        }
    }

    fn take(&mut self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes += 1;
        if self.broken || self.deaf {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.encrypted && bytes.len() < self.refused {
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        }
        let most = self.room.unwrap_or(usize::MAX).min(self.piece.unwrap_or(usize::MAX));
        let taken = &bytes[..bytes.len().min(most)];
        self.refused = if taken.is_empty() { bytes.len() } else { 0 };
        if taken.is_empty() {
            keep(&mut self.waiting, cx);
            return Poll::Pending;
        }
        self.room = self.room.map(|room| room - taken.len());
        self.written.extend_from_slice(taken);
        self.react();
        Poll::Ready(Ok(taken.len()))
    }
}

impl Transport for Server {
    fn limit_unsent(&self, bytes: u32) -> bool {
        let mut socket = self.0.socket();
        if !socket.encrypted {
            socket.limits.push(bytes);
        }
        !socket.encrypted
    }

    fn write_last(&self, bytes: &[u8]) -> usize {
        if self.0.socket().encrypted {
            return 0;
        }
        let cx = Context::from_waker(Waker::noop());
        match self.0.act(|socket| socket.take(&cx, bytes)) {
            Poll::Ready(Ok(written)) => written,
            _ => 0,
        }
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
            keep(&mut socket.waiting, cx);
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
        self.0.act(|socket| socket.take(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.socket().flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.act(|socket| socket.shut_down = true);
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for AutoReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AutoReply")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.act(|socket| socket.gone = true);
    }
}

/// Keeps the waker of `cx`, once.
fn keep(wakers: &mut Vec<Waker>, cx: &Context<'_>) {
    if !wakers.iter().any(|it| it.will_wake(cx.waker())) {
        wakers.push(cx.waker().clone());
    }
}
