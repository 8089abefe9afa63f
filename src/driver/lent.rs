//! Lend tungstenite a stream for one call: it knows blocking ones only.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, ReadBuf};
use tokio_tungstenite::tungstenite::Error;

use crate::driver::wire::Wire;

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

/// What tungstenite answers by itself, pongs and the echo of a close frame, comes to nothing: the
/// connection answers, in its own order.
impl<Io> io::Write for Lent<'_, '_, Io> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
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
