//! Make a server's frames, and find where they end (RFC 6455 §5.2).
//!
//! A server's frame is a header and then the payload as it is: nothing is masked, and no message is
//! sent in fragments.

use bytes::Bytes;

use crate::message::Message;

/// What stands before a payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Header {
    /// The header of the frame whose first byte is `first`, with so many bytes of payload.
    #[inline]
    pub(crate) fn new(first: u8, payload: usize) -> Self {
        let mut bytes = [0; LONGEST];
        let len = header_len(payload);
        // Both conversions hold by the arms of `header_len`.
        let short = |payload: usize| u8::try_from(payload).unwrap_or(u8::MAX);
        let [b0, b1, b2, b3, ..] = &mut bytes;
        *b0 = first;
        match len {
            2 => *b1 = short(payload),
            4 => {
                *b1 = TWO_BYTES;
                [*b2, *b3] = u16::try_from(payload).unwrap_or(u16::MAX).to_be_bytes();
            }
            _ => {
                *b1 = EIGHT_BYTES;
                if let Some(length) = bytes.last_chunk_mut() {
                    *length = (payload as u64).to_be_bytes();
                }
            }
        }
        Self { bytes, len }
    }

    /// The header of the one frame that carries `message`.
    #[inline]
    pub(crate) fn of(message: &Message) -> Self {
        let first = match message {
            Message::Text(_) => TEXT,
            Message::Binary(_) => BINARY,
        };
        Self::new(first, message.len())
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// A whole frame of a message that many get.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    /// Bytes of its payload.
    pub(crate) payload: usize,
}

impl Frame {
    /// The frame of `message`. Its payload is copied: whose it was is not held by it.
    pub(crate) fn of(message: &Message) -> Self {
        let bytes = [Header::of(message).as_bytes(), message.as_bytes()].concat();
        Self { bytes: bytes.into(), payload: message.len() }
    }
}

/// The length of the frame that carries so many bytes of payload.
#[inline]
pub(crate) fn frame_len(payload: usize) -> usize {
    header_len(payload).saturating_add(payload)
}

/// Puts the frame of a control message behind what is in `into`.
pub(crate) fn put_control(into: &mut Vec<u8>, first: u8, payload: &[u8]) {
    into.extend_from_slice(Header::new(first, payload.len()).as_bytes());
    into.extend_from_slice(payload);
}

/// Of whole frames, where the last one ends of which the first `written` bytes have something, and how
/// many have.
pub(crate) fn begun(frames: &[u8], written: usize) -> (usize, u64) {
    let (mut end, mut count) = (0, 0);
    while end < written.min(frames.len()) {
        let len = frames.get(end..).and_then(len_of_first);
        end = len.map_or(frames.len(), |len| end.saturating_add(len));
        count += 1;
    }
    (end.min(frames.len()), count)
}

/// The data messages that whole `frames` carry.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn messages(frames: &Bytes) -> Vec<Message> {
    let (mut messages, mut at) = (Vec::new(), 0);
    while let Some(len) = frames.get(at..).and_then(len_of_first) {
        let (frame, first) = (frames.slice(at..at + len), frames.get(at));
        let fits =
            |it: &usize| len.checked_sub(*it).is_some_and(|payload| frame_len(payload) == len);
        let payload = [2, 4, LONGEST].into_iter().find(fits);
        let payload = frame.slice(payload.unwrap_or(len)..);
        messages.push(match first {
            Some(&TEXT) => Message::text(&*String::from_utf8_lossy(&payload)),
            _ => Message::Binary(payload),
        });
        at += len;
    }
    messages
}

/// The length of the first frame, as its header says.
fn len_of_first(frames: &[u8]) -> Option<usize> {
    let payload = match *frames.get(1)? {
        TWO_BYTES => usize::from(u16::from_be_bytes(*frames.get(2..)?.first_chunk()?)),
        EIGHT_BYTES => {
            usize::try_from(u64::from_be_bytes(*frames.get(2..)?.first_chunk()?)).ok()?
        }
        short => usize::from(short),
    };
    Some(frame_len(payload))
}

#[inline]
fn header_len(payload: usize) -> usize {
    match payload {
        0..=125 => 2,
        126..=65_535 => 4,
        _ => LONGEST,
    }
}

/// The first byte of a frame: it is the last of its message, and of this kind.
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

/// The length follows in two bytes, or in eight.
const TWO_BYTES: u8 = 126;
const EIGHT_BYTES: u8 = 127;

const LONGEST: usize = 10;

#[cfg(test)]
#[path = "tests/frame.rs"]
mod tests;
