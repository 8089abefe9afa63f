//! Stand between the socket and the connection: scan what comes in, count what goes out.
//!
//! Inward, every byte passes the [`FrameScanner`] before the engine sees it. The engine gets the legal
//! prefix; the read after that fails, and the verdict waits for the driver. Outward, this is the only
//! place that knows how much the socket has taken.
//!
//! The driver fills the wire from the socket, up to 16 KiB at a time, and then lets the engine take
//! it a kilobyte at a time. The wire's buffer goes back to a small pool of the thread's as soon as it is
//! empty, and the engine's between messages: an idle connection holds neither, and a busy one makes few
//! system calls.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    net::tcp::OwnedWriteHalf,
};

use crate::{
    driver::{
        ping::PingAhead,
        pool::{Pool, READ_SIZE},
        scanner::FrameScanner,
        transport::{Sink, Transport},
    },
    outbound::budget::Charge,
};

/// A socket under the protocol engine.
#[derive(Debug)]
pub(crate) struct Wire<Io> {
    io: Io,
    scanner: FrameScanner,
    ahead: Ahead,
    bytes_in: u64,
    bytes_out: u64,
    /// What the kernel may hold unsent.
    unsent: u32,
    /// The kernel heeds it.
    limits: bool,
    /// A ping that is still to be written.
    ping: Option<PingAhead>,
    /// Where what is read is charged, if the process has a budget.
    charge: Option<Charge>,
    /// Payload of the message that is being handled.
    in_call: usize,
    /// What the engine's buffer has grown to.
    grown: usize,
    /// The budget had no room for what was read.
    over_budget: bool,
}

/// What was read from the socket and not yet handed on; it is scanned only when it is.
#[derive(Debug, Default)]
struct Ahead {
    /// A buffer of the pool's, or one of the size of what was in it, or nothing.
    buffer: Option<Box<[u8]>>,
    start: usize,
    end: usize,
}

/// What a look at the socket brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Filled {
    /// There are bytes for the engine.
    Bytes,
    /// The stream has ended.
    End,
}

impl<Io> Wire<Io> {
    pub(crate) fn new(io: Io, unsent: u32, scanner: FrameScanner, charge: Option<Charge>) -> Self {
        Self {
            io,
            scanner,
            ahead: Ahead::default(),
            bytes_in: 0,
            bytes_out: 0,
            unsent,
            limits: false,
            ping: None,
            charge,
            in_call: 0,
            grown: 0,
            over_budget: false,
        }
    }

    pub(crate) fn scanner(&self) -> &FrameScanner {
        &self.scanner
    }

    pub(crate) fn scanner_mut(&mut self) -> &mut FrameScanner {
        &mut self.scanner
    }

    /// Bytes read from the socket.
    pub(crate) fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// Bytes the socket has taken.
    pub(crate) fn bytes_out(&self) -> u64 {
        self.bytes_out
    }

    /// So many bytes were written by walkers.
    pub(crate) fn add_bytes_out(&mut self, bytes: u64) {
        self.bytes_out += bytes;
    }

    /// Whether nothing more is handed on, whatever comes.
    pub(crate) fn has_verdict(&self) -> bool {
        self.over_budget || self.scanner.closed() || self.scanner.violation().is_some()
    }

    /// Whether the budget had no room for what was read.
    pub(crate) fn is_over_budget(&self) -> bool {
        self.over_budget
    }

    /// A message of `payload` bytes is being handled; or none, with zero.
    pub(crate) fn set_in_call(&mut self, payload: usize) {
        if self.charge.is_some() {
            self.in_call = payload;
            self.charge();
        }
    }

    /// The engine's buffer has grown to this, or was given back.
    pub(crate) fn set_grown(&mut self, grown: usize) {
        if self.charge.is_some() {
            self.grown = grown;
            self.charge();
        }
    }

    /// This was read before the connection was ours.
    pub(crate) fn take_ahead(&mut self, ahead: Box<[u8]>) {
        self.bytes_in = ahead.len() as u64;
        self.ahead = Ahead { start: 0, end: ahead.len(), buffer: Some(ahead) };
        self.charge();
    }

    /// Nothing more is handled, nor handed on.
    pub(crate) fn abort(&mut self) {
        self.ahead.clear();
        self.set_in_call(0);
    }

    /// Charges what this connection's input holds, and what its engine keeps. The engine buffers a
    /// frame, and collects the frames of a message in a vector that grows: twice the message, at the
    /// most. A message that is handled is a part of the buffer that it was read into.
    fn charge(&mut self) -> bool {
        let Some(charge) = &mut self.charge else { return true };
        let begun = self.scanner.announced().saturating_mul(2);
        let messages = begun.saturating_add(self.in_call).max(self.grown);
        let held = messages.saturating_add(self.ahead.held());
        if self.over_budget {
            // What was announced then is not in the engine, and never will be.
            return charge.set(held.min(charge.held()));
        }
        self.over_budget = !charge.set(held);
        !self.over_budget
    }

    /// Whether the engine can take something without another look at the socket.
    pub(crate) fn has_ahead(&self) -> bool {
        self.ahead.start < self.ahead.end
    }
}

