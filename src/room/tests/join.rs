use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::{
    close::CloseReason,
    room::{
        JoinDenied, JoinRequest, OpenRooms, RoomKey, RoomPolicy, Rooms, RoomsConfig, RoomsLayer,
    },
};

use super::{Line, Peer, Say, User, count, key, now};

/// Refuses, panics or lets in by the room's name, and counts how often it was asked.
#[derive(Clone, Default)]
struct ByName(Arc<AtomicUsize>);

impl RoomPolicy<User> for ByName {
    type Role = ();

    async fn join(&self, request: JoinRequest<'_, User>) -> Result<(), JoinDenied> {
        self.0.fetch_add(1, Ordering::Relaxed);
        match request.key().name().as_str() {
            "forbidden" => Err(JoinDenied::new()),
            "broken" => panic!("the policy's database is away"),
            _ => Ok(()),
        }
    }
}

/// Panics where the room's key is made.
struct BrokenKey;

impl RoomPolicy<User> for BrokenKey {
    type Role = ();

    fn key(&self, _: &User, _: &crate::RoomName) -> RoomKey {
        panic!("no tenant")
    }

    async fn join(&self, _: JoinRequest<'_, User>) -> Result<(), JoinDenied> {
        Ok(())
    }
}

// covers: RM-01
#[test]
fn a_message_to_a_room_that_was_not_joined_reaches_nobody_and_closes() {
    let rooms = Rooms::new();
    let mut outsider = Peer::new(&rooms, OpenRooms, "mallory");
    let mut insider = Peer::new(&rooms, OpenRooms, "alice");
    insider.join("r2").unwrap();
    outsider.join("r1").unwrap();
    insider.heard();
    outsider.events.take();

    assert_eq!(outsider.tell("r2", "let me in"), Err(CloseReason::NotAMember));
    assert_eq!(outsider.tell("nowhere", "hello"), Err(CloseReason::NotAMember));
    assert!(insider.heard().is_empty());
    assert_eq!(outsider.events.take(), ["refused room.denied"]);
}

// covers: RM-02, RM-14
#[test]
fn every_refused_join_gets_one_answer_and_leaves_nothing() {
    let rooms = Rooms::with(RoomsConfig::new().max_members(count(1)));
    let mut first = Peer::new(&rooms, ByName::default(), "alice");
    first.join("full").unwrap();

    for (name, rule) in [
        ("forbidden", "room.join_denied"),
        ("broken", "room.policy_failed"),
        ("full", "room.members"),
    ] {
        let mut peer = Peer::new(&rooms, ByName::default(), "bob");
        assert_eq!(peer.join(name).unwrap(), [format!("join_refused {name}")]);
        assert_eq!(peer.events.take(), [format!("refused {rule}")]);
        assert_eq!(peer.tell(name, "hello"), Err(CloseReason::NotAMember), "{name}");
        assert!(peer.heard().is_empty(), "{name}");
    }
    let mut peer = Peer::new(&rooms, BrokenKey, "bob");
    assert_eq!(peer.join("any").unwrap(), ["join_refused any"]);
    assert_eq!(rooms.len(), 1);
}

// covers: RM-14
#[test]
fn a_full_server_refuses_a_new_room_as_it_refuses_a_forbidden_one() {
    let rooms = Rooms::with(RoomsConfig::new().max_rooms(count(1)));
    let mut peer = Peer::new(&rooms, OpenRooms, "alice");
    peer.join("r1").unwrap();
    assert_eq!(peer.join("r2").unwrap(), ["join_refused r2"]);
    peer.leave("r1").unwrap();
    assert!(peer.join("r2").unwrap().is_empty());
}

