//! The time that a pong has for what lies before its ping in the peer's kernel.

use super::{
    state::{IN, Row, SENT, check},
    state_operation::{Operation, Operation::*},
};
use crate::driver::{config::ConnectionConfig, phase::Phase::*};

/// The socket takes so many bytes at once.
const fn took(bytes: u64) -> Operation {
    Output { pending: false, taken: bytes }
}

const ASKED: [Operation; 3] = [Wait(30_000), Ping, SENT];

// covers: DL-15, DL-24
#[test]
fn a_pong_has_more_time_for_what_the_peer_may_not_have_read() {
    let then = |before: &[Operation], after: &[Operation]| [before, &ASKED, after].concat();
    let few = then(&[IN, took(7_900)], &[]);
    let ten_seconds = then(&[IN, took(80_000)], &[]);
    let late = then(&[IN, took(80_000)], &[Wait(20_000)]);
    let more_than_any = then(&[IN, took(u64::MAX), took(1)], &[Wait(29_999)]);
    let dead = then(&[IN, took(u64::MAX)], &[Wait(30_000)]);
    let read = then(&[IN, took(80_000)], &[Pong(0), Wait(30_000), Ping, SENT]);
    let behind = then(&[IN], &[took(80_000), Pong(0), Wait(30_000), Ping, SENT]);
    let rows: &[Row<'_>] = &[
        ("little", &few, Open, None, Some(40_000)),
        ("ten seconds of a slow line", &ten_seconds, Open, None, Some(50_000)),
        ("which are over", &late, Closing, Some("heartbeat"), Some(55_000)),
        ("no more than the write timeout", &more_than_any, Open, None, Some(60_000)),
        ("which is over", &dead, Closing, Some("heartbeat"), Some(65_000)),
        ("what was before an answered ping is read", &read, Open, None, Some(70_000)),
        ("what was behind it may not be", &behind, Open, None, Some(80_000)),
    ];
    check(ConnectionConfig::new(), rows);
}
