//! What is around a connection: its rooms, a kernel, and a peer that looks at all that comes.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    message::Message,
    outbound::{
        frame,
        seat::{Cursor, Gap, Lacks, Seat},
        slow_member::SlowMember,
    },
};

/// A member's place in a room that has said the frames of `log`, and the room.
pub(super) struct Place {
    /// Which room it is.
    pub(super) source: usize,
    pub(super) slow_member: SlowMember,
    pub(super) log: Mutex<Vec<u8>>,
    pub(super) cursor: Cursor,
    pub(super) gone: AtomicBool,
}

impl Seat for Place {
    fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    fn read(&self, into: &mut Vec<u8>, most: usize) -> Option<Lacks> {
        let log = self.log.lock().unwrap();
        let (position, next) = self.cursor.span();
        let mut read = Lacks { end: log.len() as u64, ..Lacks::default() };
        if next == position {
            read.has_gap = true;
        } else {
            let lacks = &log[usize::try_from(position).unwrap()..];
            into.extend_from_slice(&lacks[..lacks.len().min(most / FRAME * FRAME)]);
        }
        (!self.is_gone()).then_some(read)
    }

    fn when_slow(&self) -> SlowMember {
        self.slow_member
    }

    fn gap(&self) -> Option<Gap> {
        let to = self.cursor.leaps_to()?;
        let nth = u8::try_from(to).unwrap() / u8::try_from(FRAME).unwrap();
        let id = GAP + u8::try_from(self.source).unwrap();
        Some(Gap { to, message: Message::binary(vec![id, nth]) })
    }

    fn told(&self, to: u64) {
        self.cursor.set_position(to);
    }

    fn released(&self) {}
}

#[derive(Default)]
pub(super) struct Kernel {
    pub(super) room: usize,
    /// The driver is woken when there is room again.
    pub(super) registered: bool,
}

impl Kernel {
    /// Takes all, a part, or nothing; the peer gets it.
    pub(super) fn write(&mut self, heard: &mut Heard, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room);
        self.room -= taken;
        heard.feed(&bytes[..taken]);
        taken
    }
}

/// What the peer has got.
#[derive(Default, Hash)]
pub(super) struct Heard {
    pub(super) partial: Vec<u8>,
    /// Of each room, and of what was pushed.
    pub(super) counts: [u8; 3],
    pub(super) closes: u8,
    pub(super) gaps: u8,
}

impl Heard {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        while self.partial.len() >= 2 {
            let len = 2 + usize::from(self.partial[1]);
            if self.partial.len() < len {
                return;
            }
            let frame: Vec<_> = self.partial.drain(..len).collect();
            assert_eq!(self.closes, 0, "nothing comes behind the close frame");
            match frame[..] {
                [frame::CLOSE, 0] => self.closes += 1,
                [0x82, 2, id, nth] if id >= GAP => {
                    let source = usize::from(id - GAP);
                    assert!(self.counts[source] < nth, "a gap, and nothing is missing");
                    self.counts[source] = nth;
                    self.gaps += 1;
                }
                [0x82, 2, id, pushed] => {
                    let (source, nth) = (usize::from(id / 50), id % 50);
                    assert_eq!(self.counts[source], nth, "each once, and in order");
                    self.counts[source] += 1;
                    assert!(
                        self.counts[2] >= pushed,
                        "what was pushed before it was said comes first"
                    );
                }
                _ => panic!("torn: {frame:?}"),
            }
        }
    }
}

/// A frame, and what had been pushed when it was made.
pub(super) fn message(source: usize, nth: u8, pushed: u8) -> Message {
    Message::binary(vec![u8::try_from(source).unwrap() * 50 + nth, pushed])
}

/// Bytes of each frame.
pub(crate) const FRAME: usize = 4;

/// What says that something of a room is missing.
const GAP: u8 = 200;
