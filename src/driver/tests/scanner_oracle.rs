//! The scanner against the decoder behind it, on streams that are legal or nearly so.
//!
//! Both see the same bytes. What the scanner hands on, the decoder must read as if there were no
//! scanner; what the decoder refuses, the two together must refuse; and what the scanner refuses,
//! the decoder must refuse as well once that frame is complete, unless it is a [`Difference`].

use std::{cell::RefCell, collections::BTreeMap};

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio_tungstenite::tungstenite::Message;

use super::{
    scanner::wire,
    scanner_streams::{Case, Frame, Tally, case, frames},
};
use crate::{
    driver::scanner::{
        FrameScanner,
        ProtocolViolation::{ControlTooLong, NonMinimalLength},
        ScannerLimits, Violation,
    },
    testing::driven::decoder::{End, Refusal, chunks, decode},
};

/// What tungstenite accepts and the scanner refuses: the table in the scanner's module docs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Difference {
    LongerFormThanNeeded,
    Fragments,
    ControlBudget,
    FirstMessage,
}

// covers: FR-32
#[test]
fn scanner_and_decoder_differ_only_where_it_is_written() {
    let config = Config { source_file: Some(file!()), ..Config::default() };
    let seen = RefCell::new(BTreeMap::<String, u32>::new());
    let result = TestRunner::new(config).run(&case(), |case| {
        for outcome in compare(&case)? {
            *seen.borrow_mut().entry(outcome).or_default() += 1;
        }
        Ok(())
    });
    eprintln!("{:#?}", seen.borrow());
    result.unwrap();
}

// Random streams may miss one: here is a stream for each.
#[test]
fn every_written_difference_is_real() {
    let (text, ping) = ("81 81 K 61", "89 80 K");
    let limits =
        ScannerLimits { max_message: 10, max_first_message: 1, max_fragments: 2, control_burst: 2 };
    for (stream, difference) in [
        ("82 fe 0001 K 07", Difference::LongerFormThanNeeded),
        ("82 ff 0000000000000001 K 07", Difference::LongerFormThanNeeded),
        ("89 fe 0001 K 07", Difference::LongerFormThanNeeded),
        ("8a ff 0000000000000001 K 07", Difference::LongerFormThanNeeded),
        ("88 fe 0002 K 03e8", Difference::LongerFormThanNeeded),
        ("01 80 K 00 80 K 80 81 K 61", Difference::Fragments),
        (&[ping, text, ping, ping].concat(), Difference::ControlBudget),
        ("82 82 K 0707", Difference::FirstMessage),
        ("02 81 K 07 80 81 K 07", Difference::FirstMessage),
    ] {
        let bytes = wire(stream);
        let outcomes = compare(&Case { limits, cuts: vec![bytes.len()], bytes }).unwrap();
        assert!(outcomes.contains(&accepted(difference)), "{stream}: {outcomes:?}");
    }
}

proptest! {
    // covers: FR-32, P2-06
    #[test]
    fn chunking_never_changes_the_outcome(case in case(), noise in vec(any::<u8>(), 0..80)) {
        for bytes in [&case.bytes, &noise] {
            let mut whole = FrameScanner::new(case.limits);
            let passed = whole.scan(bytes);
            for sizes in [&case.cuts[..], &[1]] {
                let mut cut = FrameScanner::new(case.limits);
                let handed_on: usize = chunks(bytes, sizes).map(|chunk| cut.scan(chunk)).sum();
                prop_assert_eq!(handed_on, passed);
                // The whole state, so that what comes next cannot differ either.
                prop_assert_eq!(format!("{cut:?}"), format!("{whole:?}"));
            }
        }
    }
}

/// Holds the scanner to the decoder, and says what happened.
fn compare(case: &Case) -> Result<Vec<String>, TestCaseError> {
    let Case { limits, bytes, cuts } = case;
    let mut scanner = FrameScanner::new(*limits);
    let mut passed = Vec::new();
    for chunk in chunks(bytes, cuts) {
        let prefix = scanner.scan(chunk);
        passed.extend(&chunk[..prefix]);
    }
    prop_assert!(bytes.starts_with(&passed));
    let (frames, whole) = frames(&passed);
    assert_lawful(&frames, limits)?;

    let (bare, bare_end) = decode(bytes, cuts, limits);
    let (behind, behind_end) = decode(&passed, cuts, limits);
    prop_assert!(bare.starts_with(&behind));
    if let End::Refused(_) = behind_end {
        prop_assert_eq!(bare_end, behind_end);
    }

    let mut outcomes = vec![format!("decoder alone: {bare_end:?}")];
    match scanner.violation() {
        None => {
            prop_assert_eq!(&bare, &behind);
            prop_assert_eq!(bare_end, behind_end);
            let closed = whole == passed.len() && frames.last().is_some_and(Frame::is_close);
            prop_assert_eq!(scanner.closed(), closed);
            prop_assert!(closed || passed.len() == bytes.len());
            outcomes.push(format!("scanner: legal, closed: {closed}"));
        }
        Some(violation) => {
            outcomes.push(format!("scanner: {}", rule(violation)));
            outcomes.push(justify(violation, bytes, whole, 0, limits)?);
            // And whatever else could have followed the byte that was refused.
            for filler in [0x00, 0x01, 0x80, 0x85, 0xff] {
                justify(violation, &bytes[..=passed.len()], whole, filler, limits)?;
            }
        }
    }
    if let (Some(code), Some(Message::Close(Some(shown)))) = (scanner.close_code(), behind.last()) {
        let shown = u16::from(shown.code);
        // tungstenite shows 1002 for a code that it takes for illegal.
        prop_assert!(shown == code || shown == 1002, "{} for {}", shown, code);
        outcomes.push(format!("close code hidden by the decoder: {}", shown != code));
    }
    Ok(outcomes)
}

