//! Stand between the socket and the protocol engine: scan what comes in, count what goes out.
//!
//! Inward, every byte passes the [`FrameScanner`] before the engine sees it. The engine gets the legal
//! prefix; the read after that fails, and the verdict waits for the driver. Outward, this is the only
//! place that knows how much the socket has taken.
//!
//! The socket is read in pieces of up to 16 KiB into a buffer that all connections of a thread share;
//! the engine, whose own buffer stays with the connection for good, asks for a kilobyte at a time. So
//! an idle connection holds a kilobyte, and a busy one makes few system calls. What was read and not
//! yet asked for is kept aside, and freed when it has been handed on.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::scanner::FrameScanner;

/// A socket under the protocol engine.
#[derive(Debug)]
pub(crate) struct Wire<Io> {
    io: Io,
    scanner: FrameScanner,
    /// Read from the socket, not yet handed on; scanned only when it is.
    ahead: Vec<u8>,
    /// How much of `ahead` has been handed on.
    ahead_passed: usize,
    bytes_in: u64,
    bytes_out: u64,
}

impl<Io> Wire<Io> {
    pub(crate) fn new(io: Io, scanner: FrameScanner) -> Self {
        Self { io, scanner, ahead: Vec::new(), ahead_passed: 0, bytes_in: 0, bytes_out: 0 }
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

    /// Hands on as much of `bytes` as fits and is legal; says how much of it was used up.
    fn hand_on(&mut self, bytes: &[u8], to: &mut ReadBuf<'_>) -> io::Result<usize> {
        let (chunk, _) = bytes.split_at(bytes.len().min(to.remaining()));
        let legal = self.scanner.scan(chunk);
        if legal == 0 {
            // An empty read would look like the end of the stream.
            return Err(io::ErrorKind::InvalidData.into());
        }
        to.put_slice(chunk.get(..legal).unwrap_or_default());
        // What stands behind an illegal byte, or behind the close frame, is never handed on.
        Ok(if legal < chunk.len() { bytes.len() } else { legal })
    }
}

impl<Io: AsyncRead + Unpin> Wire<Io> {
    /// Reads and discards, beneath scanner and engine. Ready with the number of bytes; zero is the
    /// end of the stream.
    pub(crate) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.ahead = Vec::new();
        with_scratch(|scratch| {
            let mut into = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut into))?;
            self.bytes_in += into.filled().len() as u64;
            Poll::Ready(Ok(into.filled().len()))
        })
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Wire<Io> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if wire.scanner.violation().is_some() || wire.scanner.closed() {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        if !wire.ahead.is_empty() {
            let ahead = std::mem::take(&mut wire.ahead);
            let passed = wire.ahead_passed;
            let used = wire.hand_on(ahead.get(passed..).unwrap_or_default(), buf)?;
            if passed + used < ahead.len() {
                wire.ahead = ahead;
                wire.ahead_passed = passed + used;
            }
            return Poll::Ready(Ok(()));
        }
        with_scratch(|scratch| {
            let mut into = ReadBuf::new(scratch);
            ready!(Pin::new(&mut wire.io).poll_read(cx, &mut into))?;
            let read = into.filled();
            wire.bytes_in += read.len() as u64;
            if !read.is_empty() {
                let used = wire.hand_on(read, buf)?;
                wire.ahead = read.get(used..).unwrap_or_default().to_vec();
                wire.ahead_passed = 0;
            }
            Poll::Ready(Ok(()))
        })
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Wire<Io> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let written = ready!(Pin::new(&mut wire.io).poll_write(cx, buf))?;
        wire.bytes_out += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

/// Lends the thread's read buffer. Nothing of one connection's bytes is ever read by another: only
/// what a read has just filled is looked at.
fn with_scratch<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    thread_local! {
        static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_SIZE].into());
    }
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => read(&mut scratch),
        // A socket that reads another connection within its own read: correct, if not cheap.
        Err(_) => read(&mut vec![0; READ_SIZE]),
    })
}

/// The most that is read at once. A larger piece would let one connection hold its thread for longer.
const READ_SIZE: usize = 16 * 1024;