// covers: RM-06
#[test]
fn users_of_two_tenants_never_share_a_room() {
    let rooms = Rooms::new();
    let mut ours = Peer::new(&rooms, OpenRooms, "acme/alice");
    let mut theirs = Peer::new(&rooms, OpenRooms, "evil/alice");
    ours.join("lobby").unwrap();
    theirs.join("lobby").unwrap();
    ours.tell("lobby", "secret").unwrap();

    assert_eq!(ours.heard(), ["joined lobby", "secret"]);
    assert_eq!(theirs.heard(), ["joined lobby"]);
    assert_eq!(now(rooms.at(&key("acme", "lobby")).remove("alice")), 1);
    assert!(theirs.tell("lobby", "still here").is_ok());
}

// covers: RM-13
#[test]
fn a_second_join_is_answered_but_makes_no_second_membership() {
    let rooms = Rooms::new();
    let policy = ByName::default();
    let mut peer = Peer::new(&rooms, policy.clone(), "alice");
    assert!(peer.join("r1").unwrap().is_empty());
    assert_eq!(peer.join("r1").unwrap(), ["joined r1"]);
    peer.tell("r1", "once").unwrap();

    assert_eq!(peer.heard(), ["joined r1", "once"]);
    assert_eq!(peer.events.take(), ["joined alice r1", "published r1 1"]);
    assert_eq!(policy.0.load(Ordering::Relaxed), 1);
}

#[test]
fn leaving_is_answered_alike_whether_the_peer_was_in_or_not() {
    let rooms = Rooms::new();
    let mut peer = Peer::new(&rooms, OpenRooms, "alice");
    assert_eq!(peer.leave("r1").unwrap(), ["left r1"]);
    assert!(peer.events.take().is_empty());
    peer.join("r1").unwrap();
    assert_eq!(peer.leave("r1").unwrap(), ["left r1"]);
    assert_eq!(peer.events.take(), ["joined alice r1", "left alice r1"]);
    assert_eq!(peer.tell("r1", "hello"), Err(CloseReason::NotAMember));
}

// covers: RM-10
#[test]
fn a_connection_is_refused_more_rooms_than_it_may_be_in() {
    let rooms = Rooms::new();
    let layer = RoomsLayer::new(rooms.clone(), OpenRooms).max_rooms_per_connection(count(32));
    let mut peer = Peer::with_layer(&layer, "alice");
    for n in 0..32 {
        assert!(peer.join(&format!("r{n}")).unwrap().is_empty());
    }
    assert_eq!(peer.join("r32").unwrap(), ["too_many_rooms r32"]);
    assert_eq!(peer.join("r0").unwrap(), ["joined r0"]);
    assert_eq!(rooms.len(), 32);

    // A room that the user was removed from does not count.
    now(rooms.at(&key("", "r0")).remove("alice"));
    assert!(peer.join("r32").unwrap().is_empty());
}

// covers: RM-10
// holds: I8
#[test]
fn churn_leaves_nothing_behind() {
    let rooms = Rooms::new();
    let mut peer = Peer::new(&rooms, OpenRooms, "alice");
    for n in 0..100_000 {
        let name = format!("r{}", n % 10_000);
        peer.join(&name).unwrap();
        peer.leave(&name).unwrap();
    }
    assert!(rooms.is_empty());
}

// covers: RM-10
#[test]
fn many_users_meet_the_cap_on_rooms() {
    let rooms: Rooms<Line> = Rooms::with(RoomsConfig::new().max_rooms(count(1000)));
    let user = |n| Peer::new(&rooms, OpenRooms, &format!("user-{n}"));
    let mut peers: Vec<_> = (0..100).map(user).collect();
    let mut refused = 0;
    for (n, peer) in peers.iter_mut().enumerate() {
        for m in 0..100 {
            refused += peer.join(&format!("r{n}-{m}")).unwrap().len();
        }
    }
    assert_eq!((rooms.len(), refused), (1000, 9000));
    drop(peers);
    assert!(rooms.is_empty());
}

#[test]
fn a_message_about_no_room_has_a_sender_and_no_room() {
    let rooms = Rooms::new();
    let mut peer = Peer::new(&rooms, OpenRooms, "alice");
    assert_eq!(peer.say(Say::Nothing).unwrap(), ["nothing"]);
}
