//! A socket in memory whose every answer is the test's.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::wire;

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
    incoming: VecDeque<Vec<u8>>,
    ended: bool,
    pub broken: bool,
    /// The peer has closed its socket.
    deaf: bool,
    /// Bytes that the server has read.
    pub read: usize,
    /// Bytes that the socket takes before it is full; `None` is no end of them.
    room: Option<usize>,
    /// Bytes that it takes at once.
    piece: Option<usize>,
    pub written: Vec<u8>,
    pub writes: usize,
    pub flushes: usize,
    /// The server will write no more.
    pub shut_down: bool,
    /// The server has dropped it.
    pub gone: bool,
    /// The server waits for something to read, or for room to write.
    waiting: Vec<Waker>,
    /// The peer waits for something to be written.
    listening: Vec<Waker>,
}

impl Peer {
    pub fn socket(&self) -> MutexGuard<'_, Socket> {
        self.0.lock().unwrap()
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
        self.change(|socket| socket.incoming.push_back(bytes.into()));
    }

    pub fn end(&self) {
        self.change(|socket| socket.ended = true);
    }

    /// It closes its socket: there is nothing more to read, and nobody to write to.
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

    pub fn piece(&self, bytes: impl Into<Option<usize>>) {
        self.change(|socket| socket.piece = bytes.into());
    }

    /// The server does something that the peer may wait for.
    fn act<T>(&self, act: impl FnOnce(&mut Socket) -> T) -> T {
        let (done, listening) = {
            let mut socket = self.socket();
            (act(&mut socket), std::mem::take(&mut socket.listening))
        };
        listening.into_iter().for_each(Waker::wake);
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
                socket.listening.push(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Bytes the peer sent that the server has not read.
    pub fn unread(&self) -> usize {
        self.socket().incoming.iter().map(Vec::len).sum()
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
    fn take(&mut self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes += 1;
        if self.broken || self.deaf {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let most = self.room.unwrap_or(usize::MAX).min(self.piece.unwrap_or(usize::MAX));
        let taken = &bytes[..bytes.len().min(most)];
        if taken.is_empty() {
            self.waiting.push(cx.waker().clone());
            return Poll::Pending;
        }
        self.room = self.room.map(|room| room - taken.len());
        self.written.extend_from_slice(taken);
        Poll::Ready(Ok(taken.len()))
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

impl Drop for Server {
    fn drop(&mut self) {
        self.0.act(|socket| socket.gone = true);
    }
}
