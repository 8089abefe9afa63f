//! Rooms that go on without a connection, in all orders: each hole has a gap in front of what follows it, and
//! none stands without a hole.

use super::model_outlet::{ALL, FRAME, Model, Plan};
use crate::outbound::explore::explore;

fn look(plan: Plan) {
    let states = explore(ALL, || Model::new(plan));
    assert!(states > 500);
}

// covers: DL-01
// holds: I9
#[test]
fn what_is_left_out_is_told_where_it_is_missing_and_nothing_else_is() {
    let reads: &[usize] = &[3, 100];
    let plan = Plan { said: [4, 0], room: 2, reads, skips: true, ..Plan::ORDINARY };
    look(Plan { bound: 2 * FRAME, ..plan });
}

// covers: DL-01
// holds: I9
#[test]
fn of_two_rooms_each_tells_its_own() {
    let reads: &[usize] = &[FRAME, 100];
    let plan = Plan { said: [2, 2], room: 6, reads, skips: true, ..Plan::ORDINARY };
    look(Plan { bound: 2 * FRAME, ..plan });
}

// covers: DL-01, DL-02
#[test]
fn a_peer_that_reads_nothing_is_held_its_bound_and_is_not_closed_for_it() {
    let plan = Plan { said: [3, 2], room: 6, skips: true, ..Plan::ORDINARY };
    look(Plan { bound: 2 * FRAME, ..plan });
}
