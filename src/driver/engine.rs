//! Speak the protocol: tungstenite, and the socket beneath it.
//!
//! tungstenite keeps the two apart: its context holds buffers and the state of the protocol, and is
//! lent a stream for each call. So the context can be replaced while the socket stays, which is the
//! only way to get memory back from it: a buffer that a large message made grow is kept for good.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::{Role, WebSocketConfig, WebSocketContext},
};

use crate::driver::{
    transport::Transport,
    wire::{Filled, Wire},
};

/// The protocol engine on a socket.
#[derive(Debug)]
pub(crate) struct Engine<Io> {
    wire: Wire<Io>,
    context: WebSocketContext,
    config: WebSocketConfig,
    /// Reading ended, in whatever way.
    ended: bool,
    /// What a former context had not written yet. Nothing is read any more then, so that only
    /// `poll_flush` writes, and this first.
    left: Bytes,
    /// Messages and control frames the context has returned, as the scanner counts them.
    returned: u32,
    /// Bytes in the context's write buffer, and those that the socket has taken since `taken` was set.
    buffered: usize,
    /// Bytes the socket had taken when somebody last looked.
    taken: u64,
    /// What large frames made the context's buffers grow to, if more than [`KEPT`]: for reading, and
    /// for writing.
    grown: (usize, usize),
}

impl<Io: Transport> Engine<Io> {
    pub(crate) fn new(wire: Wire<Io>, config: WebSocketConfig) -> Self {
        Self {
            wire,
            context: WebSocketContext::new(Role::Server, Some(config)),
            config,
            ended: false,
            left: Bytes::new(),
            returned: 0,
            buffered: 0,
            taken: 0,
            grown: (0, 0),
        }
    }

    pub(crate) fn wire(&self) -> &Wire<Io> {
        &self.wire
    }

    pub(crate) fn wire_mut(&mut self) -> &mut Wire<Io> {
        &mut self.wire
    }