/// Completes the refused frame at `start` with `filler`, shows it to the decoder, and looks for the
/// written difference if the decoder takes it.
fn justify(
    violation: Violation,
    bytes: &[u8],
    start: usize,
    filler: u8,
    limits: &ScannerLimits,
) -> Result<String, TestCaseError> {
    let mut stream = bytes.to_vec();
    // The longest header has 14 bytes.
    stream.resize(bytes.len() + 14, filler);
    let refused = Frame::parse(&stream[start..]).unwrap();
    // A control frame may be longer than a message.
    let longest = limits.max_message.max(125) as u64;
    let payload = if refused.length > longest { 0 } else { refused.length };
    let end_of_frame = start + refused.header + payload as usize;
    stream.truncate(start + refused.header);
    stream.resize(end_of_frame, 0);

    if let (_, End::Refused(_)) = decode(&stream[..start], &[start.max(1)], limits) {
        return Ok("decoder refused a payload before".into());
    }
    let (_, end) = decode(&stream, &[stream.len()], limits);
    let mut tally = Tally::default();
    for frame in frames(&stream[..start]).0.iter().chain([&refused]) {
        tally.count(frame);
    }
    let over = refused.length.max(tally.size) > limits.max_message as u64;
    let difference = match (violation, end) {
        // Never a size for what is a malformed length in the first place.
        (Violation::TooLarge { .. }, _) if !refused.shortest || refused.length >> 63 != 0 => {
            return Err(TestCaseError::fail(format!("{violation:?} for {refused:?}")));
        }
        (Violation::Protocol(_), End::Refused(Refusal::Protocol))
        | (Violation::TooLarge { .. }, End::Refused(Refusal::Capacity)) => {
            return Ok("both refuse, for the same reason".into());
        }
        (Violation::Protocol(_), End::Refused(Refusal::Capacity)) if over => {
            return Ok("both refuse, the decoder for the size".into());
        }
        (Violation::Protocol(NonMinimalLength | ControlTooLong), _) if !refused.shortest => {
            Difference::LongerFormThanNeeded
        }
        (Violation::TooManyFragments(limit), _) if tally.frames == limit + 1 => {
            Difference::Fragments
        }
        (Violation::TooManyControlFrames(limit), _) if tally.pings_and_pongs == limit + 1 => {
            Difference::ControlBudget
        }
        (Violation::TooLarge { .. }, _) if tally.messages == 1 && !over => {
            prop_assert!(tally.size > limits.max_first_message as u64);
            Difference::FirstMessage
        }
        _ => {
            return Err(TestCaseError::fail(format!("{violation:?}, but decoder: {end:?}")));
        }
    };
    Ok(match end {
        End::Refused(_) => "both refuse, the decoder for another reason".into(),
        End::Closed | End::Waiting => accepted(difference),
    })
}

fn accepted(difference: Difference) -> String {
    format!("decoder accepts: {difference:?}")
}

fn rule(violation: Violation) -> String {
    match violation {
        Violation::Protocol(rule) => format!("{rule:?}"),
        _ => format!("{violation:?}").chars().take_while(|it| it.is_alphabetic()).collect(),
    }
}

/// Nothing illegal was handed on: the rules again, for whole headers and in no hurry.
fn assert_lawful(frames: &[Frame], limits: &ScannerLimits) -> Result<(), TestCaseError> {
    let mut tally = Tally::default();
    for (at, frame) in frames.iter().enumerate() {
        prop_assert!(frame.masked && frame.shortest && frame.first & 0x70 == 0, "{:?}", frame);
        let in_order = match frame.opcode() {
            0 => tally.in_message,
            1 | 2 => !tally.in_message,
            8 => frame.length != 1 && at + 1 == frames.len(),
            9 | 10 => true,
            _ => false,
        };
        let control = frame.opcode() >= 8;
        prop_assert!(in_order && (!control || frame.last() && frame.length <= 125), "{:?}", frame);
        tally.count(frame);
        let first = tally.messages <= 1;
        let limit = if first { limits.max_first_message } else { limits.max_message };
        prop_assert!(tally.size <= limit as u64);
        prop_assert!(tally.frames <= limits.max_fragments);
        prop_assert!(tally.pings_and_pongs <= limits.control_burst);
    }
    Ok(())
}
