//! Every timer and every phase, with the defaults unless a row says otherwise.
//!
//! Times are milliseconds since the handshake: authentication 5,000, handler 30,000, message 10,000,
//! ping 30,000, pong 10,000, write 20,000, close 5,000; no idle timeout.

use std::time::Duration;

use super::state_operation::{Operation, Operation::*, Run};
use crate::{
    close::CloseReason,
    driver::{
        config::ConnectionConfig,
        phase::Phase::{self, *},
    },
};

/// A name, what happens, and then the phase, the rule and when the next turn is due.
pub(super) type Row<'a> = (&'a str, &'a [Operation], Phase, Option<&'a str>, Option<u128>);

pub(super) fn check(config: ConnectionConfig, rows: &[Row<'_>]) {
    for (name, operations, phase, rule, next) in rows {
        let run = Run::new(config.clone()).apply_all(operations);
        assert_eq!((run.state.phase(), run.rule(), run.next()), (*phase, *rule, *next), "{name}");
    }
}

pub(super) const IN: Operation = Authenticated(None);
pub(super) const SENT: Operation = Output { pending: false, taken: 1 };
pub(super) const STUCK: Operation = Output { pending: true, taken: 0 };
pub(super) const MOVES: Operation = Output { pending: true, taken: 1 };

// covers: AU-03, AU-04, AU-10
#[test]
fn authentication_has_one_absolute_deadline_and_a_session_an_end() {
    let rows: &[Row<'_>] = &[
        ("at first", &[], Open, None, Some(5000)),
        ("just before", &[Wait(4999)], Open, None, Some(5000)),
        ("exactly then", &[Wait(5000)], Flushing, Some("auth.timeout"), Some(10_000)),
        ("long after", &[Late(60_000)], Flushing, Some("auth.timeout"), Some(65_000)),
        ("in time", &[Wait(4999), IN, Wait(1)], Open, None, Some(30_000)),
        // The deadline comes first in a turn.
        ("in the same instant", &[Wait(5000), IN], Flushing, Some("auth.timeout"), Some(10_000)),
        (
            "messages do not move it",
            &[Wait(4000), Message, Message, Wait(1000)],
            Flushing,
            Some("auth.timeout"),
            Some(10_000),
        ),
        (
            "nor do fragments",
            &[Wait(4000), Partial(Some(1)), Wait(500), Partial(None), Wait(500)],
            Flushing,
            Some("auth.timeout"),
            Some(10_000),
        ),
        (
            "nor a verifier",
            &[CallPending, Reads(false), Wait(5000)],
            Flushing,
            Some("auth.timeout"),
            Some(10_000),
        ),
        (
            "nor pongs",
            &[Wait(4000), StrayPong, Wait(1000)],
            Flushing,
            Some("auth.timeout"),
            Some(10_000),
        ),
        ("a session", &[Authenticated(Some(2000))], Open, None, Some(2000)),
        (
            "its end",
            &[Authenticated(Some(2000)), Wait(2000)],
            Flushing,
            Some("auth.expired"),
            Some(7000),
        ),
        ("ended before", &[Wait(3000), Authenticated(Some(-2000))], Open, None, Some(1000)),
        (
            "ended before, next turn",
            &[Wait(3000), Authenticated(Some(-2000)), Wait(0)],
            Flushing,
            Some("auth.expired"),
            Some(8000),
        ),
        (
            "a longer one",
            &[Authenticated(Some(2000)), Authenticated(Some(9000)), Wait(2000)],
            Open,
            None,
            Some(9000),
        ),
        ("one without an end", &[Authenticated(Some(2000)), IN], Open, None, Some(30_000)),
        (
            "after the end began",
            &[Close(CloseReason::Normal), Authenticated(Some(1))],
            Finishing,
            Some("normal"),
            Some(5000),
        ),
    ];
    check(ConnectionConfig::new(), rows);
}

// covers: FR-18
#[test]
fn a_handler_and_a_message_have_their_time() {
    let rows: &[Row<'_>] = &[
        ("call", &[IN, Wait(1000), CallPending], Open, None, Some(30_000)),
        (
            "call that does not end",
            &[IN, Wait(1000), CallPending, Wait(29_000), Ping, SENT, Wait(1000)],
            Flushing,
            Some("handler.timeout"),
            Some(36_000),
        ),
        (
            "asked often",
            &[IN, CallPending, Wait(20_000), CallPending, Wait(10_000)],
            Flushing,
            Some("handler.timeout"),
            Some(35_000),
        ),
        (
            "call that ends",
            &[IN, CallPending, Wait(29_999), CallFinished, Wait(1)],
            Open,
            None,
            Some(60_000),
        ),
        (
            "the next call",
            &[IN, CallPending, Wait(20_000), CallFinished, CallPending, Wait(10_000)],
            Open,
            None,
            Some(50_000),
        ),
        ("message", &[IN, Partial(Some(1))], Open, None, Some(10_000)),
        (
            "slow",
            &[IN, Partial(Some(1)), Wait(10_000)],
            Closing,
            Some("message.time"),
            Some(15_000),
        ),
        (
            "drips",
            &[IN, Partial(Some(1)), Wait(9000), Partial(Some(1)), Wait(1000)],
            Closing,
            Some("message.time"),
            Some(15_000),
        ),
        (
            "complete",
            &[IN, Partial(Some(1)), Wait(9999), Partial(None), Wait(1)],
            Open,
            None,
            Some(30_000),
        ),
        (
            "another",
            &[IN, Partial(Some(1)), Wait(9000), Partial(Some(2)), Wait(9999)],
            Open,
            None,
            Some(19_000),
        ),
        (
            "stands still",
            &[IN, Partial(Some(1)), Wait(1000), Reads(false), Wait(9000)],
            Open,
            None,
            Some(30_000),
        ),
        (
            "goes on",
            &[IN, Partial(Some(1)), Wait(1000), Reads(false), Wait(20_000), Reads(true)],
            Open,
            None,
            Some(30_000),
        ),
        (
            "passes later",
            &[IN, Partial(Some(1)), Wait(1000), Reads(false), Wait(3000), Reads(true), Wait(9000)],
            Closing,
            Some("message.time"),
            Some(18_000),
        ),
        // A byte of a ping, which keeps the peer's buffers as a byte of a message does.
        ("control frame", &[IN, PartialControl(0)], Open, None, Some(10_000)),
        (
            "a slow one",
            &[IN, PartialControl(0), Wait(9000), PartialControl(0), Wait(1000)],
            Closing,
            Some("message.time"),
            Some(15_000),
        ),
        (
            "one after the other",
            &[IN, PartialControl(0), Wait(9000), PartialControl(1), Wait(9999)],
            Open,
            None,
            Some(19_000),
        ),
        (
            "a message, then a control frame",
            &[IN, Partial(Some(1)), Wait(9000), PartialControl(1), Wait(10_000)],
            Closing,
            Some("message.time"),
            Some(24_000),
        ),
        (
            "a control frame, whole",
            &[IN, PartialControl(0), Wait(9999), Partial(None), Wait(1)],
            Open,
            None,
            Some(30_000),
        ),
        // A ping that goes out meanwhile has no part in it.
        (
            "keeps what it waited before a ping",
            &[
                IN,
                Partial(Some(1)),
                Reads(false),
                Wait(30_000),
                Ping,
                SENT,
                Wait(1000),
                Reads(true),
            ],
            Open,
            None,
            Some(41_000),
        ),
    ];
    check(ConnectionConfig::new(), rows);
}

// covers: DL-05
#[test]
fn the_socket_takes_something_or_the_peer_is_too_slow() {
    let rows: &[Row<'_>] = &[
        ("full", &[IN, Wait(100), STUCK], Open, None, Some(10_100)),
        (
            "still full",
            &[IN, STUCK, Wait(5000), STUCK, Wait(5000)],
            Closing,
            Some("write.timeout"),
            Some(15_000),
        ),
        ("a byte", &[IN, STUCK, Wait(9999), MOVES, Wait(9999)], Open, None, Some(19_999)),
        ("all of it", &[IN, STUCK, Wait(9999), SENT, Wait(1)], Open, None, Some(30_000)),
        (
            "while nothing is read",
            &[IN, Reads(false), STUCK, Wait(10_000)],
            Closing,
            Some("write.timeout"),
            Some(15_000),
        ),
    ];
    let config = ConnectionConfig::new().write_timeout(Duration::from_secs(10));
    check(config, rows);
}

#[test]
fn a_peer_without_a_message_is_idle_where_that_is_limited() {
    let rows: &[Row<'_>] = &[
        ("silent", &[IN, Wait(2000)], Finishing, Some("idle"), Some(7000)),
        ("a message", &[IN, Wait(1999), Message, Wait(1999)], Open, None, Some(3999)),
        (
            "a part of one",
            &[IN, Wait(1999), Partial(Some(1)), Wait(1)],
            Finishing,
            Some("idle"),
            Some(7000),
        ),
        ("a pong", &[IN, Wait(1999), StrayPong, Wait(1)], Finishing, Some("idle"), Some(7000)),
    ];
    check(ConnectionConfig::new().idle_timeout(Duration::from_secs(2)), rows);
}
