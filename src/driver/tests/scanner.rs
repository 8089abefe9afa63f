//! What the scanner refuses and what it passes, to the byte. Wire notation as in the attack catalogue: hex, with `K`
//! for the mask key `00000000`.

use crate::driver::scanner::{FrameScanner, ProtocolViolation, ScannerLimits, Violation};

use ProtocolViolation::*;
use Violation::{Protocol, TooLarge, TooManyFragments};

pub(super) const LIMITS: ScannerLimits = ScannerLimits {
    max_message: 64 * 1024,
    max_first_message: 4 * 1024,
    max_fragments: 64,
    control_burst: 100,
};

// covers: FR-01
#[test]
fn one_frame_more_than_a_message_may_have_is_refused_at_its_first_byte() {
    let mut flood = wire("01 80 K");
    flood.extend(wire("00 80 K").repeat(2_000_000));
    assert_passes("empty continuations", &flood, 64 * 6, Some(TooManyFragments(64)));

    // Pings in between are not frames of the message, and the next message counts from one.
    let mut legal = wire("01 80 K");
    legal.extend(wire("00 80 K 89 80 K").repeat(62));
    legal.extend(wire("80 80 K"));
    let passes = legal.repeat(2);
    let scanner = scan_with(ScannerLimits { control_burst: 124, ..LIMITS }, &passes, passes.len());
    assert_eq!(scanner.violation(), None);

    let one_frame = ScannerLimits { max_fragments: 1, ..LIMITS };
    let scanner = scan_with(one_frame, &wire("81 81 K 61 01 81 K 61 80 80 K"), 14);
    assert_eq!(scanner.violation(), Some(TooManyFragments(1)));
}

// covers: FR-02
// holds: I3
#[test]
fn a_declared_length_is_judged_before_anything_is_buffered_for_it() {
    for (frame, passed, violation) in [
        ("82 ff 0000200000000000 K", 4, TooLarge { size: 1 << 45, limit: 4096 }),
        ("82 ff ffffffffffffffff K", 2, Protocol(LengthHighBit)),
        ("82 ff 7fffffffffffffff K", 2, TooLarge { size: 0x7f << 56, limit: 4096 }),
        ("82 ff 0000000001000000 K", 6, TooLarge { size: 1 << 24, limit: 4096 }),
        ("82 fe 1001 K", 3, TooLarge { size: 4097, limit: 4096 }),
        ("82 fe ff00 K", 2, TooLarge { size: 0xff00, limit: 4096 }),
    ] {
        assert_passes(frame, &wire(frame), passed, Some(violation));
    }
    // The sum with what came before must not wrap.
    let frames = wire("02 81 K 61 80 ff 7fffffffffffffff K");
    assert_passes("sum", &frames, 9, Some(TooLarge { size: (0x7f << 56) + 1, limit: 4096 }));
}

// covers: FR-05
#[test]
fn a_frame_without_a_mask_is_refused_at_its_second_byte() {
    for frame in ["81 02 7b7d", "89 00", "88 00", "8a 00", "82 7e 0080", "82 7f"] {
        assert_passes(frame, &wire(frame), 1, Some(Protocol(Unmasked)));
    }
}

// covers: FR-10
#[test]
fn reserved_bits_and_opcodes_are_refused_at_the_first_byte() {
    for tail in ["80 K", "ff 0000000000100000 K"] {
        for message in ["", "01 80 K"] {
            for first in [0xc1, 0xa1, 0x91, 0xf1, 0x40, 0xc8, 0xa9, 0x9a] {
                let frame = format!("{message} {first:02x} {tail}");
                let passed = wire(message).len();
                assert_passes(&frame, &wire(&frame), passed, Some(Protocol(ReservedBits)));
            }
            for opcode in (0x3..=0x7).chain(0xb..=0xf) {
                for first in [opcode, 0x80 | opcode] {
                    let frame = format!("{message} {first:02x} {tail}");
                    let passed = wire(message).len();
                    assert_passes(&frame, &wire(&frame), passed, Some(Protocol(ReservedOpcode)));
                }
            }
        }
    }
}

