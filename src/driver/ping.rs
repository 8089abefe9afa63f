//! Know how far a ping is, and let it into the kernel when nothing else waits there, so that its pong is
//! not late for what the kernel holds.
//!
//! What a kernel has taken and not sent may be seconds of a slow line, and a pong cannot come before
//! its ping has left the host. So the last byte of a ping is not taken before all the others have been
//! sent. As a rule nothing is unsent, and they go in at once; where something is, they go in one by
//! one, each at half the limit of the last: so the socket takes a byte now and then, by which the write
//! deadline sees that the peer reads.

use std::{
    io,
    task::{Context, Poll, ready},
    time::Instant,
};

use uuid::Uuid;

use crate::driver::transport::{Sink, Transport};

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
        sink: &mut Sink<'_, Io>,
        unsent: u32,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.before > 0 {
            let before = bytes.get(..self.before).unwrap_or(bytes);
            let written = ready!(sink.poll_write(cx, before))?;
            self.before = self.before.saturating_sub(written);
            return Poll::Ready(Ok(written));
        }
        let at_once = self.limit == 0;
        if at_once {
            self.limit_to(NOTHING, &*sink.io);
        }
        let most = if at_once { self.left.saturating_sub(1).max(1) } else { 1 };
        let polled = sink.poll_write(cx, bytes.get(..most).unwrap_or(bytes));
        let written = match &polled {
            Poll::Ready(Ok(written)) => *written,
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        self.left = self.left.saturating_sub(written);
        if self.is_out() {
            sink.io.limit_unsent(unsent);
        } else if at_once && self.left > 1 {
            self.limit_to(unsent, &*sink.io);
        } else if !at_once && written > 0 {
            self.limit_to(self.limit / 2, &*sink.io);
        }
        polled
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

/// What nobody can guess: 62 bits of a generator for cryptography, which is also where connection ids
/// come from.
pub(super) fn challenge() -> Challenge {
    let (_, random) = Uuid::new_v4().as_u64_pair();
    random.to_be_bytes()
}
