//! A socket in memory whose every answer is the target's.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the target holds of it.
#[derive(Clone, Default)]
pub(crate) struct Peer(Arc<Mutex<Socket>>);

/// What the server holds of it.
pub(crate) struct Server(pub(crate) Peer);

#[derive(Default)]
struct Socket {
    /// What the peer sent; each is one read at most.
    incoming: VecDeque<Vec<u8>>,
    ended: bool,
    broken: bool,
    /// Bytes that the socket takes before it is full; `None` is no end of them.
    room: Option<usize>,
    /// Bytes that it takes at once.
    piece: Option<usize>,
    written: Vec<u8>,
    waiting: Vec<Waker>,
}

impl Peer {
    fn change(&self, change: impl FnOnce(&mut Socket)) {
        let waiting = {
            let mut socket = self.0.lock().unwrap();
            change(&mut socket);
            std::mem::take(&mut socket.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn send(&self, bytes: &[u8]) {
        // An empty read is the end.
        if !bytes.is_empty() {
            self.change(|socket| socket.incoming.push_back(bytes.into()));
        }
    }

    pub(crate) fn end(&self) {
        self.change(|socket| socket.ended = true);
    }

    pub(crate) fn break_down(&self) {
        self.change(|socket| socket.broken = true);
    }

    pub(crate) fn room(&self, bytes: Option<usize>) {
        self.change(|socket| socket.room = bytes);
    }

    pub(crate) fn piece(&self, bytes: usize) {
        self.change(|socket| socket.piece = Some(bytes));
    }

    pub(crate) fn written(&self) -> Vec<u8> {
        self.0.lock().unwrap().written.clone()
    }
}

impl AsyncRead for Server {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut socket = self.0.0.lock().unwrap();
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
        let mut socket = self.0.0.lock().unwrap();
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

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A client's frame, with a mask of zeros.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
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

/// A server's frames: opcode and payload. The last may be cut short, and is left out then.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        assert_eq!(first & 0xf0, 0x80, "one final frame for a message");
        let (header, length) = match length {
            0..=125 => (0, Some(usize::from(*length))),
            126 => (2, rest.first_chunk().map(|it| u16::from_be_bytes(*it).into())),
            _ => panic!("masked, or longer than any message here"),
        };
        let Some(payload) = length.and_then(|length| rest.get(header..header + length)) else {
            break;
        };
        frames.push((first & 0x0f, payload.to_vec()));
        bytes = &rest[header + payload.len()..];
    }
    frames
}
