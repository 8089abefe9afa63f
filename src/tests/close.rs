//! Codes that may not be on the wire, and what still goes out before a close.

use super::*;

#[test]
fn what_only_the_driver_finds_out_cannot_be_asked_for() {
    for reason in
        [CloseReason::Lost, CloseReason::PeerClosed(None), CloseReason::PeerClosed(Some(1000))]
    {
        assert_eq!(reason.asked_for(), CloseReason::Normal);
    }
    assert_eq!(CloseReason::Idle.asked_for(), CloseReason::Idle);
}

#[test]
fn a_peer_that_broke_a_rule_of_the_frames_or_takes_nothing_gets_nothing_more() {
    let nothing: Vec<_> = FIXED_CLOSE_REASONS
        .iter()
        .filter(|it| it.outgoing() == Outgoing::Nothing)
        .map(CloseReason::rule)
        .collect();
    let expected = [
        "lost",
        "protocol",
        "message.utf8",
        "message.size",
        "frame.fragments",
        "frame.control",
        "message.time",
        "heartbeat",
        "slow_consumer",
        "write.timeout",
        "overloaded",
    ];
    assert_eq!(nothing, expected);
    let kicked = CloseReason::application(4100, "", Retry::Stop).unwrap();
    assert_eq!(kicked.outgoing(), Outgoing::Queued);
}

// holds: I5
#[test]
fn codes_that_must_not_be_on_the_wire_are_refused() {
    for code in [0, 999, 1000, 1004, 1005, 1006, 1015, 1016, 2999, 3999, 4401, 4403, 5000] {
        let made = CloseReason::application(code, "", Retry::Stop);
        assert_eq!(made, Err(InvalidClose::Code(code)));
    }
    for code in [0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 5000, u16::MAX] {
        let answer = CloseReason::PeerClosed(Some(code)).code();
        assert_eq!(answer, Some(CloseCode::PROTOCOL_ERROR), "{code}");
    }
}

/// What the docs of the enum say that is sent, and with which codes connections are closed.
#[test]
fn the_table_in_the_docs_has_the_codes_that_are_sent_and_no_others() {
    let rows = include_str!("../close.rs").lines().map_while(|it| {
        it.strip_prefix("/// | ").or(Some("").filter(|_| !it.starts_with("pub enum")))
    });
    let rows = rows.filter(|it| it.starts_with(|first: char| first.is_ascii_digit()));
    let not_sent = ["1005", "1012", "4000"];
    let mut told: Vec<u16> = rows
        .filter(|it| !not_sent.iter().any(|code| it.starts_with(code)))
        .flat_map(|it| it.split(" | ").next().unwrap_or_default().split([',', '/']))
        .map(|it| it.trim().parse().unwrap())
        .collect();
    let codes = FIXED_CLOSE_REASONS.iter().filter_map(|it| it.code().map(u16::from));
    let mut sent: Vec<u16> = codes.collect();
    for codes in [&mut told, &mut sent] {
        codes.sort_unstable();
        codes.dedup();
    }
    assert_eq!(told, sent);
    assert!(!sent.contains(&CloseCode::SERVICE_RESTART.into()));
}

#[test]
fn a_reason_fits_a_control_frame() {
    const LONG: &str = match std::str::from_utf8(&[b'x'; 124]) {
        Ok(text) => text,
        Err(_) => "",
    };
    let made = CloseReason::application(4000, LONG, Retry::Stop);
    assert_eq!(made, Err(InvalidClose::ReasonTooLong(124)));
    assert!(CloseReason::application(4000, &LONG[1..], Retry::Stop).is_ok());
}
