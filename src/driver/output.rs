//! Write what the queue holds: all of it, with one flush last.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use tokio_tungstenite::tungstenite;

use crate::{
    driver::{engine::Engine, transport::Transport},
    foreign,
    outbound::{Encoded, KEPT_ENTRIES, OutboundQueue, Queued, Taken},
};

/// The driver's side of the outbound queue.
///
/// Messages are encoded into the engine's buffer up to [`WRITE_CHUNK`] at a time, so that a ping, a
/// pong or a close frame never has more than one chunk and one message ahead of it.
#[derive(Debug)]
pub(crate) struct Output {
    /// Taken from the queue, not yet encoded.
    taken: VecDeque<Queued>,
    /// How many of them, from the front, are known to own their payload.
    owned: usize,
    /// Encoded bytes, pongs included, that the socket has not taken.
    in_flight: usize,
    /// Bytes the socket had taken when `in_flight` was last set right.
    accepted: u64,
    /// The engine holds frames, perhaps of its own, that were not flushed.
    unflushed: bool,
    max_message_size: usize,
    messages: u64,
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

impl Output {
    pub(crate) fn new(max_message_size: usize) -> Self {
        Self {
            taken: VecDeque::new(),
            owned: 0,
            in_flight: 0,
            accepted: 0,
            unflushed: false,
            max_message_size,
            messages: 0,
        }
    }

    /// Data messages encoded so far.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Bytes the socket had taken at the last look.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// The most the engine's write buffer may ever hold, for its configuration.
    pub(crate) fn write_buffer_bound(max_message_size: usize) -> usize {
        max_message_size.saturating_add(WRITE_CHUNK + HEADROOM)
    }

    /// Whether there is room for the frames that reading can cause: a pong for every ping, and then
    /// still a close frame.
    pub(crate) fn has_headroom(&self) -> bool {
        self.in_flight < self.max_message_size.saturating_add(WRITE_CHUNK + HEADROOM / 2)
    }

    /// Puts our ping into the engine's buffer.
    pub(crate) fn ping<Io>(
        &mut self,
        engine: &mut Engine<Io>,
        payload: [u8; 8],
        cx: &mut Context<'_>,
    ) where
        Io: Transport,
    {
        let ping = tungstenite::Message::Ping(payload.to_vec().into());
        let size = frame_len(payload.len());
        self.count_accepted(engine.bytes_out());
        engine.ping_ahead(self.in_flight, size);
        if engine.send(ping, size, cx).is_ok() {
            self.in_flight += size;
            self.unflushed = true;
        }
    }

    /// The engine is about to answer a ping that carried `payload` bytes.
    pub(crate) fn pong_is_due(&mut self, payload: usize) {
        self.in_flight += 2 + payload;
        self.unflushed = true;
    }

    /// Takes the queue and writes as much as the socket takes.
    pub(crate) fn poll<Io>(
        &mut self,
        engine: &mut Engine<Io>,
        queue: &OutboundQueue,
        cx: &mut Context<'_>,
    ) -> Written
    where
        Io: Transport,
    {
        let before = self.accepted;
        // The engine writes while it reads, too, when it has a pong to send.
        self.count_accepted(engine.bytes_out());
        match queue.take(cx, &mut self.taken) {
            Taken::All => {}
            Taken::Overflowed => return Written::Overflowed,
            Taken::Evicted => return Written::Evicted,
        }
        if self.taken.is_empty() && !self.unflushed {
            return Written::All;
        }
        let mut encoded = Encoded::default();
        let written = self.write(engine, &mut encoded, cx);
        self.messages += encoded.messages as u64;
        queue.settle(encoded, self.in_flight, self.accepted > before);
        written
    }

    /// Makes what must wait own its payload: a reply may be a slice of the read buffer.
    fn detach(&mut self) {
        for entry in self.taken.iter_mut().skip(self.owned).filter(|entry| entry.borrowed) {
            entry.message = std::mem::take(&mut entry.message).detached();
        }
        self.owned = self.taken.len();
    }

    /// Forgets what was not encoded yet.
    pub(crate) fn discard(&mut self, queue: &OutboundQueue) {
        let mut discarded = Encoded::default();
        for entry in std::mem::take(&mut self.taken) {
            discarded.add(&entry.message);
            foreign::discard([entry]);
        }
        queue.settle(discarded, self.in_flight, false);
    }

    fn write<Io>(
        &mut self,
        engine: &mut Engine<Io>,
        encoded: &mut Encoded,
        cx: &mut Context<'_>,
    ) -> Written
    where
        Io: Transport,
    {
        loop {
            while self.in_flight < WRITE_CHUNK {
                let Some(entry) = self.taken.pop_front() else {
                    break;
                };
                let message = entry.message;
                self.owned = self.owned.saturating_sub(1);
                encoded.add(&message);
                let size = frame_len(message.len());
                self.in_flight += size;
                self.unflushed = true;
                if engine.send(message.into_frame(), size, cx).is_err() {
                    return Written::Lost;
                }
            }
            let flushed = engine.poll_flush(cx);
            self.count_accepted(engine.bytes_out());
            match flushed {
                Poll::Ready(Ok(())) => {
                    self.in_flight = 0;
                    self.unflushed = false;
                }
                Poll::Ready(Err(_)) => return Written::Lost,
                Poll::Pending => {
                    self.detach();
                    return Written::Pending;
                }
            }
            if self.taken.is_empty() {
                if self.taken.capacity() > KEPT_ENTRIES {
                    self.taken = VecDeque::new();
                }
                return Written::All;
            }
        }
    }

    fn count_accepted(&mut self, bytes_out: u64) {
        let accepted = usize::try_from(bytes_out - self.accepted).unwrap_or(usize::MAX);
        self.in_flight = self.in_flight.saturating_sub(accepted);
        self.accepted = bytes_out;
    }
}

impl Drop for Output {
    // A payload may be the application's own, and panic when it is dropped.
    fn drop(&mut self) {
        foreign::discard(self.taken.drain(..));
    }
}

/// The length of an unmasked frame (RFC 6455 §5.2).
fn frame_len(payload: usize) -> usize {
    let header = match payload {
        0..=125 => 2,
        126..=65_535 => 4,
        _ => 10,
    };
    header + payload
}

/// What is encoded ahead of the socket. Large enough for a write to be worth its system call.
pub(crate) const WRITE_CHUNK: usize = 16 * 1024;

/// Room in the engine's buffer for frames that cannot be put off. The engine loses a close frame for
/// good that finds its buffer full.
const HEADROOM: usize = 64 * 1024;
