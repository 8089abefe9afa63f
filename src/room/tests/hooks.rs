//! Each membership is told of once when it begins and once when it is over, in this order.

use std::sync::{Arc, Mutex};

use crate::{
    close::Close,
    room::{OpenRooms, RoomKey, Rooms, RoomsLayer},
};

use super::{Line, Peer, User, key, now};

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// A layer whose hooks tell.
    fn layer(&self, rooms: &Rooms<Line>) -> RoomsLayer<User, OpenRooms, Line> {
        let tell = |what: &'static str| {
            let told = self.clone();
            move |room: &RoomKey, user: &crate::Authenticated<User>, _: &crate::Connection| {
                told.0.lock().unwrap().push(format!("{what} {} {room}", user.id));
            }
        };
        RoomsLayer::new(rooms.clone(), OpenRooms).on_joined(tell("joined")).on_left(tell("left"))
    }
}

// covers: RM-12
// holds: I8
#[tokio::test(start_paused = true)]
async fn however_a_membership_ends_it_is_told_of_once() {
    let (rooms, told) = (Rooms::new(), Told::default());
    let mut peer = Peer::with_layer(&told.layer(&rooms), "acme/alice");
    // Once more than there is a record of.
    for n in 0..300 {
        assert_eq!(peer.join("r1"), Ok(vec![]));
        assert_eq!(peer.join("r1"), Ok(vec!["joined r1".to_owned()]), "it is in it");
        assert_eq!(told.take(), ["joined alice acme/r1"], "{n}");
        if n % 2 == 0 {
            peer.leave("r1").unwrap();
            peer.leave("r1").unwrap();
        } else {
            assert_eq!(now(rooms.at(&key("acme", "r1")).remove("alice")), 1);
        }
        assert_eq!(told.take(), ["left alice acme/r1"], "{n}");
    }
    for name in ["r1", "r2", "r3"] {
        peer.join(name).unwrap();
    }
    now(rooms.at(&key("acme", "r3")).remove("alice"));
    assert_eq!(told.take().len(), 4);
    drop(peer);
    let mut left = told.take();
    left.sort();
    assert_eq!(left, ["left alice acme/r1", "left alice acme/r2"]);
}

#[test]
fn a_join_that_is_refused_is_not_told_of() {
    let (rooms, told) = (Rooms::new(), Told::default());
    let layer = told.layer(&rooms).max_rooms_per_connection(super::count(1));
    let mut peer = Peer::with_layer(&layer, "alice");
    peer.join("r1").unwrap();
    assert_eq!(peer.join("r2"), Ok(vec!["too_many_rooms r2".to_owned()]));
    assert_eq!(told.take(), ["joined alice r1"]);
}

// covers: XX-04, RM-12
// holds: I8
#[test]
fn a_hook_that_panics_ends_the_connection_and_keeps_nobody_from_being_told() {
    for panics in ["joined", "left"] {
        let (rooms, told) = (Rooms::new(), Told::default());
        let mut layer = RoomsLayer::new(rooms.clone(), OpenRooms);
        if panics == "joined" {
            layer = layer.on_joined(|_, _, _| panic!("the hook's own"));
        } else {
            layer = layer.on_left(|_, _, _| panic!("the hook's own"));
        }
        let tell = |what: &'static str| {
            let told = told.clone();
            move |room: &RoomKey, _: &_, _: &_| {
                told.0.lock().unwrap().push(format!("{what} {room}"));
            }
        };
        let layer = layer.on_joined(tell("joined")).on_left(tell("left"));
        let mut peer = Peer::with_layer(&layer, "alice");
        for name in ["r1", "r2", "r3"] {
            peer.join(name).unwrap();
        }
        peer.leave("r1").unwrap();
        let closed = peer.connection.take_signals().and_then(|it| it.close);
        assert_eq!(closed, Some(Close::HANDLER_FAILED), "{panics}");
        drop(peer);
        let told = told.take();
        assert_eq!(told.iter().filter(|it| it.starts_with("joined")).count(), 3, "{told:?}");
        assert_eq!(told.iter().filter(|it| it.starts_with("left")).count(), 3, "{told:?}");
        assert!(rooms.is_empty());
    }
}

/// A hook may use the rooms: nothing of theirs is locked.
#[test]
fn a_hook_may_look_at_the_room_and_throw_the_peer_out_again() {
    let rooms = Rooms::<Line>::new();
    let (seen, inner) = (Told::default(), rooms.clone());
    let told = seen.clone();
    let layer = RoomsLayer::new(rooms.clone(), OpenRooms)
        .on_joined(move |room, user: &crate::Authenticated<User>, _| {
            let at = inner.at(room);
            let there = now(at.members()).len();
            let removed = now(at.remove(&user.id));
            told.0.lock().unwrap().push(format!("{there} there, {removed} removed"));
        })
        .on_left({
            let (told, inner) = (seen.clone(), rooms.clone());
            move |room, _, _| {
                let there = now(inner.at(room).members()).len();
                told.0.lock().unwrap().push(format!("{there} there"));
            }
        });
    let mut peer = Peer::with_layer(&layer, "alice");
    peer.join("r1").unwrap();
    assert_eq!(peer.heard(), ["joined r1", "removed r1"]);
    assert_eq!(seen.take(), ["1 there, 1 removed", "0 there"]);
    assert!(rooms.is_empty());
}
