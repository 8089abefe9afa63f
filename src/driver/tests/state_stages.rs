//! The heartbeat and the stages of the end, in the form of `state`: times are milliseconds since the
//! handshake.

use super::{
    state::{IN, MOVES, Row, SENT, STUCK, check},
    state_operation::Operation::{self, *},
};
use crate::{
    close::{Close, CloseReason},
    driver::{config::ConnectionConfig, phase::Phase::*},
};

// covers: DL-15, DL-16
#[test]
fn a_ping_is_answered_or_the_peer_is_dead() {
    const PINGED: [Operation; 4] = [IN, Wait(30_000), Ping, SENT];
    fn then(more: &[Operation]) -> Vec<Operation> {
        [&PINGED, more].concat()
    }
    let rows: &[Row<'_>] = &[
        ("flushed", &then(&[]), Open, None, Some(40_000)),
        ("just before", &then(&[Wait(9999)]), Open, None, Some(40_000)),
        ("no pong", &then(&[Wait(10_000)]), Closing, Some("heartbeat"), Some(45_000)),
        ("the pong", &then(&[Wait(9999), Pong(0), Wait(1)]), Open, None, Some(60_000)),
        (
            "the pong, too late",
            &then(&[Wait(10_000), Pong(0)]),
            Closing,
            Some("heartbeat"),
            Some(45_000),
        ),
        (
            "a stray pong",
            &then(&[StrayPong, Wait(10_000)]),
            Closing,
            Some("heartbeat"),
            Some(45_000),
        ),
        ("data", &then(&[Wait(9999), Message, Wait(1)]), Open, None, Some(60_000)),
        (
            "a part of a message",
            &then(&[Partial(Some(1)), Wait(10_000)]),
            Closing,
            Some("message.time"),
            Some(45_000),
        ),
        (
            "a part of a control frame puts nothing off",
            &then(&[Wait(5000), PartialControl(7), Wait(5000)]),
            Closing,
            Some("heartbeat"),
            Some(45_000),
        ),
        (
            "nor do many, each whole in its time",
            &then(&[PartialControl(1), Wait(9000), PartialControl(2), Wait(1000)]),
            Closing,
            Some("heartbeat"),
            Some(45_000),
        ),
        (
            "data is life for one ping",
            &then(&[Message, Wait(30_000), Ping, SENT, Wait(10_000)]),
            Closing,
            Some("heartbeat"),
            Some(75_000),
        ),
        (
            "the pong before",
            &then(&[Pong(0), Wait(30_000), Ping, SENT, Pong(1), Wait(10_000)]),
            Closing,
            Some("heartbeat"),
            Some(75_000),
        ),
        (
            "the pong before, after data",
            &then(&[Message, Wait(30_000), Ping, SENT, Pong(1), Wait(10_000)]),
            Closing,
            Some("heartbeat"),
            Some(75_000),
        ),
        (
            "stands still",
            &then(&[Wait(1000), Reads(false), Wait(20_000)]),
            Open,
            None,
            Some(60_000),
        ),
        (
            "goes on",
            &then(&[Wait(1000), Reads(false), Wait(20_000), Reads(true)]),
            Open,
            None,
            Some(60_000),
        ),
        (
            "passes later",
            &then(&[Wait(1000), Reads(false), Wait(20_000), Reads(true), Wait(9000)]),
            Closing,
            Some("heartbeat"),
            Some(65_000),
        ),
        (
            "stopped just in time",
            &then(&[Wait(9999), Reads(false), Wait(5000), Reads(true), Pong(0)]),
            Open,
            None,
            Some(60_000),
        ),
    ];
    check(ConnectionConfig::new(), rows);
    let rows: &[Row<'_>] = &[
        (
            "a full socket that takes more",
            &then(&[Wait(5000), STUCK, Wait(4999), MOVES, Wait(9999)]),
            Open,
            None,
            Some(49_999),
        ),
        (
            "and then no more",
            &then(&[Wait(5000), STUCK, Wait(4999), MOVES, Wait(10_000)]),
            Closing,
            Some("heartbeat"),
            Some(54_999),
        ),
        (
            "a full socket that takes all",
            &then(&[Wait(5000), STUCK, Wait(4999), SENT, Wait(9999)]),
            Open,
            None,
            Some(49_999),
        ),
        // A kernel takes it for a dead peer, too.
        (
            "a socket that takes what there is",
            &then(&[Wait(5000), SENT, Wait(4999), MOVES, Wait(1)]),
            Closing,
            Some("heartbeat"),
            Some(45_000),
        ),
        (
            "a full socket that takes nothing",
            &then(&[Wait(5000), STUCK, Wait(4999), STUCK, Wait(1)]),
            Closing,
            Some("heartbeat"),
            Some(45_000),
        ),
        (
            "a full socket that takes more, after the pong",
            &then(&[Pong(0), STUCK, Wait(5000), MOVES, Wait(5000), SENT]),
            Open,
            None,
            Some(60_000),
        ),
        (
            "behind a backlog",
            &[IN, Wait(30_000), Ping, MOVES, Wait(9000), MOVES, Wait(9000), SENT],
            Open,
            None,
            Some(58_000),
        ),
        // The backlog never ends, but the ping was on its way.
        (
            "answered within a backlog",
            &[
                IN,
                Wait(30_000),
                Ping,
                MOVES,
                Wait(9000),
                MOVES,
                Pong(0),
                Wait(9000),
                SENT,
                Wait(12_000),
                Ping,
                SENT,
            ],
            Open,
            None,
            Some(70_000),
        ),
        (
            "flushed while nothing is read",
            &[IN, Reads(false), Wait(30_000), Ping, SENT, Wait(15_000), Reads(true), Wait(9999)],
            Open,
            None,
            Some(55_000),
        ),
        (
            "flushed while nothing is read, no pong",
            &[IN, Reads(false), Wait(30_000), Ping, SENT, Wait(15_000), Reads(true), Wait(10_000)],
            Closing,
            Some("heartbeat"),
            Some(60_000),
        ),
    ];
    check(ConnectionConfig::new(), rows);
}

