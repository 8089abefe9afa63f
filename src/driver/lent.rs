//! Lend tungstenite a stream for one call: it knows blocking ones only.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::Error;

use crate::driver::{transport::Transport, wire::Wire};

/// The socket, as tungstenite wants it: what is not ready is an error of its own kind.
pub(super) struct Lent<'a, 'cx, Io> {
    pub(super) wire: &'a mut Wire<Io>,
    pub(super) cx: &'a mut Context<'cx>,
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
pub(super) struct Unwritten(pub(super) Vec<u8>);

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

pub(super) fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}