    /// Reads a message or control frame; `None` is the end of the stream. Never again after an error:
    /// tungstenite would splice what came before it with what comes after.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            // The context is asked only if it can answer: it has a whole frame, or is given more.
            if self.is_dry() && !self.wire.has_verdict() {
                match ready!(self.wire.poll_fill(cx)) {
                    Ok(Filled::Bytes) => {}
                    Ok(Filled::End) | Err(_) => {
                        self.ended = true;
                        return Poll::Ready(None);
                    }
                }
            }
            match self.context.read(&mut Lent { wire: &mut self.wire, cx }) {
                Ok(message) => {
                    self.returned = self.returned.wrapping_add(1);
                    match &message {
                        Message::Text(text) => self.count_read(text.len()),
                        Message::Binary(bytes) => self.count_read(bytes.len()),
                        // The answer goes into the write buffer by itself.
                        Message::Ping(payload) => self.count(2 + payload.len()),
                        Message::Close(frame) => {
                            let answer = frame.as_ref().map_or(2, |frame| 4 + frame.reason.len());
                            self.withdraw_answer(answer);
                        }
                        _ => {}
                    }
                    return Poll::Ready(Some(Ok(message)));
                }
                // All that was read is part of a frame: there may be more of it.
                Err(error) if would_block(&error) => {}
                Err(error) => {
                    self.ended = true;
                    let closed = matches!(error, Error::AlreadyClosed | Error::ConnectionClosed);
                    return Poll::Ready((!closed).then_some(Err(error)));
                }
            }
        }
    }

    /// Takes back the context's answer to the peer's close frame, which is of `answer` bytes.
    ///
    /// tungstenite answers by itself, with the words of the peer, and then takes nothing more to send.
    /// One that has not read a close frame does; what the old one was still to write is kept apart.
    fn withdraw_answer(&mut self, answer: usize) {
        let mut unwritten = Unwritten::default();
        // Memory takes everything: what this returns is that the connection is closed.
        let _ = self.context.flush(&mut unwritten);
        let Unwritten(mut left) = unwritten;
        let before = left.len().saturating_sub(answer);
        if left.get(before) == Some(&CLOSE_FRAME) {
            left.truncate(before);
        }
        self.left = left.into();
        self.renew();
        self.ended = true;
    }

    /// Whether the context holds no whole frame that nobody has seen, and the wire nothing for it.
    fn is_dry(&self) -> bool {
        !self.has_whole() && !self.wire.has_ahead()
    }

    /// Whether the context holds a whole message or control frame that nobody has seen.
    pub(crate) fn has_whole(&self) -> bool {
        self.returned != self.wire.scanner().surfaced()
    }

    /// Puts a frame of `size` bytes into the write buffer.
    pub(crate) fn send(
        &mut self,
        message: Message,
        size: usize,
        cx: &mut Context<'_>,
    ) -> Result<(), Error> {
        self.count(size);
        match self.context.write(&mut Lent { wire: &mut self.wire, cx }, message) {
            // It is in the buffer; a pong that was due before it is not with the socket yet.
            Err(error) if would_block(&error) => Ok(()),
            sent => sent,
        }
    }

    /// Writes everything out.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.left.is_empty() {
            match ready!(Pin::new(&mut self.wire).poll_write(cx, &self.left))? {
                0 => return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into())),
                written => self.left.advance(written),
            }
        }
        match self.context.flush(&mut Lent { wire: &mut self.wire, cx }) {
            Err(error) if would_block(&error) => Poll::Pending,
            Ok(()) => {
                self.buffered = 0;
                self.taken = self.wire.bytes_out();
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Whether the socket has everything that was put in, to the last byte of a frame.
    pub(crate) fn is_flushed(&self) -> bool {
        self.buffered == 0 && self.left.is_empty()
    }

    /// Whether a buffer is larger than what is kept.
    pub(crate) fn is_grown(&self) -> bool {
        self.grown != (0, 0)
    }

    /// Gives back what large messages made the buffers grow to, if nothing is in them.
    ///
    /// Only for a connection that is not closing, right after everything was flushed, and while no
    /// message is handled or waits to be: that is a slice of the buffer, and would hold it without its
    /// being charged.
    pub(crate) fn give_back(&mut self) {
        let empty = self.is_dry() && self.buffered == 0 && self.wire.scanner().at_boundary();
        if empty && !self.ended {
            self.renew();
        }
    }

    /// Nothing is read any more but to be thrown away, so that what was read takes no memory.
    pub(crate) fn stop_reading(&mut self) {
        self.ended = true;
        if self.is_grown() && self.is_flushed() {
            self.renew();
        }
    }

    fn renew(&mut self) {
        self.context = WebSocketContext::new(Role::Server, Some(self.config));
        self.grown = (0, 0);
        self.wire.set_grown(self.grown);
    }

    /// A message of so many bytes was read.
    fn count_read(&mut self, bytes: usize) {
        if bytes > KEPT.max(self.grown.0) {
            self.grown.0 = bytes;
            self.wire.set_grown(self.grown);
        }
    }

    /// So many bytes more are in the write buffer.
    fn count(&mut self, bytes: usize) {
        self.buffered = self.buffered.saturating_add(bytes);
        if self.buffered > KEPT.max(self.grown.1) {
            self.note_growth();
        }
    }

    /// Sees what is in the write buffer, and whether that is more than ever.
    #[cold]
    fn note_growth(&mut self) {
        // A peer that is always a little behind never finds it empty.
        let taken = std::mem::replace(&mut self.taken, self.wire.bytes_out());
        let gone = usize::try_from(self.taken.saturating_sub(taken)).unwrap_or(usize::MAX);
        self.buffered = self.buffered.saturating_sub(gone);
        if self.buffered > KEPT.max(self.grown.1) {
            self.grown.1 = self.buffered;
            self.wire.set_grown(self.grown);
        }
    }
}

/// The socket, as tungstenite wants it: what is not ready is an error of its own kind.
struct Lent<'a, 'cx, Io> {
    wire: &'a mut Wire<Io>,
    cx: &'a mut Context<'cx>,
}

impl<Io: AsyncRead + Unpin> io::Read for Lent<'_, '_, Io> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut into = ReadBuf::new(into);
        or_would_block(Pin::new(&mut *self.wire).poll_read(self.cx, &mut into))?;
        Ok(into.filled().len())
    }
}

impl<Io: Transport> io::Write for Lent<'_, '_, Io> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.wire).poll_write(self.cx, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        or_would_block(Pin::new(&mut *self.wire).poll_flush(self.cx))
    }
}

/// A stream that takes everything and has nothing.
#[derive(Default)]
struct Unwritten(Vec<u8>);

impl io::Read for Unwritten {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl io::Write for Unwritten {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn or_would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Frames read in one turn, or pieces thrown away. tokio's own budget for a task is 128 operations.
pub(super) const TURN: usize = 32;

/// The first byte of every close frame.
pub(super) const CLOSE_FRAME: u8 = 0x88;

/// Buffers up to this size are kept: most messages fit, and growing again costs more than it saves.
const KEPT: usize = 2 * 1024;
