//! Streams for the oracle, legal and nearly so, and a reader of their headers that is in no hurry.

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};

use crate::driver::scanner::ScannerLimits;

/// A stream, the limits, and how reads cut it: sizes, taken from the start again when used up.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) limits: ScannerLimits,
    pub(super) bytes: Vec<u8>,
    pub(super) cuts: Vec<usize>,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) messages: u32,
    pub(super) in_message: bool,
    /// Of the last message.
    pub(super) frames: u32,
    /// Of the last message.
    pub(super) size: u64,
    pub(super) pings_and_pongs: u32,
}

impl Tally {
    pub(super) fn count(&mut self, frame: &Frame) {
        match frame.opcode() {
            0..=2 => {
                if frame.opcode() != 0 {
                    (self.messages, self.frames, self.size) = (self.messages + 1, 0, 0);
                }
                self.in_message = !frame.last();
                self.frames += 1;
                self.size = self.size.saturating_add(frame.length);
            }
            9 | 10 => self.pings_and_pongs += 1,
            _ => {}
        }
    }
}

/// A header, read at leisure.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) first: u8,
    pub(super) masked: bool,
    pub(super) length: u64,
    pub(super) shortest: bool,
    /// Bytes of the header.
    pub(super) header: usize,
}

impl Frame {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (width, least) = match second & 0x7f {
            126 => (2, 126),
            127 => (8, 65_536),
            _ => (0, 0),
        };
        let extended = bytes.get(2..2 + width)?;
        let length = match width {
            0 => u64::from(second & 0x7f),
            _ => extended.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        let masked = second & 0x80 != 0;
        let header = 2 + width + if masked { 4 } else { 0 };
        bytes.get(..header)?;
        Some(Self { first, masked, length, shortest: length >= least, header })
    }

    pub(super) fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    pub(super) fn last(&self) -> bool {
        self.first & 0x80 != 0
    }

    pub(super) fn is_close(&self) -> bool {
        self.opcode() == 8
    }
}

/// The frames whose header is complete, and where the last one ends whose payload is too.
pub(super) fn frames(bytes: &[u8]) -> (Vec<Frame>, usize) {
    let (mut frames, mut at) = (Vec::new(), 0);
    while let Some(frame) = Frame::parse(&bytes[at..]) {
        let left = (bytes.len() - at - frame.header) as u64;
        let end = (frame.length <= left).then(|| at + frame.header + frame.length as usize);
        frames.push(frame);
        match end {
            Some(end) => at = end,
            None => break,
        }
    }
    (frames, at)
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let bytes = (vec(piece(), 0..8), vec((any::<Index>(), mutation()), 0..3), any::<bool>());
    let bytes = bytes.prop_map(|(pieces, mutations, mutate)| {
        let mut bytes = pieces.concat();
        for (at, mutation) in mutations.into_iter().filter(|_| mutate) {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                mutation.apply(&mut bytes, at);
            }
        }
        bytes
    });
    let cuts = prop_oneof![
        Just(vec![usize::MAX]),
        vec(1..4_usize, 1..4),
        vec(1..40_usize, 1..20),
        Just(vec![4096]),
    ];
    (limits(), bytes, cuts).prop_map(|(limits, bytes, cuts)| Case { limits, bytes, cuts })
}

fn limits() -> impl Strategy<Value = ScannerLimits> {
    let size = || select(vec![0, 5, 20, 125, 126, 127, 300, 300, 65_535, 65_536, 70_000, 70_000]);
    let fragments = prop_oneof![1..5_u32, Just(64)];
    let burst = prop_oneof![0..4_u32, Just(100), Just(100)];
    (size(), size(), fragments, burst).prop_map(|(message, first, max_fragments, control_burst)| {
        ScannerLimits {
            max_message: message,
            max_first_message: first,
            max_fragments,
            control_burst,
        }
    })
}

