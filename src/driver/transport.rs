//! What a connection asks of its byte stream besides bytes.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::tcp::OwnedWriteHalf,
};

/// The byte stream under a connection.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// From here on the kernel takes nothing while it holds as many `bytes` that it has not sent yet.
    /// Says whether it knows how to: of a stream that is no TCP socket nobody can say what has been
    /// sent.
    fn limit_unsent(&self, bytes: u32) -> bool;

    /// Writes `bytes`, the last of all, as far as that can be done at once and without a task; says how
    /// far that is. Of a stream that is no TCP socket it is not known, so that nothing is written.
    fn write_last(&self, bytes: &[u8]) -> usize;
}

/// What a connection writes to: the socket of its pen, or, without one, its own stream.
pub(crate) struct Sink<'a, Io> {
    pub(crate) io: &'a mut Io,
    pub(crate) socket: Option<&'a mut OwnedWriteHalf>,
}

impl<Io: Transport> Sink<'_, Io> {
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Some(socket) => Pin::new(&mut **socket).poll_write(cx, bytes),
            None => Pin::new(&mut *self.io).poll_write(cx, bytes),
        }
    }

    pub(crate) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Some(socket) => Pin::new(&mut **socket).poll_write_vectored(cx, slices),
            None => Pin::new(&mut *self.io).poll_write_vectored(cx, slices),
        }
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Some(socket) => Pin::new(&mut **socket).poll_shutdown(cx),
            None => Pin::new(&mut *self.io).poll_shutdown(cx),
        }
    }
}

/// A stream of which nothing is known.
#[derive(Debug)]
pub(crate) struct Opaque<Io>(pub(crate) Io);

impl<Io: AsyncRead + AsyncWrite + Unpin> Transport for Opaque<Io> {
    fn limit_unsent(&self, _: u32) -> bool {
        false
    }

    fn write_last(&self, _: &[u8]) -> usize {
        0
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Opaque<Io> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Opaque<Io> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
