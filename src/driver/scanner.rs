//! Read the frame headers of a peer before the decoder does, and refuse what no frame may be.
//!
//! The decoder buffers a whole frame before it looks at most rules, and never counts the frames of a
//! message. [`FrameScanner`] sees the same bytes first. It reads headers and skips payloads; it has
//! no socket and no clock, and its verdict depends on the bytes alone, never on how reads cut them.
//! A byte is handed on unless it is the first that makes a legal stream impossible:
//!
//! 1. *First byte of a header*: a reserved bit or opcode, a fragmented control frame, a continuation
//!    of nothing, a new message inside a message; a frame more than the message may have; a ping or
//!    pong more than the control budget.
//! 2. *Second byte*: no mask; a control frame that announces more than 125 bytes; a close frame that
//!    announces one, which is half a code.
//! 3. *Length bytes*, each as it comes: the high bit of the 64-bit form, a length that has a shorter
//!    form, a message that is over its limit with this frame.
//! 4. *Anything behind the close frame*. It is not handed on, but it is no violation either.
//!
//! The first violation is the last word. What was handed on before it stands: let the decoder finish
//! that prefix, then act on [`FrameScanner::violation`]. Every refusal is one of tungstenite's too, only
//! earlier, but for these four; the oracle test holds the list.
//!
//! | refused here, accepted by tungstenite | why |
//! |---|---|
//! | a 16 or 64-bit length that fits a shorter form, in any frame | RFC 6455 §5.2 |
//! | more frames in a message than `max_fragments` | empty ones cost time, and nothing else sees them |
//! | more pings and pongs than the control budget | every ping is answered |
//! | a first message over `max_first_message` | tungstenite has one limit for the whole connection |
//!
//! And one refusal changes its name: tungstenite compares the length first and reports a size; the
//! scanner reports the protocol error that stood earlier in the same header, or the high bit.

/// What a peer may send, in numbers.
#[derive(Clone, Copy, Debug)]
pub struct ScannerLimits {
    /// Payload bytes of one message, all its frames together. More than 4 GiB counts as 4 GiB.
    pub max_message: usize,
    /// The same for the first data message, which nobody has authenticated yet. For the first only,
    /// so that credentials and a larger message may share a segment.
    pub max_first_message: usize,
    /// Frames of one message, empty ones included.
    pub max_fragments: u32,
    /// Pings and pongs that may come before the first [`FrameScanner::refill_control`], and the most
    /// that refilling saves up.
    pub control_burst: u32,
}

/// Why nothing more is handed on. Numbers only: nothing of it was written by the peer.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Violation {
    /// A header that RFC 6455 forbids: 1002.
    Protocol(ProtocolViolation),
    /// A message over its limit: 1009.
    TooLarge {
        /// What the headers so far make of the message, at least.
        size: u64,
        /// The limit of this message.
        limit: u32,
    },
    /// One frame more than this many in a message: 1008.
    TooManyFragments(u32),
    /// A ping or pong with nothing left of a budget of this many: 1008.
    TooManyControlFrames(u32),
}

/// Which rule of RFC 6455 §5 a header broke.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProtocolViolation {
    /// A close frame with one byte of payload: too much for none, too little for a code.
    CloseTooShort,
    /// A control frame of more than 125 bytes, or one that writes a shorter length in a longer form.
    ControlTooLong,
    /// A control frame that is not final.
    FragmentedControl,
    /// A new data message before the end of the last one.
    InterleavedMessage,
    /// The high bit of a 64-bit length.
    LengthHighBit,
    /// A length that fits a shorter form.
    NonMinimalLength,
    /// A continuation while no message is in progress.
    OrphanContinuation,
    /// A reserved bit, which only a negotiated extension may use. We negotiate none.
    ReservedBits,
    /// An opcode without a meaning.
    ReservedOpcode,
    /// No mask, which every client owes.
    Unmasked,
}

/// What a peer has begun and not finished. The number tells one from the next of its kind.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Partial {
    /// A data message, from its first byte to its last, with the control frames in between.
    Message(u32),
    /// A control frame outside of a message.
    Control(u32),
}

/// The header scanner of one connection.
///
/// The rule stands at the top of its module.
#[derive(Debug)]
pub struct FrameScanner {
    phase: Phase,
    /// The frame whose header or payload is passing.
    frame: Frame,
    message_in_progress: bool,
    messages_begun: u32,
    /// Payload that the headers of this message announced; never over `message_limit`.
    message_size: u32,
    message_limit: u32,
    /// What `message_limit` becomes when the first message is over.
    later_limit: u32,
    /// Frames of this message. A count of its own, because empty ones add nothing to the size.
    fragments: u32,
    max_fragments: u32,
    /// Whole frames that the decoder has something to say about: control frames and final ones.
    surfaced: u32,
    control_budget: u32,
    control_burst: u32,
    /// Mask and code of the peer's close frame, as far as `close_seen` says.
    close: [u8; 6],
    close_seen: u8,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug)]