/// A whole message, a control frame, or something that only looks like one.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let header = (any::<u8>(), any::<u8>(), vec(any::<u8>(), 0..16));
    let wild = header.prop_map(|(first, second, rest)| [vec![first, second], rest].concat());
    let first = select(vec![0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a]);
    let long =
        (first, vec(b'a'..=b'z', 0..20), any::<[u8; 4]>(), select(vec![Form::U16, Form::U64]));
    let long = long.prop_map(|(first, payload, key, form)| frame(first, &payload, key, form));
    let edges = vec![5, 125, 126, 65_535, 65_536, 1 << 32, (1 << 32) + 65_536, 1 << 63];
    let length = prop_oneof![(any::<u64>(), 0..64).prop_map(|(x, by)| x >> by), select(edges)];
    let lone = (select(vec![0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x89]), length);
    let lone = lone.prop_map(|(first, length)| {
        [&[first, 0xff][..], &u64::to_be_bytes(length), &[0; 4]].concat()
    });
    let piece = prop_oneof![
        24 => message(),
        8 => control(),
        2 => close(),
        1 => wild,
        2 => long,
        1 => lone,
    ];
    // Now and then a flaw in the first header, where the rules are.
    (piece, 0..14_usize, prop_oneof![9 => Just(0), 1 => any::<u8>()]).prop_map(
        |(mut piece, at, flaw)| {
            if let Some(byte) = piece.get_mut(at) {
                *byte ^= flaw;
            }
            piece
        },
    )
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let size = prop_oneof![60 => 0..12_usize, 12 => 120..305_usize, 2 => 295..305_usize,
        1 => 65_530..65_540_usize];
    // Characters of one to four bytes, so that fragments cut them.
    let pattern = prop_oneof![8 => "[aé€😀]{1,5}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 1..9)];
    let cuts = vec((any::<Index>(), proptest::option::weighted(0.2, control())), 0..5);
    let lead = (any::<bool>(), size, pattern);
    (lead, cuts, any::<[u8; 4]>()).prop_map(|((text, size, pattern), mut cuts, key)| {
        // A whole number of patterns, so that a text is UTF-8 to its end.
        let payload = pattern.repeat(size.div_ceil(pattern.len()));
        cuts.sort_by_key(|(at, _)| at.index(payload.len() + 1));
        let (mut message, mut from, mut opcode) = (Vec::new(), 0, if text { 1 } else { 2 });
        for (at, control) in cuts {
            let at = at.index(payload.len() + 1);
            message.extend(frame(opcode, &payload[from..at], key, Form::Shortest));
            message.extend(control.unwrap_or_default());
            (from, opcode) = (at, 0);
        }
        message.extend(frame(0x80 | opcode, &payload[from..], key, Form::Shortest));
        message
    })
}

fn control() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![6 => vec(any::<u8>(), 0..4), 1 => vec(any::<u8>(), 120..=125)];
    (select(vec![0x89, 0x8a]), payload, any::<[u8; 4]>())
        .prop_map(|(first, payload, key)| frame(first, &payload, key, Form::Shortest))
}

fn close() -> impl Strategy<Value = Vec<u8>> {
    let code = prop_oneof![any::<u16>(), 990..1020_u16, 2990..5010_u16];
    let payload = prop_oneof![
        1 => Just(vec![]),
        6 => (code, "[aé]{0,9}").prop_map(|(code, reason)| {
            [&code.to_be_bytes()[..], reason.as_bytes()].concat()
        }),
        1 => vec(any::<u8>(), 0..5),
    ];
    (payload, any::<[u8; 4]>())
        .prop_map(|(payload, key)| frame(0x88, &payload, key, Form::Shortest))
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Shortest,
    U16,
    U64,
}

fn frame(first: u8, payload: &[u8], key: [u8; 4], form: Form) -> Vec<u8> {
    let size = payload.len();
    let mut frame = vec![first];
    match form {
        Form::Shortest if size < 126 => frame.push(0x80 | size as u8),
        Form::U16 | Form::Shortest if size < 65_536 => {
            frame.push(0xfe);
            frame.extend((size as u16).to_be_bytes());
        }
        _ => {
            frame.push(0xff);
            frame.extend((size as u64).to_be_bytes());
        }
    }
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

#[derive(Clone, Copy, Debug)]
enum Mutation {
    Insert(u8),
    Remove,
    Truncate,
    Xor(u8),
}

impl Mutation {
    fn apply(self, bytes: &mut Vec<u8>, at: usize) {
        match self {
            Self::Insert(byte) => bytes.insert(at, byte),
            Self::Remove => drop(bytes.remove(at)),
            Self::Truncate => bytes.truncate(at),
            Self::Xor(flaw) => bytes[at] ^= flaw,
        }
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        any::<u8>().prop_map(Mutation::Insert),
        Just(Mutation::Remove),
        Just(Mutation::Truncate),
        any::<u8>().prop_map(Mutation::Xor),
    ]
}
