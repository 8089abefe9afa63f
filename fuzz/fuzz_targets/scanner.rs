//! The header scanner against the decoder behind it, on any bytes.
//!
//! The first eight bytes of an input are the four limits and four sizes of chunks, the rest is what a
//! peer sends. `src/driver/tests/scanner_oracle.rs` says more about the differences.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_websocket::{
    internal::{
        FrameScanner,
        ProtocolViolation::{ControlTooLong, NonMinimalLength},
        ScannerLimits, Violation,
    },
    testing::driven::decoder::{End, Refusal, chunks, decode},
};

fuzz_target!(|input: &[u8]| {
    let Some((&[message, first, fragments, control, a, b, c, d], bytes)) =
        input.split_first_chunk()
    else {
        return;
    };
    let limits = ScannerLimits {
        max_message: size(message),
        max_first_message: size(first).min(size(message)),
        max_fragments: 1 + u32::from(fragments),
        control_burst: u32::from(control),
    };
    let cuts = [a, b, c, d].map(|it| 1 + usize::from(it));

    let mut scanner = FrameScanner::new(limits);
    let passed = &bytes[..scanner.scan(bytes)];
    for sizes in [&cuts[..], &[1]] {
        let mut cut = FrameScanner::new(limits);
        let handed_on: usize = chunks(bytes, sizes).map(|chunk| cut.scan(chunk)).sum();
        assert_eq!(handed_on, passed.len());
        // The whole state, so that what comes next cannot differ either.
        assert_eq!(format!("{cut:?}"), format!("{scanner:?}"));
    }

    let (bare, bare_end) = decode(bytes, &cuts, &limits);
    let (behind, behind_end) = decode(passed, &cuts, &limits);
    assert!(bare.starts_with(&behind));
    match behind_end {
        // What is wrong with a payload is for the decoder to find.
        End::Refused(Refusal::Utf8) => assert_eq!(bare_end, behind_end),
        End::Closed | End::Waiting => {}
        End::Refused(_) => panic!("handed on: {behind_end:?}"),
    }
    match scanner.violation() {
        None => {
            assert_eq!((bare, bare_end), (behind, behind_end));
            assert!(scanner.closed() || passed.len() == bytes.len());
        }
        Some(violation) => {
            for filler in [0x00, 0x80, 0x85] {
                let refused = complete(bytes, passed.len(), filler, &limits);
                let (_, end) = decode(&refused, &[refused.len()], &limits);
                assert!(justified(violation, end, &limits), "{violation:?}, decoder: {end:?}");
            }
        }
    }
});

/// From 16 bytes to a megabyte, in steps of a sixteenth.
fn size(byte: u8) -> usize {
    usize::from(byte & 0x0f | 0x10) << (byte >> 4)
}

/// `bytes` up to the end of the frame whose header was refused at `refused_at`.
fn complete(bytes: &[u8], refused_at: usize, filler: u8, limits: &ScannerLimits) -> Vec<u8> {
    let mut stream = bytes[..=refused_at].to_vec();
    // The longest header has 14 bytes.
    stream.resize(stream.len() + 14, filler);
    let mut start = 0;
    loop {
        let header = &stream[start..];
        let (form, length) = match header[1] & 0x7f {
            126 => (2, big_endian(&header[2..4])),
            127 => (8, big_endian(&header[2..10])),
            length => (0, u64::from(length)),
        };
        let head = start + 2 + form + if header[1] & 0x80 == 0 { 0 } else { 4 };
        let payload = if length > limits.max_message.max(125) as u64 { 0 } else { length as usize };
        if refused_at < head {
            stream.resize(head, 0);
            stream.resize(head + payload, 0);
            return stream;
        }
        start = head + payload;
    }
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Whether the decoder refuses it too, or one of the written differences allows that it does not.
fn justified(violation: Violation, end: End, limits: &ScannerLimits) -> bool {
    match violation {
        _ if !matches!(end, End::Closed | End::Waiting) => true,
        Violation::Protocol(NonMinimalLength | ControlTooLong) => true,
        Violation::Protocol(_) => false,
        Violation::TooLarge { limit, .. } => (limit as usize) < limits.max_message,
        _ => true,
    }
}
