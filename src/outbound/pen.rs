//! The right to write to a connection's socket.
//!
//! There is one for each connection. It lies in the outlet; who takes it out writes, without a lock, and
//! puts it back. So frames of two writers never mix, and nobody waits for a write of somebody else's.

use bytes::{Buf, Bytes};
use tokio::net::tcp::OwnedWriteHalf;

use crate::{message::Message, outbound::frame::Header};

/// The write half of a socket, if it is a plain TCP socket, and what it lacks of the last frame.
#[derive(Debug, Default)]
pub(crate) struct Pen {
    /// None where only the driver can write: to a stream that is its own.
    pub(crate) socket: Option<OwnedWriteHalf>,
    pub(crate) rest: Rest,
}

/// What a socket lacks of a frame. Before it is out nothing else is written.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    bytes: Bytes,
    /// The large frame that it is a piece of, and keeps in memory, in bytes; zero if it is a copy.
    whole: usize,
}

impl Rest {
    pub(crate) fn copied(bytes: &[u8]) -> Self {
        Self { bytes: Bytes::copy_from_slice(bytes), whole: 0 }
    }

    /// What is left of `whole` from `at` on.
    pub(crate) fn piece_of(whole: &Bytes, at: usize) -> Self {
        if at >= whole.len() {
            return Self::default();
        }
        Self { bytes: whole.slice(at..), whole: whole.len() }
    }

    /// What is left of the frame of `message` when the socket has `taken` bytes: of a large one a piece, of
    /// one that is no larger than `copied` a copy.
    pub(crate) fn of(message: Message, taken: usize, copied: usize) -> Self {
        let header = Header::of(&message);
        let of_payload = taken.checked_sub(header.as_bytes().len());
        if let Some(at) = of_payload.filter(|_| message.len() > copied) {
            return Self::piece_of(&message.detached().into_bytes(), at);
        }
        let frame = [header.as_bytes(), message.as_bytes()].concat();
        Self::copied(frame.get(taken..).unwrap_or_default())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The socket has taken so many bytes of it.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.bytes.advance(bytes.min(self.bytes.len()));
        if self.bytes.is_empty() {
            *self = Self::default();
        }
    }

    /// What it keeps in memory.
    pub(crate) fn held(&self) -> usize {
        self.bytes.len().max(self.whole)
    }
}
