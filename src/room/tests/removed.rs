//! Who is removed is told so: behind everything that the room said to it, and before anything that comes later.

use futures_util::FutureExt;

use crate::{
    outbound::OutboundLimits,
    room::{JoinDenied, JoinRequest, OpenRooms, RoomKey, RoomName, RoomPolicy, Rooms, RoomsConfig},
};

use super::{Events, Line, Peer, User, connect_within, key, now};

// covers: RM-13
#[test]
fn removed_stands_between_two_memberships() {
    let rooms = Rooms::new();
    let mut peers = ["alice", "alice", "bob"].map(|user| Peer::new(&rooms, OpenRooms, user));
    for peer in &mut peers {
        peer.join("r1").unwrap();
        peer.join("r2").unwrap();
    }
    let r1 = rooms.at(&key("", "r1"));
    let say = |line: &str| r1.broadcast(&Line(line.into())).now_or_never().unwrap().unwrap();
    say("before");
    // Nobody has read anything by now.
    assert_eq!(now(r1.remove("alice")), 2);
    say("without her");
    let [alice, again, bob] = &mut peers;
    alice.join("r1").unwrap();
    say("with her");
    assert_eq!(alice.heard(), ["joined r1", "joined r2", "removed r1", "joined r1", "with her"]);
    assert_eq!(again.heard(), ["joined r1", "joined r2", "removed r1"]);
    assert_eq!(bob.heard(), ["joined r1", "joined r2", "before", "without her", "with her"]);
    // Once: there is nobody to remove any more.
    assert_eq!(now(r1.remove("bob")), 1);
    assert_eq!(now(r1.remove("bob")), 0);
    assert_eq!(bob.heard(), ["removed r1"]);
    assert_eq!(alice.tell("r2", "elsewhere"), Ok(vec![]));
}

/// Rooms of all names are one.
struct OneRoom;

impl RoomPolicy<User> for OneRoom {
    type Role = ();

    fn key(&self, _: &User, _: &RoomName) -> RoomKey {
        key("", "one")
    }

    async fn join(&self, request: JoinRequest<'_, User>) -> Result<(), JoinDenied> {
        assert_eq!(request.key(), &key("", "one"));
        Ok(())
    }
}

#[test]
fn each_is_told_by_the_name_that_it_calls_the_room() {
    let rooms = Rooms::new();
    let mut peers = [0, 1, 2].map(|_| Peer::new(&rooms, OneRoom, "alice"));
    for (peer, name) in peers.iter_mut().zip(["mine", "one", "mine"]) {
        peer.join(name).unwrap();
        peer.heard();
    }
    assert_eq!(now(rooms.at(&key("", "one")).remove("alice")), 3);
    let told: Vec<_> = peers.iter().flat_map(Peer::heard).collect();
    assert_eq!(told, ["removed mine", "removed one", "removed mine"]);
}

// covers: DL-01
#[test]
fn who_has_no_room_for_it_is_removed_all_the_same_and_closed() {
    let rooms = Rooms::<Line>::with(RoomsConfig::new());
    let mut peer = Peer::new(&rooms, OpenRooms, "alice");
    peer.connection = connect_within(OutboundLimits::of(200, 2), Events::default());
    peer.join("r1").unwrap();
    peer.connection.push(crate::Message::text("x")).unwrap();
    assert_eq!(now(rooms.at(&key("", "r1")).remove("alice")), 1);
    assert!(peer.connection.push(crate::Message::text("x")).is_err(), "its queue is given up");
    assert!(rooms.is_empty());
}
