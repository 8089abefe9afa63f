//! What must hold between real threads. No test here depends on who wins.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use futures_util::FutureExt;

use crate::room::{OpenRooms, RoomAdmin, Rooms, RoomsConfig};

use super::{Events, Line, Peer, drain, key, now};

/// As many as the attack catalogue asks for.
const ROUNDS: usize = 10_000;

const CROWD: usize = 50;

/// What a thread says in a round: some of it before the removal, some during it, some after.
const ATTEMPTS: usize = 8;

// covers: RM-13
// holds: I2
#[test]
fn after_a_removal_nothing_goes_from_or_to_the_user() {
    let rooms: Rooms<Line> = quiet();
    let (rooms, lobby) = (&rooms, &rooms.at(&key("", "r1")));
    let mut observer = Peer::new(rooms, OpenRooms, "observer");
    observer.join("r1").unwrap();
    // Members that take nothing: they keep the room's lock busy, so that the others meet at it.
    let mut crowd: Vec<_> = (0..CROWD).map(|_| Peer::new(rooms, OpenRooms, "crowd")).collect();
    for peer in &mut crowd {
        peer.join("r1").unwrap();
        peer.connection.outbound().close();
    }
    let mut victim = Peer::new(rooms, OpenRooms, "victim");
    let connection = victim.connection.clone();
    let (joined, stopped, checked) = (&Barrier::new(3), &Barrier::new(3), &Barrier::new(3));
    // Looked at when all threads are done: one that panicked would leave the others waiting.
    let mut wrong = Vec::new();

    thread::scope(|scope| {
        // Speaks to the room while it is removed, and once when it surely was.
        let refused = scope.spawn(move || {
            let mut refused = 0;
            for _ in 0..ROUNDS {
                victim.join("r1").unwrap();
                joined.wait();
                let mut said = (0..ATTEMPTS).map(|_| victim.tell("r1", "from the victim"));
                let _ = said.find(|it| *it != Ok(Vec::new()));
                stopped.wait();
                let removed = Ok(vec!["removed r1".to_owned()]);
                refused += usize::from(victim.tell("r1", "from the victim") == removed);
                checked.wait();
                victim.events.take();
            }
            refused
        });
        // Speaks to the room, and so to the victim, meanwhile.
        scope.spawn(move || {
            let line = Line("from the speaker".into());
            for _ in 0..ROUNDS {
                joined.wait();
                (0..ATTEMPTS).for_each(|_| publish(lobby, &line));
                stopped.wait();
                checked.wait();
            }
        });
        for round in 0..ROUNDS {
            joined.wait();
            let count = now(lobby.remove("victim"));
            // The removal has returned: what was said until now may be anything, and is offered yet.
            while !rooms.are_walked() {
                thread::yield_now();
            }
            drain(&connection);
            observer.heard();
            publish(lobby, &Line("from the speaker".into()));
            stopped.wait();
            while !rooms.are_walked() {
                thread::yield_now();
            }
            // What came later is neither from the victim nor to it.
            let to_victim = drain(&connection);
            checked.wait();
            let mut heard = observer.heard();
            let spoken = heard.len();
            heard.retain(|it| it != "from the speaker");
            if (count, heard.len(), to_victim.len()) != (1, 0, 0) || spoken == 0 {
                wrong.push((round, count, heard, to_victim, spoken));
            }
            observer.events.take();
        }
        assert_eq!(refused.join().unwrap(), ROUNDS);
    });
    assert!(wrong.is_empty(), "{wrong:?}");
    drop((observer, crowd));
    assert!(rooms.is_empty());
}

// covers: RM-10, RM-13
#[test]
fn a_room_that_empties_while_others_join_is_never_two_rooms() {
    let rooms: Rooms<Line> = quiet();
    thread::scope(|scope| {
        for n in 0..4 {
            let rooms = &rooms;
            scope.spawn(move || {
                let lobby = rooms.at(&key("", "r1"));
                let mut peer = Peer::new(rooms, OpenRooms, "peer");
                for round in 0..ROUNDS / 4 {
                    peer.join("r1").unwrap();
                    // By the directory, not by the membership: both must mean the same room.
                    let line = Line(format!("{n} {round}"));
                    publish(&lobby, &line);
                    // It may be another thread that goes round.
                    let late = Instant::now() + Duration::from_secs(60);
                    while !peer.heard().contains(&line.0) {
                        assert!(Instant::now() < late, "{n} {round}");
                        thread::yield_now();
                    }
                    peer.leave("r1").unwrap();
                    peer.heard();
                    // Whole or, after the first two hundred, not at all.
                    let events = peer.events.take();
                    let whole = events == ["joined peer r1", "left peer r1"];
                    assert!(whole || (events.is_empty() && round >= 200), "{events:?}");
                }
            });
        }
    });
    assert!(rooms.is_empty());
}

// holds: I2
#[test]
fn every_member_hears_a_room_in_one_order() {
    const LINES: usize = 2000;
    let rooms: Rooms<Line> = quiet();
    let mut peers: Vec<_> = (0..4).map(|_| Peer::new(&rooms, OpenRooms, "peer")).collect();
    for peer in &mut peers {
        peer.join("r1").unwrap();
    }
    for peer in &peers {
        peer.heard();
    }
    thread::scope(|scope| {
        for (n, peer) in peers.iter_mut().enumerate() {
            scope.spawn(move || {
                for line in 0..LINES {
                    peer.tell("r1", &format!("{n} {line}")).unwrap();
                }
            });
        }
    });
    let first = peers[0].heard();
    assert_eq!(first.len(), 4 * LINES);
    for peer in &peers[1..] {
        assert_eq!(peer.heard(), first);
    }
}

fn publish(lobby: &RoomAdmin<Line>, line: &Line) {
    let published = lobby.broadcast(line).now_or_never();
    // `None` if it was time to let others run: the message is out by then.
    assert!(matches!(published, None | Some(Ok(_))));
}

fn quiet() -> Rooms<Line> {
    Rooms::with(RoomsConfig::new().audit(Events::default()))
}
