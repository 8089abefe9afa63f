//! What rooms have said is charged to the process's budget, once, and is what goes first.

use std::{num::NonZeroUsize, sync::mpsc, thread, time::Duration};

use futures_util::FutureExt;

use crate::{
    audit::Audit,
    connection::Connection,
    outbound::{budget::MemoryBudget, drained},
    room::{OpenRooms, Rooms},
};

use super::{Line, Peer, drain, key, limits};

fn budget(bytes: usize) -> MemoryBudget {
    MemoryBudget::new(NonZeroUsize::new(bytes).unwrap())
}

/// A peer whose connection is charged to `budget`, in the room `r1`.
fn member(rooms: &Rooms<Line>, budget: &MemoryBudget, user: &str) -> Peer {
    let mut peer = Peer::new(rooms, OpenRooms, user);
    let audit = Audit::new(peer.events.clone());
    peer.connection = Connection::new(None, limits(), Some(budget), audit);
    peer.join("r1").unwrap();
    peer
}

/// Tells the room so many bytes, and as many for their place in its log, or a few less.
fn tell(rooms: &Rooms<Line>, bytes: usize) {
    let line = Line("x".repeat(bytes));
    let published = rooms.at(&key("", "r1")).broadcast(&line).now_or_never();
    published.expect("all were offered all").unwrap();
}

fn is_shed(peer: &Peer) -> bool {
    drained::drain(peer.connection.outbound(), usize::MAX).overflowed
}

// covers: DL-01
#[test]
fn a_room_that_is_the_largest_is_shed_by_a_join_to_it() {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        let (rooms, budget) = (Rooms::new(), budget(100_000));
        let behind = member(&rooms, &budget, "behind");
        while budget.used() < 70_000 {
            tell(&rooms, 1000);
        }
        let mut joined = Vec::new();
        while budget.used() > 60_000 {
            joined.push(member(&rooms, &budget, "joins"));
        }
        let shed = is_shed(&behind);
        // Those who have just come stand behind all that was cut.
        let others = joined.iter().filter(|it| is_shed(it)).count();
        done.send((shed, others)).unwrap();
    });
    let found = is_done.recv_timeout(Duration::from_secs(20));
    assert_eq!(found, Ok((true, 0)), "nobody waits for the room that it holds");
}

// covers: DL-01
#[test]
fn a_room_is_shed_as_often_as_it_is_the_largest() {
    let (rooms, budget) = (Rooms::new(), budget(100_000));
    let healthy = member(&rooms, &budget, "healthy");
    for round in 0..10 {
        let behind = member(&rooms, &budget, "behind");
        while !is_shed_soon(&behind) {
            tell(&rooms, 1000);
            assert!(budget.used() < 80_000, "{round}: {}", budget.used());
            drain(&healthy.connection);
        }
    }
    assert!(!is_shed(&healthy));
}

/// Without reading.
fn is_shed_soon(peer: &Peer) -> bool {
    peer.connection.push(crate::Message::text("")).is_err()
}

#[test]
fn what_a_room_said_before_it_had_an_account_is_not_given_back() {
    let (rooms, budget) = (Rooms::new(), budget(100_000));
    let mut before = Peer::new(&rooms, OpenRooms, "before");
    before.join("r1").unwrap();
    tell(&rooms, 1000);
    let later = member(&rooms, &budget, "later");
    tell(&rooms, 1000);
    assert!((1000..1500).contains(&budget.used()), "{}", budget.used());
    drain(&before.connection);
    drain(&later.connection);
    assert_eq!(budget.used(), 0);
}
