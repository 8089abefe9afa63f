//! Write frames: the rest of one under way, control frames, and what the queue holds; one flush last.
//!
//! A frame is a header and the payload as it is, so that nothing stands between the queue and the
//! socket. Small ones are laid side by side and go out in one write, up to [`WRITE_CHUNK`]; the payload
//! of a large one goes out from where it lies. A message has left the queue when its first byte is with
//! the socket. What the socket then lacks of it is the *rest*: nothing else is written before that is
//! out, so that no frame is ever torn, whatever becomes of what stands behind it.
//!
//! A ping, a pong or a close frame goes in front of all that has not been begun.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use crate::{
    driver::{transport::Transport, wire::Wire},
    foreign,
    message::Message,
    outbound::{
        Encoded, KEPT_ENTRIES, OutboundQueue, Queued, Taken,
        frame::{self, Header, frame_len},
    },
};

/// The driver's side of the outbound queue.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// Of the one frame that the socket has taken a part of.
    rest: Rest,
    /// Whole frames of our own: pings, pongs, at last a close frame.
    control: Vec<u8>,
    /// Taken from the queue, not yet begun.
    taken: VecDeque<Queued>,
    /// How many of them, from the front, are known to own their payload.
    owned: usize,
    /// The socket was not flushed since it took something.
    unflushed: bool,
    messages: u64,
}

/// What a socket lacks of a frame.
#[derive(Debug, Default)]
struct Rest {
    bytes: Bytes,
    /// The large payload that it is a piece of, and keeps in memory, in bytes; zero if it is a copy.
    payload: usize,
}

/// How far the output got.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Written {
    /// The socket has everything.
    All,
    /// The socket is full.
    Pending,
    /// The queue went over its bound and is gone.
    Overflowed,
    /// The process needed the queue's memory.
    Evicted,
    /// The socket failed.
    Lost,
}

/// Whether a socket took all that there was for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SocketRoom {
    /// It did, or there is nobody to say.
    Free,
    /// It takes no more for now.
    Full,
}

impl Written {
    pub(crate) fn room(self) -> SocketRoom {
        match self {
            Self::Pending => SocketRoom::Full,
            Self::All | Self::Overflowed | Self::Evicted | Self::Lost => SocketRoom::Free,
        }
    }
}

impl Writer {
    /// Data messages begun so far.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Whether there is room for the frames that reading can cause: a pong for every ping.
    pub(crate) fn has_headroom(&self) -> bool {
        self.control.len() < CONTROL_ROOM
    }

    /// Whether the socket has everything that was taken from the queue, to the last byte of a frame.
    pub(crate) fn is_idle(&self) -> bool {
        self.taken.is_empty() && self.control.is_empty() && self.rest.bytes.is_empty()
    }

    /// Sends our ping before anything that has not been begun.
    pub(crate) fn ping<Io>(&mut self, wire: &mut Wire<Io>, payload: [u8; 8])
    where
        Io: Transport,
    {
        wire.ping_ahead(self.in_flight(), frame_len(payload.len()));
        frame::put_control(&mut self.control, frame::PING, &payload);
    }

    /// Answers a ping.
    pub(crate) fn pong(&mut self, payload: &[u8]) {
        frame::put_control(&mut self.control, frame::PONG, payload);
    }

    /// Sends a close frame before anything that has not been begun; there is nothing behind it.
    pub(crate) fn close(&mut self, payload: Option<&[u8]>) {
        self.control = Vec::new();
        if let Some(payload) = payload {
            frame::put_control(&mut self.control, frame::CLOSE, payload);
        }
    }

    /// Takes the queue and writes as much as the socket takes.
    pub(crate) fn poll<Io>(
        &mut self,
        wire: &mut Wire<Io>,
        queue: &OutboundQueue,
        cx: &mut Context<'_>,
    ) -> Written
    where
        Io: Transport,
    {
        match queue.take(cx, &mut self.taken) {
            Taken::All => {}
            Taken::Overflowed => return Written::Overflowed,
            Taken::Evicted => return Written::Evicted,
        }
        if self.is_idle() && !self.unflushed {
            return Written::All;
        }
        let before = wire.bytes_out();
        let mut begun = Encoded::default();
        let polled = self.poll_write(wire, &mut begun, cx);
        self.messages += begun.messages as u64;
        queue.settle(begun, self.in_flight(), wire.bytes_out() > before);
        match polled {
            Poll::Ready(Ok(())) => Written::All,
            Poll::Ready(Err(_)) => Written::Lost,
            Poll::Pending => {
                self.detach();
                Written::Pending
            }
        }
    }