enum Phase {
    FirstByte,
    SecondByte,
    Length(ExtendedLength),
    /// One of so many bytes of mask and payload. Never none, because there is always a mask.
    Body(u64),
    Closed,
    Refused(Violation),
}

/// A 16 or 64-bit length of which some bytes are still missing.
#[derive(Clone, Copy, Debug)]
struct ExtendedLength {
    /// The length, if the missing bytes are zero.
    lowest: u32,
    /// The least that needs this form.
    least: u32,
    missing: u8,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Frame {
    Close,
    Data { last: bool },
    PingOrPong,
}

impl FrameScanner {
    /// A scanner at the first byte after the handshake.
    pub fn new(limits: ScannerLimits) -> Self {
        let bytes = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
        Self {
            phase: Phase::FirstByte,
            frame: Frame::PingOrPong,
            message_in_progress: false,
            messages_begun: 0,
            message_size: 0,
            message_limit: bytes(limits.max_first_message),
            later_limit: bytes(limits.max_message),
            fragments: 0,
            max_fragments: limits.max_fragments,
            surfaced: 0,
            control_budget: limits.control_burst,
            control_burst: limits.control_burst,
            close: [0; 6],
            close_seen: 0,
        }
    }

    /// Looks at the next `bytes` of the stream and says how many of them, from the first, may be
    /// handed on to the decoder.
    ///
    /// Fewer than all means that the rest, and all that follows, must be thrown away: there is a
    /// [`violation`](Self::violation), or the peer has [`closed`](Self::closed).
    #[inline]
    #[must_use]
    pub fn scan(&mut self, bytes: &[u8]) -> usize {
        // A copy, and the readers of header bytes inlined, so that a whole header stays in registers:
        // stored and loaded between its bytes, it takes three to five times as long.
        let mut phase = self.phase;
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            let next = match phase {
                Phase::FirstByte => self.first_byte(byte),
                Phase::SecondByte => self.second_byte(byte),
                Phase::Length(length) => self.length_byte(byte, length),
                Phase::Body(left) => {
                    (phase, rest) = self.pass_body(left, rest);
                    continue;
                }
                Phase::Closed | Phase::Refused(_) => break,
            };
            match next {
                Ok(next) => phase = next,
                Err(violation) => {
                    phase = Phase::Refused(violation);
                    self.message_in_progress = false;
                    break;
                }
            }
            rest = after;
        }
        self.phase = phase;
        bytes.len() - rest.len()
    }

    /// Allows the peer `frames` more pings and pongs, up to the burst.
    pub fn refill_control(&mut self, frames: u32) {
        self.control_budget = self.control_budget.saturating_add(frames).min(self.control_burst);
    }

    /// Whether any of the control budget is spent, so that refilling would change something.
    #[inline]
    pub fn control_spent(&self) -> bool {
        self.control_budget < self.control_burst
    }

    /// How many messages and control frames were handed on whole, modulo 2^32. As long as the decoder
    /// has returned fewer, it can return one without more bytes.
    #[inline]
    pub fn surfaced(&self) -> u32 {
        self.surfaced
    }

    /// Payload bytes that the headers of the message in progress have announced.
    pub fn announced(&self) -> usize {
        if self.message_in_progress { self.message_size as usize } else { 0 }
    }

    /// Why nothing more is handed on.
    pub fn violation(&self) -> Option<Violation> {
        let Phase::Refused(violation) = self.phase else { return None };
        Some(violation)
    }

    /// Whether the peer's close frame has passed, to its last byte.
    pub fn closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// The code in the peer's close frame as it was on the wire, legal or not.
    ///
    /// The decoder shows 1002 in place of an illegal one. `None` if no code has come, yet or at all;
    /// [`closed`](Self::closed) tells these apart.
    pub fn close_code(&self) -> Option<u16> {
        let [mask_high, mask_low, _, _, high, low] = self.close;
        let complete = usize::from(self.close_seen) == self.close.len();
        complete.then(|| u16::from_be_bytes([high ^ mask_high, low ^ mask_low]))
    }

    /// What has begun and is not over. When it is not what the caller saw last, something else began.
    pub fn partial(&self) -> Option<Partial> {
        match self.phase {
            _ if self.message_in_progress => Some(Partial::Message(self.messages_begun)),
            Phase::SecondByte | Phase::Body(_) => Some(Partial::Control(self.surfaced)),
            _ => None,
        }
    }

    /// Whether the stream could end here without cutting a frame or a message.
    pub fn at_boundary(&self) -> bool {
        matches!(self.phase, Phase::FirstByte | Phase::Closed) && !self.message_in_progress
    }