// covers: DL-04, DL-20
#[test]
fn the_end_has_stages_and_each_a_limit() {
    use CloseReason::{Forbidden, GoingAway, Lost, Normal, ProtocolError, SlowConsumer};
    let rows: &[Row<'_>] = &[
        ("graceful", &[Wait(1000), Close(Normal)], Finishing, Some("normal"), Some(6000)),
        (
            "graceful, finished",
            &[Close(Normal), Wait(1000), Finished],
            Closing,
            Some("normal"),
            Some(6000),
        ),
        (
            "graceful, too slow",
            &[Close(GoingAway), Wait(5000)],
            Closing,
            Some("going_away"),
            Some(10_000),
        ),
        (
            "graceful, too slow twice",
            &[Close(GoingAway), Wait(10_000)],
            Done,
            Some("going_away"),
            None,
        ),
        (
            "cut short by a fault",
            &[Close(Normal), Wait(1000), Close(SlowConsumer)],
            Closing,
            Some("normal"),
            Some(6000),
        ),
        (
            "cut short by a loss",
            &[Close(Normal), Wait(1000), Close(Lost)],
            Done,
            Some("normal"),
            None,
        ),
        ("forced", &[Wait(1000), Close(Forbidden)], Flushing, Some("forbidden"), Some(6000)),
        (
            "forced, nothing left",
            &[Close(Forbidden), Wait(1000), Finished],
            Closing,
            Some("forbidden"),
            Some(6000),
        ),
        (
            "forced, then a fault",
            &[Close(Forbidden), Wait(1000), Close(SlowConsumer)],
            Closing,
            Some("forbidden"),
            Some(6000),
        ),
        (
            "forced, then in good order",
            &[Close(Forbidden), Wait(1000), Close(Normal)],
            Flushing,
            Some("forbidden"),
            Some(5000),
        ),
        (
            "in good order, then forced: the time runs on",
            &[Close(Normal), Wait(1000), Close(Forbidden)],
            Flushing,
            Some("normal"),
            Some(5000),
        ),
        ("forced, then lost", &[Close(Forbidden), Close(Lost)], Done, Some("forbidden"), None),
        (
            "a fault that the application names",
            &[Asked(Close::because(ProtocolError)), Wait(1000)],
            Flushing,
            Some("protocol"),
            Some(5000),
        ),
        (
            "graceful twice",
            &[Close(Normal), Wait(1000), Close(GoingAway)],
            Finishing,
            Some("normal"),
            Some(5000),
        ),
        ("fault", &[Wait(1000), Close(ProtocolError)], Closing, Some("protocol"), Some(6000)),
        (
            "fault, then another",
            &[Close(ProtocolError), Wait(1000), Close(SlowConsumer)],
            Closing,
            Some("protocol"),
            Some(5000),
        ),
        (
            "fault, then grace",
            &[Close(ProtocolError), Wait(1000), Close(Normal)],
            Closing,
            Some("protocol"),
            Some(5000),
        ),
        (
            "flushed",
            &[Close(ProtocolError), Wait(4000), CloseFlushed],
            Lingering,
            Some("protocol"),
            Some(5000),
        ),
        (
            "lingered",
            &[Close(ProtocolError), Wait(4000), CloseFlushed, Wait(1000)],
            Done,
            Some("protocol"),
            None,
        ),
        ("not flushed", &[Close(ProtocolError), Wait(5000)], Done, Some("protocol"), None),
        (
            "not flushed, but the socket takes something",
            &[Close(ProtocolError), Wait(4000), CloseMoves],
            Closing,
            Some("protocol"),
            Some(9000),
        ),
        (
            "flushed at last",
            &[Close(ProtocolError), Wait(4000), CloseMoves, Wait(4000), CloseMoves, CloseFlushed],
            Lingering,
            Some("protocol"),
            Some(13_000),
        ),
        (
            "byte by byte",
            &[
                Close(ProtocolError),
                Wait(4000),
                CloseMoves,
                Wait(4000),
                CloseMoves,
                Wait(4000),
                CloseMoves,
                Wait(4000),
                CloseMoves,
            ],
            Closing,
            Some("protocol"),
            Some(20_000),
        ),
        (
            "a socket that takes something of a queue",
            &[Close(Normal), Wait(4000), CloseMoves],
            Finishing,
            Some("normal"),
            Some(5000),
        ),
        ("lost", &[Close(Lost)], Done, Some("lost"), None),
        ("the socket ended", &[TransportEnd], Done, Some("lost"), None),
        (
            "the socket ended late",
            &[Close(ProtocolError), TransportEnd],
            Done,
            Some("protocol"),
            None,
        ),
        (
            "after all",
            &[TransportEnd, Close(Normal), Finished, CloseFlushed, Wait(60_000)],
            Done,
            Some("lost"),
            None,
        ),
        ("not asked for", &[Finished, CloseFlushed], Open, None, Some(5000)),
        (
            "a call begins",
            &[Close(Normal), CallPending, Wait(1)],
            Finishing,
            Some("normal"),
            Some(5000),
        ),
        (
            "a message begins",
            &[Close(Normal), Partial(Some(1)), Message, STUCK],
            Finishing,
            Some("normal"),
            Some(5000),
        ),
        (
            "a pause",
            &[Close(ProtocolError), Reads(false), Wait(4000), Reads(true)],
            Closing,
            Some("protocol"),
            Some(5000),
        ),
    ];
    check(ConnectionConfig::new(), rows);
}