    /// Writes everything that was taken, and flushes.
    fn poll_write<Io>(
        &mut self,
        wire: &mut Wire<Io>,
        begun: &mut Encoded,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        Io: Transport,
    {
        loop {
            ready!(self.poll_rest(wire, cx))?;
            if self.control.is_empty() && self.taken.is_empty() {
                break;
            }
            let mut batch = Batch::take();
            let written = self.poll_batch(&mut batch.0, wire, cx);
            if let Poll::Ready(Ok(written)) = written {
                self.retire(written, begun);
            }
            batch.give_back();
            ready!(written)?;
        }
        if self.taken.capacity() > KEPT_ENTRIES {
            self.taken = VecDeque::new();
        }
        self.poll_flush(wire, cx)
    }

    /// Writes the close frame, and what must be out before it.
    pub(crate) fn poll_last<Io>(
        &mut self,
        wire: &mut Wire<Io>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        Io: Transport,
    {
        self.poll_write(wire, &mut Encoded::default(), cx)
    }

    fn poll_rest<Io>(&mut self, wire: &mut Wire<Io>, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        Io: Transport,
    {
        while !self.rest.bytes.is_empty() {
            let written = ready!(Pin::new(&mut *wire).poll_write(cx, &self.rest.bytes))?;
            self.unflushed = true;
            self.rest.bytes.advance(not_none(written)?);
            if self.rest.bytes.is_empty() {
                self.rest = Rest::default();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush<Io>(&mut self, wire: &mut Wire<Io>, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        Io: Transport,
    {
        if self.unflushed {
            ready!(Pin::new(wire).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes a batch: control frames, and messages up to a chunk or to a large one.
    fn poll_batch<Io>(
        &mut self,
        batch: &mut Vec<u8>,
        wire: &mut Wire<Io>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>>
    where
        Io: Transport,
    {
        batch.extend_from_slice(&self.control);
        let mut large = None;
        for Queued { message, .. } in &self.taken {
            if batch.len() >= WRITE_CHUNK {
                break;
            }
            batch.extend_from_slice(Header::of(message).as_bytes());
            if message.len() > COPIED {
                large = Some(message.as_bytes());
                break;
            }
            batch.extend_from_slice(message.as_bytes());
        }
        let written = match large {
            Some(payload) => {
                let slices = [IoSlice::new(batch), IoSlice::new(payload)];
                Pin::new(wire).poll_write_vectored(cx, &slices)
            }
            None => Pin::new(wire).poll_write(cx, batch),
        };
        let written = not_none(ready!(written)?)?;
        self.unflushed = true;
        Poll::Ready(Ok(written))
    }

    /// Forgets what was begun by the `written` bytes of a batch, but for the rest of the last of it.
    fn retire(&mut self, written: usize, begun: &mut Encoded) {
        let control = self.control.len();
        if written < control {
            // The last byte that was taken says which frame is to be finished; it may have been its last.
            let end = frame::end_of_frame(&self.control, written.saturating_sub(1));
            self.rest = Rest::copied(self.control.get(written..end).unwrap_or_default());
            self.control.drain(..end);
            return;
        }
        self.control.clear();
        let mut left = written - control;
        while left > 0 {
            let Some(Queued { message, .. }) = self.taken.pop_front() else { return };
            self.owned = self.owned.saturating_sub(1);
            begun.add(&message);
            let size = frame_len(message.len());
            let taken = left.min(size);
            left -= taken;
            if taken < size {
                self.rest = Rest::of(message, taken);
            }
        }
    }

    /// Makes what must wait own its payload: a reply may be a slice of the read buffer.
    fn detach(&mut self) {
        for entry in self.taken.iter_mut().skip(self.owned).filter(|entry| entry.borrowed) {
            entry.message = std::mem::take(&mut entry.message).detached();
        }
        self.owned = self.taken.len();
    }

    /// Forgets what was not begun yet.
    pub(crate) fn discard(&mut self, queue: &OutboundQueue) {
        let mut discarded = Encoded::default();
        self.control = Vec::new();
        for entry in std::mem::take(&mut self.taken) {
            discarded.add(&entry.message);
            foreign::discard([entry]);
        }
        queue.settle(discarded, self.in_flight(), false);
    }

    /// Bytes that no queue counts.
    fn in_flight(&self) -> usize {
        self.rest.held().saturating_add(self.control.len())
    }
}

impl Drop for Writer {
    // A payload may be the application's own, and panic when it is dropped.
    fn drop(&mut self) {
        foreign::discard(self.taken.drain(..));
    }
}

impl Rest {
    /// What it keeps in memory.
    fn held(&self) -> usize {
        self.bytes.len().max(self.payload)
    }

    fn copied(bytes: &[u8]) -> Self {
        Self { bytes: Bytes::copy_from_slice(bytes), payload: 0 }
    }

    /// What is left of the frame of `message` when the socket has `taken` bytes.
    fn of(message: Message, taken: usize) -> Self {
        let header = Header::of(&message);
        let of_payload = taken.checked_sub(header.as_bytes().len());
        if let Some(at) = of_payload.filter(|_| message.len() > COPIED) {
            let payload = message.detached().into_bytes();
            return Self { payload: payload.len(), bytes: payload.slice(at..) };
        }
        let frame = [header.as_bytes(), message.as_bytes()].concat();
        Self::copied(frame.get(taken..).unwrap_or_default())
    }
}

/// Where frames are laid side by side. A thread has one: the driver fills it and writes it in one go.
struct Batch(Vec<u8>);

impl Batch {
    fn take() -> Self {
        Self(SPARE.with(|spare| {
            spare.try_borrow_mut().map_or_else(|_| Vec::new(), |mut it| std::mem::take(&mut *it))
        }))
    }

    fn give_back(mut self) {
        self.0.clear();
        SPARE.with(|spare| {
            if let Ok(mut spare) = spare.try_borrow_mut() {
                *spare = self.0;
            }
        });
    }
}

thread_local! {
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A socket that takes nothing of something has failed.
fn not_none(written: usize) -> io::Result<usize> {
    if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) }
}

/// What goes out in one write. Large enough for it to be worth its system call, and small enough for a
/// ping or a close frame not to wait long.
pub(crate) const WRITE_CHUNK: usize = 16 * 1024;

/// A payload up to this size is copied beside others: that costs less than a place of its own in a
/// vectored write.
const COPIED: usize = 4 * 1024;

/// Control frames that wait for the socket before no more pings are read.
const CONTROL_ROOM: usize = 4 * 1024;
