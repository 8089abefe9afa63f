//! What a seat that leaps still needs of its log.

use super::*;
use crate::outbound::seat::{Gap, Lacks};

struct Place(Cursor);

impl Seat for Place {
    fn cursor(&self) -> &Cursor {
        &self.0
    }

    fn is_gone(&self) -> bool {
        false
    }

    fn when_slow(&self) -> SlowMember {
        SlowMember::Skip
    }

    fn read(&self, _: &mut Vec<u8>, _: usize) -> Option<Lacks> {
        None
    }

    fn gap(&self) -> Option<Gap> {
        None
    }

    fn told(&self, _: u64) {}

    fn released(&self) {}
}

/// A seat that lacks everything up to 100, which is kept for it, and that leaps there: while the driver has it
/// in its hands, or not.
fn leap(is_taken: bool) -> (Lags, Arc<dyn Seat>, Vec<Turn>, Hold) {
    let seat: Arc<dyn Seat> = Arc::new(Place(Cursor::new(0)));
    let (mut lags, mut turns, hold) = (Lags::default(), Vec::new(), Hold::default());
    lags.list(seat.cursor(), || Arc::clone(&seat), 100, |_| Some(hold.clone()));
    if is_taken {
        lags.take(1, &mut turns);
    }
    assert!(lags.leap_largest(100, &mut Dropped::default()));
    assert_eq!((lags.bytes(), seat.cursor().leaps_to()), (0, Some(100)));
    (lags, seat, turns, hold)
}

// covers: DL-23
#[test]
fn who_waits_for_the_driver_keeps_nothing_of_what_it_leaps_over() {
    let (_, seat, _, hold) = leap(false);
    assert!(hold.is_alone());
    assert_eq!(seat.cursor().position(), 0, "the pen may be out");
}

// covers: DL-23
#[test]
fn who_comes_to_stand_behind_where_it_was_to_leap_keeps_what_it_lacks_and_is_told_nothing() {
    let (mut lags, seat, mut turns, hold) = leap(true);
    assert!(!hold.is_alone(), "the driver may read further than that");
    // It has read up to 150, and the socket took 120 of it.
    seat.cursor().set_position(120);
    turns[0].outcome = Outcome::Read { end: 150, behind: None, all: false };
    lags.settle(&mut turns[0]);
    assert_eq!((lags.bytes(), seat.cursor().leaps_to()), (30, None));
    assert!(!hold.is_alone());
    assert!(!lags.nothing_is_listed());
}

// covers: DL-23
#[test]
fn who_leaps_behind_all_that_there_is_keeps_nothing_when_the_driver_has_put_it_back() {
    for outcome in [Outcome::Untouched, Outcome::Read { end: 100, behind: None, all: false }] {
        let (mut lags, seat, mut turns, hold) = leap(true);
        turns[0].outcome = outcome;
        lags.settle(&mut turns[0]);
        assert!(hold.is_alone());
        assert!(!lags.nothing_is_listed(), "it is to be told");
        assert_eq!(seat.cursor().leaps_to(), Some(100));
    }
}

// covers: DL-01
#[test]
fn who_lacks_less_than_what_is_its_own_does_not_leap() {
    let seat: Arc<dyn Seat> = Arc::new(Place(Cursor::new(0)));
    let mut lags = Lags::default();
    assert!(!lags.leap_largest(0, &mut Dropped::default()), "there is nobody");
    lags.list(seat.cursor(), || Arc::clone(&seat), 100, |_| None);
    assert!(!lags.leap_largest(101, &mut Dropped::default()));
    assert!(lags.leap_largest(100, &mut Dropped::default()));
    assert!(!lags.leap_largest(0, &mut Dropped::default()), "it lacks nothing any more");
}