    #[inline]
    fn first_byte(&mut self, byte: u8) -> Result<Phase, Violation> {
        use ProtocolViolation::*;

        let last = byte & 0x80 != 0;
        if byte & 0x70 != 0 {
            return Err(ReservedBits.into());
        }
        self.frame = match byte & 0x0f {
            0x0 if !self.message_in_progress => return Err(OrphanContinuation.into()),
            0x1 | 0x2 if self.message_in_progress => return Err(InterleavedMessage.into()),
            0x8..=0xa if !last => return Err(FragmentedControl.into()),
            0x0 => Frame::Data { last },
            0x1 | 0x2 => {
                self.message_in_progress = true;
                self.messages_begun = self.messages_begun.wrapping_add(1);
                self.message_size = 0;
                self.fragments = 0;
                Frame::Data { last }
            }
            0x8 => Frame::Close,
            0x9 | 0xa => Frame::PingOrPong,
            _ => return Err(ReservedOpcode.into()),
        };
        match self.frame {
            // Costs no budget: it comes once, and a peer that says goodbye should be heard.
            Frame::Close => {}
            Frame::Data { .. } if self.fragments >= self.max_fragments => {
                return Err(Violation::TooManyFragments(self.max_fragments));
            }
            Frame::Data { .. } => self.fragments += 1,
            Frame::PingOrPong if self.control_budget == 0 => {
                return Err(Violation::TooManyControlFrames(self.control_burst));
            }
            Frame::PingOrPong => self.control_budget -= 1,
        }
        Ok(Phase::SecondByte)
    }

    #[inline]
    fn second_byte(&mut self, byte: u8) -> Result<Phase, Violation> {
        use ProtocolViolation::*;

        match (self.frame, byte & 0x7f) {
            _ if byte & 0x80 == 0 => Err(Unmasked.into()),
            (Frame::Close, 1) => Err(CloseTooShort.into()),
            (Frame::Close | Frame::PingOrPong, 126..) => Err(ControlTooLong.into()),
            // Whether this is too large or too small for its form, only the length bytes can say.
            (_, 126) => Ok(Phase::Length(ExtendedLength { lowest: 0, least: 126, missing: 2 })),
            (_, 127) => Ok(Phase::Length(ExtendedLength { lowest: 0, least: 65_536, missing: 8 })),
            (_, length) => self.body(length.into()),
        }
    }

    #[inline]
    fn length_byte(&mut self, byte: u8, mut length: ExtendedLength) -> Result<Phase, Violation> {
        // What the length can still be, whatever the missing bytes are. That it has a shorter form
        // shows before any of it can be too large, so a 1002 never turns into a 1009.
        length.missing -= 1;
        let shift = 8 * length.missing;
        let lowest = u64::from(length.lowest) | u64::from(byte) << shift;
        let highest = lowest | !(u64::MAX << shift);
        if lowest >> 63 != 0 {
            return Err(ProtocolViolation::LengthHighBit.into());
        }
        if highest < u64::from(length.least) {
            return Err(ProtocolViolation::NonMinimalLength.into());
        }
        if length.missing == 0 {
            return self.body(lowest);
        }
        length.lowest = self.size_with(lowest)? - self.message_size;
        Ok(Phase::Length(length))
    }

    fn body(&mut self, length: u64) -> Result<Phase, Violation> {
        if let Frame::Data { .. } = self.frame {
            self.message_size = self.size_with(length)?;
        }
        // No overflow: the high bit of a length is not set.
        Ok(Phase::Body(4 + length))
    }

    /// The size of the message with `length` more.
    fn size_with(&self, length: u64) -> Result<u32, Violation> {
        let (size, limit) = (u64::from(self.message_size) + length, self.message_limit);
        let fits = size <= u64::from(limit);
        if fits { Ok(size as u32) } else { Err(Violation::TooLarge { size, limit }) }
    }

    /// Takes what it can of mask and payload, and returns what stands behind it.
    fn pass_body<'a>(&mut self, left: u64, bytes: &'a [u8]) -> (Phase, &'a [u8]) {
        let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let (body, rest) = bytes.split_at(here);
        if self.frame == Frame::Close {
            for (slot, byte) in self.close.iter_mut().skip(self.close_seen.into()).zip(body) {
                *slot = *byte;
                self.close_seen += 1;
            }
        }
        let left = left - here as u64;
        if left > 0 {
            return (Phase::Body(left), rest);
        }
        if self.frame != (Frame::Data { last: false }) {
            self.surfaced = self.surfaced.wrapping_add(1);
        }
        match self.frame {
            Frame::Close => {
                self.message_in_progress = false;
                return (Phase::Closed, rest);
            }
            Frame::Data { last: true } => {
                self.message_in_progress = false;
                self.message_limit = self.later_limit;
            }
            Frame::Data { last: false } | Frame::PingOrPong => {}
        }
        (Phase::FirstByte, rest)
    }
}

impl From<ProtocolViolation> for Violation {
    fn from(rule: ProtocolViolation) -> Self {
        Self::Protocol(rule)
    }
}
