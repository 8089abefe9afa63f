//! Make a server's frames, and find where they end (RFC 6455 §5.2).
//!
//! A server's frame is a header and then the payload as it is: nothing is masked, and no message is
//! sent in fragments.

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

/// Of whole frames, the end of the one in which byte `at` stands.
pub(crate) fn end_of_frame(frames: &[u8], at: usize) -> usize {
    let mut end = 0;
    while end <= at {
        match frames.get(end..).and_then(len_of_first) {
            Some(len) => end += len,
            None => return frames.len(),
        }
    }
    end.min(frames.len())
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
