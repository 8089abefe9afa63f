//! A socket that counts what is asked of it, and may take little at a time.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// What was asked of a socket so far, and how much it gives at a time.
#[derive(Debug)]
pub struct Meter {
    pub reads: AtomicUsize,
    pub bytes_read: AtomicUsize,
    pub writes: AtomicUsize,
    pub bytes_written: AtomicUsize,
    /// Bytes that were offered to all writes together.
    pub bytes_offered: AtomicUsize,
    pub read_at_most: AtomicUsize,
    /// Zero is a socket that is full.
    pub write_at_most: AtomicUsize,
}

impl Meter {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            reads: AtomicUsize::new(0),
            bytes_read: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            bytes_written: AtomicUsize::new(0),
            bytes_offered: AtomicUsize::new(0),
            read_at_most: AtomicUsize::new(usize::MAX),
            write_at_most: AtomicUsize::new(usize::MAX),
        })
    }

    /// Puts this meter on a socket.
    pub fn on(self: Arc<Self>, stream: TcpStream) -> Metered {
        Metered { stream, meter: self }
    }
}

#[derive(Debug)]
pub struct Metered {
    stream: TcpStream,
    meter: Arc<Meter>,
}

impl AsyncRead for Metered {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.meter.reads.fetch_add(1, Relaxed);
        let size = into.remaining().min(this.meter.read_at_most.load(Relaxed));
        let mut bytes = vec![0; size];
        let mut part = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
        into.put_slice(part.filled());
        this.meter.bytes_read.fetch_add(part.filled().len(), Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.meter.writes.fetch_add(1, Relaxed);
        this.meter.bytes_offered.fetch_add(bytes.len(), Relaxed);
        if this.meter.write_at_most.load(Relaxed) == 0 {
            // Nobody is woken: for tests in which it stays so.
            return Poll::Pending;
        }
        let part = &bytes[..bytes.len().min(this.meter.write_at_most.load(Relaxed))];
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, part))?;
        this.meter.bytes_written.fetch_add(written, Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