// covers: FR-12
#[test]
fn a_malformed_control_frame_is_refused_from_its_header() {
    for (frame, passed, violation) in [
        ("89 fe 007e K", 1, ControlTooLong),
        ("89 ff 0000000000100000 K", 1, ControlTooLong),
        ("8a fe 007e K", 1, ControlTooLong),
        ("88 fe 007e K", 1, ControlTooLong),
        ("09 80 K 80 80 K", 0, FragmentedControl),
        ("0a 80 K", 0, FragmentedControl),
        ("08 80 K", 0, FragmentedControl),
        ("01 80 K 09 80 K", 6, FragmentedControl),
    ] {
        assert_passes(frame, &wire(frame), passed, Some(Protocol(violation)));
    }
}

// covers: FR-14
#[test]
fn fragments_out_of_order_are_refused_at_the_first_byte() {
    for (frames, passed, violation) in [
        ("80 81 K 61", 0, OrphanContinuation),
        ("00 81 K 61", 0, OrphanContinuation),
        ("81 81 K 61 80 81 K 62", 7, OrphanContinuation),
        ("01 81 K 61 81 81 K 62", 7, InterleavedMessage),
        ("01 81 K 61 02 81 K 62", 7, InterleavedMessage),
        ("01 81 K 61 89 80 K 82 81 K 62", 13, InterleavedMessage),
    ] {
        let scanner = assert_passes(frames, &wire(frames), passed, Some(Protocol(violation)));
        assert_eq!(scanner.partial(), None, "the partial message is gone: {frames}");
    }
}

// covers: FR-16
#[test]
fn a_length_in_a_longer_form_than_it_needs_is_a_protocol_error_and_never_a_size() {
    let tiny = ScannerLimits { max_message: 3, max_first_message: 3, ..LIMITS };
    for (frame, passed, violation) in [
        ("82 fe 0005 K 0102030405", 3, NonMinimalLength),
        ("82 fe 007d K", 3, NonMinimalLength),
        ("82 ff 0000000000000005 K 0102030405", 7, NonMinimalLength),
        ("82 ff 000000000000ffff K", 7, NonMinimalLength),
        ("89 fe 0005 K 0102030405", 1, ControlTooLong),
        ("89 ff 0000000000000005 K 0102030405", 1, ControlTooLong),
        ("82 ff 8000000000000005 K", 2, LengthHighBit),
        ("01 81 K 61 80 fe 0005 K", 10, NonMinimalLength),
    ] {
        for limits in [LIMITS, tiny] {
            let scanner = scan_with(limits, &wire(frame), passed);
            assert_eq!(scanner.violation(), Some(Protocol(violation)), "{frame}");
        }
    }
    let large = ScannerLimits { max_first_message: 65_536, max_message: 65_536, ..LIMITS };
    for shortest in ["82 fd K", "82 fe 007e K", "82 fe ffff K", "82 ff 0000000000010000 K"] {
        let wire = wire(shortest);
        assert_eq!(scan_with(large, &wire, wire.len()).violation(), None, "{shortest}");
    }
}

// covers: MS-01
#[test]
fn a_message_over_its_limit_is_refused_from_the_header_that_says_so() {
    let first = ScannerLimits { max_first_message: 600, max_message: 1000, ..LIMITS };
    let later = wire("81 82 K 7b7d");
    for (name, before, limit) in [("first", vec![], 600), ("later", later, 1000)] {
        for size in [limit - 1, limit] {
            let stream = [before.clone(), text(0x81, size)].concat();
            let scanner = scan_with(first, &stream, stream.len());
            assert_eq!(scanner.violation(), None, "{name}: {size}");
        }
        let over = Some(TooLarge { size: limit as u64 + 1, limit: limit as u32 });
        let one = text(0x81, limit + 1);
        for (form, frame) in [("with payload", &one[..]), ("header alone", &one[..8])] {
            let stream = [&before, frame].concat();
            let scanner = scan_with(first, &stream, before.len() + 3);
            assert_eq!(scanner.violation(), over, "{name}: {form}");
        }
        let two = [before.clone(), text(0x01, limit - 100), text(0x80, 101)].concat();
        let scanner = scan_with(first, &two, two.len() - 4 - 101 - 1);
        assert_eq!(scanner.violation(), over, "{name}: two fragments");
    }
    assert_passes("L_msg + 1", &wire("81 82 K 7b7d 81 ff 0000000000010001"), 17, {
        Some(TooLarge { size: 65_537, limit: 65_536 })
    });
}

