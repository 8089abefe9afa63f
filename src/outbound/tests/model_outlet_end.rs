//! The end of a connection, in all orders in which it can come between its walkers and its driver.

use super::model_outlet::{ALL, FRAME, Model, Plan};
use crate::outbound::explore::explore;

fn look(plan: Plan) {
    let states = explore(ALL, || Model::new(plan));
    assert!(states > 500);
}

// covers: DL-20
#[test]
fn closed_from_outside_it_begins_nothing_more_and_holds_nothing() {
    let reads: &[usize] = &[1, 100];
    look(Plan { said: [2, 1], pushes: 1, room: 6, reads, closes: true, ..Plan::ORDINARY });
}

// covers: DL-01, DL-20
#[test]
fn over_its_bound_it_is_closed_once_and_holds_nothing() {
    let reads: &[usize] = &[3, 100];
    look(Plan { said: [2, 2], room: 2, reads, bound: 2 * FRAME, ..Plan::ORDINARY });
}

// covers: DL-01, DL-02
#[test]
fn a_peer_that_reads_nothing_is_held_its_bound_and_no_more() {
    look(Plan { said: [3, 2], room: 6, bound: 2 * FRAME, ..Plan::ORDINARY });
}

// covers: DL-20
#[test]
fn a_peer_that_reads_nothing_is_closed_without_a_word() {
    look(Plan { said: [2, 1], pushes: 1, room: 6, closes: true, ..Plan::ORDINARY });
}
