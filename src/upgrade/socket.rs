//! The socket of an upgraded connection: TCP, with options that bound the kernel, or any other stream.
//!
//! hyper hands over a boxed stream together with what it has read ahead. If there is a tokio
//! [`TcpStream`] in the box, it is taken out of it:
//!
//! 1. The kernel keeps no more than [`unsent_bytes`] behind what is under way to the peer. By itself it
//!    takes some megabytes for each peer that does not read: memory that no limit of ours counts, and
//!    in front of every ping and every close frame.
//! 2. `TCP_NODELAY` is set. All that is ready goes out in one write already, so that to wait for more
//!    gains nothing, and costs the time until the peer acknowledges what came before.
//! 3. What was read ahead is kept in a buffer of exactly its size, and charged to the budget. hyper's
//!    own, of which it may be a small part, has some hundred KB.
//!
//! Whatever else is in the box (TLS, a Unix socket, a wrapper of the server's, a stream of HTTP/2) is
//! served as it is: its buffers are not ours to bound, nor is what was read ahead of it.
//!
//! [`unsent_bytes`]: crate::ConnectionConfig::unsent_bytes

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use hyper::upgrade::Upgraded;
use hyper_util::{rt::TokioIo, server::conn::auto::upgrade as auto};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::driver::transport::Transport;

/// What an upgraded connection reads and writes.
#[derive(Debug)]
pub(super) enum Socket {
    /// The write half is the pen's.
    Tcp(OwnedReadHalf),
    Other(TokioIo<Upgraded>),
}

impl Socket {
    /// Takes the socket out of what hyper hands over, what was read ahead, and what writes to it, if that
    /// can be anybody.
    pub(super) fn open(upgraded: Upgraded) -> (Self, Box<[u8]>, Option<OwnedWriteHalf>) {
        let (stream, ahead) = match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => (parts.io, parts.read_buf),
            // A server that speaks HTTP/2 as well, as axum's, wraps the socket to look at its version.
            Err(upgraded) => match auto::downcast::<TokioIo<TcpStream>>(upgraded) {
                Ok(parts) => (parts.io, parts.read_buf),
                Err(upgraded) => {
                    return (Self::Other(TokioIo::new(upgraded)), Box::default(), None);
                }
            },
        };
        let stream = stream.into_inner();
        // A socket that is gone already refuses it; the first read finds that out.
        let _ = stream.set_nodelay(true);
        let (stream, writer) = stream.into_split();
        (Self::Tcp(stream), ahead.as_ref().into(), Some(writer))
    }
}

impl Transport for Socket {
    fn limit_unsent(&self, bytes: u32) -> bool {
        #[cfg(any(target_os = "android", target_os = "linux"))]
        if let Self::Tcp(stream) = self {
            return socket2::SockRef::from(stream.as_ref()).set_tcp_notsent_lowat(bytes).is_ok();
        }
        let _ = bytes;
        false
    }

    fn write_last(&self, _: &[u8]) -> usize {
        0
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Other(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
            Self::Other(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
            Self::Other(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Other(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Other(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
            Self::Other(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