#[test]
fn the_limit_before_authentication_is_the_first_messages_alone() {
    let credentials_and_more = [text(0x81, 4096), wire("89 80 K"), text(0x81, 4097)].concat();
    assert_passes("one segment", &credentials_and_more, credentials_and_more.len(), None);
    // Neither control frames nor the first fragment end the first message.
    let split = [wire("89 80 K 8a 80 K"), text(0x01, 4000), text(0x80, 97)].concat();
    let over = TooLarge { size: 4097, limit: 4096 };
    assert_passes("split", &split, split.len() - 4 - 97 - 1, Some(over));
}

#[test]
fn a_fragment_ends_where_its_own_length_says_whatever_came_before() {
    let limits = ScannerLimits { max_first_message: 70_000, max_message: 70_000, ..LIMITS };
    let fragments = [text(0x01, 77), text(0x00, 300), text(0x00, 65_536), text(0x80, 1)];
    let stream = [&fragments.concat()[..], &wire("88 80 K")].concat();
    assert!(scan_with(limits, &stream, stream.len()).closed());
}

// covers: P2-02
#[test]
fn legal_but_unusual_frames_pass() {
    let ping = |size| text(0x89, size);
    for (name, frames) in [
        ("ping between fragments", wire("01 81 K 61 89 80 K 80 81 K 62")),
        ("close between fragments", wire("01 81 K 61 88 80 K")),
        ("pings of 0, 1, 124, 125", [ping(0), ping(1), ping(124), ping(125)].concat()),
        ("pong nobody asked for", wire("8a 81 K 00")),
        ("empty fragments", wire("01 80 K 00 80 K 80 82 K 7b7d")),
        ("empty messages", wire("81 80 K 82 80 K")),
        ("mask of zeros", wire("81 82 00000000 7b7d")),
        ("mask of ones", wire("81 82 ffffffff 8482")),
    ] {
        let scanner = assert_passes(name, &frames, frames.len(), None);
        assert!(scanner.at_boundary(), "{name}");
    }
}

#[test]
fn limits_over_four_gibibytes_are_four_gibibytes() {
    let endless =
        ScannerLimits { max_message: usize::MAX, max_first_message: usize::MAX, ..LIMITS };
    scan_with(endless, &wire("82 ff 00000000ffffffff K"), 14);
    let scanner = scan_with(endless, &wire("82 ff 0000000100000000 K"), 5);
    assert_eq!(scanner.violation(), Some(TooLarge { size: 1 << 32, limit: u32::MAX }));
}

pub(super) fn assert_passes(
    name: &str,
    wire: &[u8],
    passed: usize,
    violation: Option<Violation>,
) -> FrameScanner {
    let scanner = scan_with(LIMITS, wire, passed);
    assert_eq!(scanner.violation(), violation, "{name}");
    scanner
}

/// Scans `wire` in one read and in reads of one byte; the scanner of the latter.
pub(super) fn scan_with(limits: ScannerLimits, wire: &[u8], passed: usize) -> FrameScanner {
    let mut whole = FrameScanner::new(limits);
    assert_eq!(whole.scan(wire), passed, "{:02x?}", wire.get(..32).unwrap_or(wire));
    let mut dribbled = FrameScanner::new(limits);
    let handed_on: usize = wire.chunks(1).map(|byte| dribbled.scan(byte)).sum();
    assert_eq!(handed_on, passed, "{:02x?}", wire.get(..32).unwrap_or(wire));
    assert_eq!(format!("{whole:?}"), format!("{dribbled:?}"));
    dribbled
}

pub(super) fn wire(notation: &str) -> Vec<u8> {
    let digits = notation.replace('K', "00000000").replace(' ', "");
    assert!(digits.len().is_multiple_of(2), "{notation}");
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// A frame of `size` times `a` in the shortest form.
pub(super) fn text(first: u8, size: usize) -> Vec<u8> {
    let header = match size {
        0..=125 => format!("{first:02x} {:02x} K", 0x80 | size),
        126..=65_535 => format!("{first:02x} fe {size:04x} K"),
        _ => format!("{first:02x} ff {size:016x} K"),
    };
    let mut frame = wire(&header);
    frame.resize(frame.len() + size, b'a');
    frame
}