impl<Io: AsyncRead + Unpin> Wire<Io> {
    /// Reads from the socket what the engine will be given next.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Filled>> {
        if self.has_ahead() {
            return Poll::Ready(Ok(Filled::Bytes));
        }
        let mut buffer = Pool::take();
        let mut into = ReadBuf::new(&mut buffer);
        let read = Pin::new(&mut self.io).poll_read(cx, &mut into);
        let count = into.filled().len();
        if count > 0 {
            self.bytes_in += count as u64;
            self.ahead = Ahead { buffer: Some(buffer), start: 0, end: count };
        } else {
            Pool::give_back(buffer);
        }
        ready!(read)?;
        Poll::Ready(Ok(if count > 0 { Filled::Bytes } else { Filled::End }))
    }

    /// Reads and discards, beneath scanner and engine. Ready with the number of bytes; zero is the
    /// end of the stream.
    pub(crate) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.ahead.clear();
        ready!(self.poll_fill(cx))?;
        Poll::Ready(Ok(self.ahead.end))
    }

    /// Keeps no more than what is waiting: called when the engine will not take it for a while.
    pub(crate) fn release_spare(&mut self) {
        self.ahead.shrink();
        self.charge();
    }
}

impl Ahead {
    fn waiting(&self) -> &[u8] {
        self.buffer.as_deref().and_then(|it| it.get(self.start..self.end)).unwrap_or_default()
    }

    /// What it takes, used or not.
    fn held(&self) -> usize {
        self.buffer.as_ref().map_or(0, |it| it.len())
    }

    fn advance(&mut self, count: usize) {
        self.start += count;
        if self.start >= self.end {
            self.clear();
        } else if self.held() > READ_SIZE.max(2 * self.waiting().len()) {
            // More than one read was waiting at the handshake: each half goes when it has been used.
            self.keep_waiting();
        }
    }

    fn clear(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            Pool::give_back(buffer);
        }
        (self.start, self.end) = (0, 0);
    }

    fn shrink(&mut self) {
        // One that is half used already is not worth another copy; what a pool could use is.
        if self.held() == READ_SIZE || self.held() > 2 * self.waiting().len() {
            self.keep_waiting();
        }
    }

    fn keep_waiting(&mut self) {
        let kept: Box<[u8]> = self.waiting().into();
        let end = kept.len();
        self.clear();
        if end > 0 {
            *self = Self { buffer: Some(kept), start: 0, end };
        }
    }
}

/// The engine's side: it takes what the driver has filled in, and never touches the socket.
impl<Io: Unpin> AsyncRead for Wire<Io> {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if wire.has_verdict() {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let waiting = wire.ahead.waiting();
        if waiting.is_empty() {
            // The driver is the one that waits for the socket.
            return Poll::Pending;
        }
        let (chunk, _) = waiting.split_at(waiting.len().min(buf.remaining()));
        let legal = wire.scanner.scan(chunk);
        if legal == 0 {
            // An empty read would look like the end of the stream.
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        buf.put_slice(chunk.get(..legal).unwrap_or_default());
        if legal < chunk.len() {
            // What stands behind an illegal byte, or behind the close frame, is never handed on.
            wire.ahead.clear();
        } else {
            wire.ahead.advance(legal);
        }
        // Before the engine sees the header, and sets aside what it announces.
        if !wire.charge() {
            buf.clear();
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: Transport> Wire<Io> {
    /// Tells the kernel what it may hold. Called before anything is written.
    pub(crate) fn limit_unsent(&mut self) {
        self.limits = self.io.limit_unsent(self.unsent);
    }

    /// Of what is written next, a ping of so many bytes comes behind so many others. Where the kernel
    /// cannot be asked, nothing is gained by its bytes going one by one; and there are streams, OpenSSL's
    /// among them, that fail if they are offered less than what they had no room for before.
    pub(crate) fn ping_ahead(&mut self, before: usize, bytes: usize) {
        self.ping = self.limits.then(|| PingAhead::new(before, bytes));
    }

    /// Writes the last `bytes` of all, if that can be done at once; says whether the socket has them.
    pub(crate) fn write_last_by(&mut self, socket: Option<&OwnedWriteHalf>, bytes: &[u8]) -> bool {
        let written = match socket {
            Some(socket) => socket.try_write(bytes).unwrap_or(0),
            None => self.io.write_last(bytes),
        };
        self.bytes_out += written as u64;
        written == bytes.len()
    }

    /// There will be no pong to wait for.
    pub(crate) fn forget_ping(&mut self) {
        if self.ping.take().is_some() {
            self.limit_unsent();
        }
    }
}

impl<Io: Transport> Wire<Io> {
    /// Writes to `socket`, if it is there, and else to the stream that is read.
    pub(crate) fn poll_write_by(
        &mut self,
        socket: &mut Option<OwnedWriteHalf>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut sink = Sink { io: &mut self.io, socket: socket.as_mut() };
        let written = match &mut self.ping {
            None => ready!(sink.poll_write(cx, bytes))?,
            Some(ping) => {
                let written = ready!(ping.poll_write(&mut sink, self.unsent, cx, bytes))?;
                self.ping = self.ping.filter(|it| !it.is_out());
                written
            }
        };
        self.bytes_out += written as u64;
        Poll::Ready(Ok(written))
    }

    pub(crate) fn poll_write_vectored_by(
        &mut self,
        socket: &mut Option<OwnedWriteHalf>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.ping.is_some() {
            let first = slices.iter().find(|it| !it.is_empty()).map_or(&[][..], |it| it);
            return self.poll_write_by(socket, cx, first);
        }
        let mut sink = Sink { io: &mut self.io, socket: socket.as_mut() };
        let written = ready!(sink.poll_write_vectored(cx, slices))?;
        self.bytes_out += written as u64;
        Poll::Ready(Ok(written))
    }

    /// Shuts the write half of the same.
    pub(crate) fn poll_shutdown_by(
        &mut self,
        socket: &mut Option<OwnedWriteHalf>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        Sink { io: &mut self.io, socket: socket.as_mut() }.poll_shutdown(cx)
    }

    /// Flushes the stream that is read.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
}
