//! The slots of a lane while a walk goes round.

use std::sync::Arc;

use crate::{
    outbound::OutboundLimits,
    room::{
        lane::{Lane, SlotIndex},
        members::Indexed,
    },
};

use super::limits;

#[derive(Default)]
struct Place(SlotIndex);

impl Indexed for Place {
    fn index(&self) -> &SlotIndex {
        &self.0
    }

    fn lose(&self) -> bool {
        false
    }

    fn limits(&self) -> OutboundLimits {
        limits()
    }

    fn is_crowded(&self) -> bool {
        false
    }

    fn touch(&self) {}
}

// covers: RM-10
#[test]
fn a_lane_that_is_always_walked_does_not_grow_with_those_who_come_and_go() {
    let mut lane = Lane::<Place, ()>::new(0);
    let stays = lane.enter(Arc::default(), ());
    lane.walking = true;
    for _ in 0..10_000 {
        let at = lane.enter(Arc::default(), ());
        assert!(at != stays && !lane.is_full());
        assert!(lane.take(at, |_, _| panic!("nobody moves during a walk")).is_some());
    }
    assert!(lane.len() <= 2, "{}", lane.len());
    lane.stands_still(|place, at| place.index().set(0, at));
    assert_eq!(lane.len(), 1);
}
