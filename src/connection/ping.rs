//! Know how far a ping is, and let it into the kernel when nothing else waits there, so that its pong is
//! not late for what the kernel holds.
//!
//! What a kernel has taken and not sent may be seconds of a slow line, and a pong cannot come before
//! its ping has left the host. So the kernel is asked for the ping with nothing unsent before it. Where
//! there is something, which is the exception, the ping goes in byte by byte, each at half the limit of
//! the last: so the socket takes a byte now and then, by which the write deadline sees that the peer
//! reads, and takes the last one when all the others have been sent.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use crate::connection::transport::Transport;

/// The heartbeat. A ping is measured from when it was flushed: behind a backlog on a slow link it
/// would be late through no fault of the peer's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ping {
    None,
    /// The driver is to send one.
    Due,
    /// In the write buffer.
    Sent(Challenge),
    /// On its way, since this time; the pong must come. Without a time, the pong may have been waiting
    /// unread meanwhile.
    Flushed(Challenge, Option<Instant>),
}

/// What a ping carries, and its pong must repeat: a pong proves that its sender has read the ping, and
/// when, only if nobody can know before what that one carries.
pub(crate) type Challenge = [u8; 8];

/// A ping among the bytes to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PingAhead {
    /// Bytes before it.
    before: usize,
    /// Bytes of it that the socket has not taken.
    left: usize,
    /// What the kernel may hold unsent to take the next of them.
    limit: u32,
}

impl PingAhead {
    /// A ping of so many bytes, behind so many others.
    pub(crate) fn new(before: usize, bytes: usize) -> Self {
        Self { before, left: bytes, limit: 0 }
    }

    /// Writes of `bytes` what may be written, and says when the ping is out; `unsent` is what the kernel
    /// may hold at other times.
    pub(crate) fn poll_write<Io: Transport>(
        &mut self,
        io: &mut Io,
        unsent: u32,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.before > 0 {
            let before = bytes.get(..self.before).unwrap_or(bytes);
            let written = ready!(Pin::new(io).poll_write(cx, before))?;
            self.before = self.before.saturating_sub(written);
            return Poll::Ready(Ok(written));
        }
        let at_once = self.limit == 0;
        if at_once {
            self.limit = NOTHING;
            io.limit_unsent(NOTHING);
        }
        let most = if at_once { self.left } else { 1 };
        match Pin::new(&mut *io).poll_write(cx, bytes.get(..most).unwrap_or(bytes)) {
            Poll::Pending => {
                if at_once {
                    self.limit_to(unsent, io);
                }
                Poll::Pending
            }
            Poll::Ready(Ok(written)) => {
                self.left = self.left.saturating_sub(written);
                if self.is_out() {
                    io.limit_unsent(unsent);
                } else {
                    self.limit_to(self.limit / 2, io);
                }
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }

    /// Whether the socket has taken all of it.
    pub(crate) fn is_out(&self) -> bool {
        self.left == 0
    }

    fn limit_to<Io: Transport>(&mut self, limit: u32, io: &Io) {
        // Whoever waits is woken by this, if so little is unsent already.
        self.limit = if self.left > 1 { limit.max(NOTHING) } else { NOTHING };
        io.limit_unsent(self.limit);
    }
}

/// The least limit there is: the kernel takes a byte when it holds none.
const NOTHING: u32 = 1;
