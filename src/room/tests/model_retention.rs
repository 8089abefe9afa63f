//! What a room keeps, in all orders: as long as somebody needs it who is within its bound, and no longer.

use super::model_room::{DEPTH, Hall, Plan};
use crate::outbound::explore::explore;

fn look(plan: Plan) {
    let states = explore(DEPTH, || Hall::new(plan));

    assert!(states > 1_000);
}

/// Each is a segment of its own.
const SEGMENT: usize = 16 * 1024;

// covers: DL-23
#[test]
fn of_two_who_are_behind_nobody_falls_off_and_at_the_end_nothing_is_kept() {
    look(Plan { says: &[SEGMENT; 3], ..Plan::ORDINARY });
}

// covers: DL-23
#[test]
fn nor_if_one_is_removed_meanwhile() {
    look(Plan { says: &[SEGMENT; 3], removes: true, ..Plan::ORDINARY });
}

// covers: DL-23
#[test]
fn nor_if_a_walk_dies() {
    look(Plan { says: &[SEGMENT; 3], dies: true, ..Plan::ORDINARY });
}
