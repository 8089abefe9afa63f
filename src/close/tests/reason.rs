//! Codes that may not be on the wire, and what still goes out before a close.

use crate::close::{Close, CloseCode, CloseReason, InvalidClose, Outgoing, Retry};

// holds: I5
#[test]
fn what_an_application_says_is_said_of_it_and_nothing_that_was_never_seen() {
    let said: Vec<_> = Close::ALL.iter().map(|it| it.reason().rule()).collect();
    let expected = [
        "normal",
        "going_away",
        "message.binary",
        "message.text",
        "message.schema",
        "message.rate",
        "handler.failed",
        "overloaded",
        "auth.expired",
        "auth.revoked",
        "forbidden",
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_peer_that_broke_a_rule_of_the_frames_or_takes_nothing_gets_nothing_more() {
    let nothing: Vec<_> = CloseReason::ALL
        .iter()
        .filter(|it| it.outgoing() == Outgoing::Nothing)
        .map(CloseReason::rule)
        .collect();
    let expected = [
        "lost",
        "protocol",
        "message.utf8",
        "frame.fragments",
        "frame.control",
        "message.time",
        "message.size",
        "heartbeat",
        "slow_consumer",
        "write.timeout",
        "overloaded",
    ];
    assert_eq!(nothing, expected);
    let kicked = Close::application(4100, "", Retry::Stop).unwrap();
    assert_eq!(kicked.reason().outgoing(), Outgoing::Queued);
}

// holds: I5
#[test]
fn codes_that_must_not_be_on_the_wire_are_refused() {
    for code in [0, 999, 1000, 1004, 1005, 1006, 1015, 1016, 2999, 3999, 4401, 4403, 4409, 5000] {
        let made = Close::application(code, "", Retry::Stop);
        assert_eq!(made, Err(InvalidClose::Code(code)));
    }
    for code in [0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 5000, u16::MAX] {
        let answer = CloseReason::PeerClosed(Some(code)).code();
        assert_eq!(answer, Some(CloseCode::PROTOCOL_ERROR), "{code}");
    }
}

// holds: I5
#[test]
fn each_reason_has_a_rule_of_its_own_and_a_code_that_the_docs_name() {
    use CloseCode as Code;
    let named = [
        Code::NORMAL,
        Code::GOING_AWAY,
        Code::PROTOCOL_ERROR,
        Code::UNSUPPORTED,
        Code::INVALID_PAYLOAD,
        Code::POLICY,
        Code::MESSAGE_TOO_LARGE,
        Code::INTERNAL_ERROR,
        Code::TRY_AGAIN_LATER,
        Code::UNAUTHENTICATED,
        Code::FORBIDDEN,
        Code::REPLACED,
    ];
    let mut sent: Vec<_> = CloseReason::ALL.iter().filter_map(CloseReason::code).collect();
    sent.sort_unstable();
    sent.dedup();
    assert_eq!(sent, named, "1012 is not among them");
    let mut rules: Vec<_> = CloseReason::ALL.iter().map(CloseReason::rule).collect();
    rules.sort_unstable();
    rules.dedup();
    assert_eq!(rules.len(), CloseReason::ALL.len());
    assert_eq!(CloseReason::Lost.code(), None);
    assert!(CloseReason::ALL.iter().all(|it| it.text().len() <= 123));
}

#[test]
fn a_reason_fits_a_control_frame() {
    const LONG: &str = match std::str::from_utf8(&[b'x'; 124]) {
        Ok(text) => text,
        Err(_) => "",
    };
    let made = Close::application(4000, LONG, Retry::Stop);
    assert_eq!(made, Err(InvalidClose::ReasonTooLong(124)));
    assert!(Close::application(4000, &LONG[1..], Retry::Stop).is_ok());
}
