//! A room that goes on without those who are behind, in all orders: nobody falls off its log, nobody is closed,
//! and what is missing is told where it is missing.

use super::model_room::{DEPTH, Hall, Plan};
use crate::outbound::explore::explore;

fn look(plan: Plan) {
    let states = explore(DEPTH, || Hall::new(plan));

    assert!(states > 1_000);
}

/// Frames of which two are as much as a member may be behind, and with its `joined` one is.
const SAYS: &[usize] = &[100; 3];
const BOUND: usize = 2 * (100 + 2) + 46;

/// The same, each a segment of its own.
const SEGMENTS: &[usize] = &[16 * 1024; 3];

// covers: DL-01, DL-23
// holds: I9
#[test]
fn who_is_behind_hears_that_something_is_missing_and_then_the_newest() {
    look(Plan { says: SAYS, skips: Some(BOUND), ..Plan::ORDINARY });
}

// covers: DL-01
#[test]
fn also_who_comes_late_beside_one_who_is_removed() {
    let plan = Plan { says: SAYS, skips: Some(BOUND), ..Plan::ORDINARY };
    look(Plan { members: 1, late: 1, removes: true, ..plan });
}

// covers: DL-23
#[test]
fn what_nobody_hears_any_more_is_not_kept() {
    look(Plan { says: SEGMENTS, skips: Some(2 * 16 * 1024 + 100), ..Plan::ORDINARY });
}

// covers: DL-01, DL-13
#[test]
fn nor_if_a_walk_dies() {
    look(Plan { says: SAYS, skips: Some(BOUND), dies: true, ..Plan::ORDINARY });
}
