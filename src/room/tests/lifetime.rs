use std::{
    future::pending,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tokio::sync::Semaphore;

use crate::{
    audit::{AuditRecord, AuditSink},
    close::Close,
    room::{JoinDenied, JoinRequest, OpenRooms, RoomPolicy, Rooms, RoomsLayer},
};

use super::{Line, Peer, Say, User, connect, key, lines, now, room};

/// Says yes when the test lets it.
#[derive(Clone)]
struct Slow(Arc<Semaphore>);

impl RoomPolicy<User> for Slow {
    type Role = ();

    async fn join(&self, _: JoinRequest<'_, User>) -> Result<(), JoinDenied> {
        match self.0.acquire().await {
            Ok(permit) => {
                permit.forget();
                Ok(())
            }
            Err(_) => pending().await,
        }
    }
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

// covers: RM-12
// holds: I8
#[test]
fn a_connection_that_ends_leaves_all_of_its_rooms_once() {
    let rooms = Rooms::new();
    let mut peer = Peer::new(&rooms, OpenRooms, "alice");
    for name in ["r1", "r2", "r3"] {
        peer.join(name).unwrap();
    }
    now(rooms.at(&key("", "r3")).remove("alice"));
    let events = peer.events.clone();
    drop(peer);
    assert!(rooms.is_empty());
    assert_eq!(
        events.take(),
        [
            "joined alice r1",
            "joined alice r2",
            "joined alice r3",
            "left alice r3",
            "left alice 2: r1 r2"
        ]
    );
}

// covers: RM-12, LG-13
#[test]
fn leaving_a_hundred_rooms_at_the_end_is_one_record_that_names_a_few() {
    let rooms = Rooms::new();
    let mut peer = Peer::new(&rooms, OpenRooms, "acme/alice");
    for n in 0..100 {
        peer.join(&format!("r{n:02}")).unwrap();
    }
    assert_eq!(rooms.memberships(), 100);
    let events = peer.events.clone();
    events.take();
    drop(peer);
    let named: Vec<_> = (0..8).map(|n| format!("acme/r0{n}")).collect();
    assert_eq!(events.take(), [format!("left alice 100: {}", named.join(" "))]);
    assert_eq!((rooms.len(), rooms.memberships()), (0, 0));
}

// covers: LG-12, LG-13
#[tokio::test(start_paused = true)]
async fn a_membership_is_recorded_whole_or_not_at_all() {
    let rooms = Rooms::new();
    let mut peer = Peer::new(&rooms, OpenRooms, "alice");
    // Nobody reads that much; the rooms are left in turn by the peer, by the application and by the end.
    for n in 0..2_000 {
        let name = format!("r{}", n % 50);
        peer.join(&name).unwrap();
        assert_eq!(rooms.memberships(), 1, "counted, whether it is recorded or not");
        match n % 3 {
            0 => drop(peer.leave(&name).unwrap()),
            _ => assert_eq!(now(rooms.at(&key("", &name)).remove("alice")), 1),
        }
        tokio::time::advance(std::time::Duration::from_millis(50)).await;
    }
    tokio::time::advance(std::time::Duration::from_millis(950)).await;
    peer.join("recorded").unwrap();
    peer.join("unrecorded").unwrap();
    let events = peer.events.clone();
    let connection = peer.connection.clone();
    drop(peer);
    let events = events.take();
    let count = |word: &str| events.iter().filter(|it| it.starts_with(word)).count();
    // Two hundred at once, and a hundred in as many seconds.
    assert!((295..=305).contains(&count("joined ")), "{}", count("joined "));
    assert_eq!(events.last().unwrap(), "left alice recorded");
    assert_eq!(count("joined alice unrecorded"), 0);
    assert_eq!(count("joined "), count("left "));
    assert!(connection.take_suppressed() > 0 && rooms.is_empty());
}

// covers: RM-12
#[test]
fn a_connection_that_ends_while_joining_was_never_in_the_room() {
    let rooms = Rooms::new();
    let policy = Slow(Arc::new(Semaphore::new(0)));
    for future_first in [true, false] {
        let mut peer = Peer::new(&rooms, policy.clone(), "alice");
        let mut join = peer.start(Say::Join(room("r1")));
        assert!(poll(&mut join).is_pending());
        assert_eq!(rooms.len(), 1);
        assert!(now(rooms.at(&key("", "r1")).members()).is_empty());
        let events = peer.events.clone();
        if future_first {
            drop(join);
            drop(peer);
        } else {
            drop(peer);
            drop(join);
        }
        assert!(rooms.is_empty());
        assert!(events.take().is_empty());
    }
}

// covers: RM-12
#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_in_the_middle_of_its_broadcast_leaves() {
    let rooms = Rooms::new();
    let mut others: Vec<_> =
        (0..100).map(|n| Peer::new(&rooms, OpenRooms, &format!("u{n}"))).collect();
    for peer in &mut others {
        peer.join("r1").unwrap();
    }
    let mut peer = Peer::new(&rooms, OpenRooms, "alice");
    peer.join("r1").unwrap();
    let mut tell = || peer.start(Say::Tell(room("r1"), "x".repeat(300_000)));
    assert!(poll(&mut tell()).is_ready());
    let mut tell = tell();
    assert!(poll(&mut tell).is_pending(), "not all were offered the first");
    let events = peer.events.clone();
    drop(peer);
    drop(tell);
    assert_eq!(now(rooms.at(&key("", "r1")).members()).len(), 100);
    assert_eq!(events.take(), ["joined alice r1", "published r1 101", "left alice r1"]);
    drop(others);
    assert!(rooms.is_empty());
}

// covers: RM-13
#[test]
fn two_pipelined_joins_of_one_room_make_one_membership_and_one_event() {
    let rooms = Rooms::new();
    let gate = Arc::new(Semaphore::new(0));
    let mut peer = Peer::new(&rooms, Slow(Arc::clone(&gate)), "alice");
    let mut first = peer.start(Say::Join(room("r1")));
    let mut second = peer.start(Say::Join(room("r1")));
    assert!(poll(&mut first).is_pending());
    assert!(poll(&mut second).is_pending());
    gate.add_permits(2);
    let mut answers = Vec::new();
    for join in [&mut second, &mut first] {
        let Poll::Ready(answer) = poll(join) else { panic!("the policy has answered") };
        answers.push(lines(answer).unwrap());
    }
    assert_eq!(answers, [vec![], vec!["joined r1".to_owned()]]);
    assert_eq!(peer.heard(), ["joined r1"]);
    assert_eq!(now(rooms.at(&key("", "r1")).members()).len(), 1);
    assert_eq!(peer.events.take(), ["joined alice r1"]);
    drop((first, second));
    assert_eq!(peer.leave("r1").unwrap(), ["left r1"]);
    assert!(rooms.is_empty());
}

// covers: RM-13
#[test]
fn removing_a_user_refuses_its_joins_under_way_and_nobody_elses() {
    let rooms = Rooms::new();
    let gate = Arc::new(Semaphore::new(0));
    let mut alice = Peer::new(&rooms, Slow(Arc::clone(&gate)), "alice");
    let mut bob = Peer::new(&rooms, Slow(Arc::clone(&gate)), "bob");
    let mut alices = alice.start(Say::Join(room("r1")));
    let mut bobs = bob.start(Say::Join(room("r1")));
    assert!(poll(&mut alices).is_pending());
    assert!(poll(&mut bobs).is_pending());

    assert_eq!(now(rooms.at(&key("", "r1")).remove("alice")), 0, "she was not a member yet");
    gate.add_permits(2);
    let Poll::Ready(answer) = poll(&mut alices) else { panic!("the policy has answered") };
    assert_eq!(lines(answer).unwrap(), ["join_refused r1"]);
    assert!(poll(&mut bobs).is_ready());
    assert!(alice.heard().is_empty());
    assert_eq!(alice.events.take(), ["refused room.removed"]);
    assert_eq!(now(rooms.at(&key("", "r1")).members()).len(), 1);
}

/// Panics at every event.
struct Broken;

impl AuditSink for Broken {
    fn record(&self, _: &AuditRecord) {
        panic!("the disk is full")
    }
}

// covers: RM-12
#[test]
fn an_audit_sink_that_panics_leaves_no_ghost() {
    let rooms: Rooms<Line> = Rooms::new();
    let layer = RoomsLayer::new(rooms.clone(), OpenRooms);
    let mut listener = Peer::with_layer(&layer, "listener");
    listener.join("r1").unwrap();
    let mut peer = Peer::with_layer(&layer, "alice");
    peer.connection = connect(Broken);
    for name in ["r1", "r2"] {
        assert_eq!(peer.join(name).unwrap(), [""; 0]);
    }
    let ended = peer.connection.take_signals().and_then(|it| it.close);
    assert_eq!(ended, Some(Close::HANDLER_FAILED));
    assert_eq!(now(rooms.at(&key("", "r1")).remove("alice")), 1);
    drop(peer);
    assert_eq!(rooms.len(), 1);
    assert_eq!(listener.tell("r1", "still here").unwrap(), [""; 0]);
}
