//! What the scanner tells its caller besides how many bytes may pass.

use super::scanner::{LIMITS, assert_passes, text, wire};
use crate::driver::scanner::{FrameScanner, Partial, ProtocolViolation, ScannerLimits, Violation};

use ProtocolViolation::CloseTooShort;
use Violation::{Protocol, TooLarge, TooManyControlFrames};

// covers: FR-25
#[test]
fn the_close_code_is_kept_as_it_was_on_the_wire() {
    let illegal = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535];
    let legal = (1000..=1003).chain(1007..=1014).chain([3000, 4999]);
    for code in legal.chain(illegal) {
        for (key, reason) in [([0; 4], &[][..]), ([0x37, 0xfa, 0x21, 0x3d], b"\xff and why")] {
            let mut frame = vec![0x88, 0x80 | (2 + reason.len() as u8)];
            frame.extend(key);
            let payload = [&u16::to_be_bytes(code), reason].concat();
            frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
            let scanner = assert_passes("close", &frame, frame.len(), None);
            assert_eq!(scanner.close_code(), Some(code));
            assert!(scanner.closed());
        }
    }

    let scanner = assert_passes("close without code", &wire("88 80 K"), 6, None);
    assert_eq!((scanner.close_code(), scanner.closed()), (None, true));
    let scanner = assert_passes("half a code", &wire("88 82 K 03"), 7, None);
    assert_eq!((scanner.close_code(), scanner.closed()), (None, false));
    let scanner = assert_passes("code, reason to come", &wire("88 85 K 03e9 61"), 9, None);
    assert_eq!((scanner.close_code(), scanner.closed()), (Some(1001), false));
    assert_passes("one byte", &wire("88 81 K 03"), 1, Some(Protocol(CloseTooShort)));
}

// covers: FR-28
#[test]
fn nothing_behind_the_close_frame_is_handed_on() {
    for (name, frames, passed, code) in [
        ("a message", "88 82 K 03e8 81 82 K 7b7d", 8, Some(1000)),
        ("an illegal header", "88 80 K f7 00", 6, None),
        ("another close", "88 82 K 03e8 88 82 K 03e9", 8, Some(1000)),
        ("the rest of a message", "01 82 K 6161 88 82 K 03e8 80 81 K 62", 16, Some(1000)),
    ] {
        let mut scanner = assert_passes(name, &wire(frames), passed, None);
        assert!(scanner.closed() && scanner.at_boundary(), "{name}");
        assert_eq!((scanner.partial(), scanner.close_code()), (None, code), "{name}");
        assert_eq!(scanner.scan(&wire("81 82 K 7b7d")), 0, "{name}");
    }
}

#[test]
fn what_has_begun_is_in_progress_from_its_first_byte_to_its_last() {
    let message = |number| Some(Partial::Message(number));
    let control = |number| Some(Partial::Control(number));
    let mut scanner = FrameScanner::new(LIMITS);
    for (name, bytes, partial, at_boundary) in [
        ("nothing", "", None, true),
        ("first byte of a ping", "89", control(0), false),
        ("its length", "81", control(0), false),
        ("its mask", "K", control(0), false),
        ("its payload", "00", None, true),
        ("a whole one and the next", "89 80 K 8a", control(2), false),
        ("all of it but a byte of the mask", "80 000000", control(2), false),
        ("and that", "00", None, true),
        ("first byte of a message", "01", message(1), false),
        ("its mask", "81 K", message(1), false),
        ("its payload", "61", message(1), false),
        ("ping between fragments", "89 80 K", message(1), false),
        ("final frame but one byte", "80 82 K 62", message(1), false),
        ("last byte", "63", None, true),
        ("final and empty, mask missing", "81 80 000000", message(2), false),
        ("the mask's last byte", "00", None, true),
        ("a whole one and the next", "81 80 K 82 80 K 81", message(5), false),
        ("the end of it, and another", "80 K 01 80 K", message(6), false),
        ("its end and a whole other", "80 80 K 81 80 K", None, true),
        ("half a close", "88 82 K 03", control(11), false),
        ("its end", "e8", None, true),
    ] {
        let bytes = wire(bytes);
        let _ = scanner.scan(&bytes);
        assert_eq!((scanner.partial(), scanner.at_boundary()), (partial, at_boundary), "{name}");
    }
    for violation in ["81 00", "89 00"] {
        let mut scanner = FrameScanner::new(LIMITS);
        let _ = scanner.scan(&wire(violation));
        assert_eq!((scanner.partial(), scanner.at_boundary()), (None, false), "{violation}");
    }
}

#[test]
fn pings_and_pongs_spend_a_budget_that_only_the_caller_refills() {
    let limits = ScannerLimits { control_burst: 3, ..LIMITS };
    let mut scanner = FrameScanner::new(limits);
    assert_eq!(scanner.scan(&wire("89 80 K 8a 80 K")), 12);
    // Never more than the burst, however long nothing came.
    scanner.refill_control(u32::MAX);
    assert_eq!(scanner.scan(&wire("89 80 K").repeat(3)), 18);
    // Messages are free of it, and so is the close frame; but this ping is one too many.
    assert_eq!(scanner.scan(&wire("81 80 K 8a 80 K 88 80 K")), 6);
    assert_eq!(scanner.violation(), Some(TooManyControlFrames(3)));
    // Five pings and pongs, and the message between them.
    assert_eq!(scanner.surfaced(), 6);

    let mut scanner = FrameScanner::new(limits);
    assert_eq!(scanner.scan(&wire("89 80 K").repeat(3)), 18);
    scanner.refill_control(1);
    assert_eq!(scanner.scan(&wire("89 80 K 88 80 K")), 12);
    assert!(scanner.closed());
}

// A decoder that read on would splice the rest of the stream into a message: see MS-02.
#[test]
fn the_first_violation_is_the_last_word() {
    let limits = ScannerLimits { max_message: 100, max_first_message: 100, ..LIMITS };
    let mut scanner = FrameScanner::new(limits);
    let stream = [text(0x01, 90), text(0x00, 20), text(0x80, 4)].concat();
    assert_eq!(scanner.scan(&stream), 6 + 90 + 1);
    let violation = Some(TooLarge { size: 110, limit: 100 });
    assert_eq!(scanner.violation(), violation);
    scanner.refill_control(1);
    for later in ["", "80 84 K 7461696c", "88 80 K", "f0"] {
        assert_eq!(scanner.scan(&wire(later)), 0);
        assert_eq!(scanner.violation(), violation);
        assert!(!scanner.closed() && !scanner.at_boundary());
    }
}

// One of these per connection, on the path of every read.
#[test]
fn a_scanner_fits_a_cache_line() {
    assert!(size_of::<FrameScanner>() <= 64);
}
