//! Rooms that hold values by key.

use std::num::NonZeroUsize;

use futures_util::FutureExt;
use tower::{ServiceBuilder, service_fn, util::BoxService};

use crate::{
    close::CloseReason,
    layers::{Failure, Inbound, Reply},
    room::{
        History, Keyed, KeyedConfigError, Member, OpenRooms, RoomAdmin, Rooms, RoomsConfig,
        RoomsLayer,
        outcome::{PublishError, Published},
    },
};

use super::{Events, Line, Peer, Say, User, connect_within, count, key, limits, now};

fn rooms(keyed: Keyed) -> Rooms<Line> {
    Rooms::with(RoomsConfig::new().keyed(keyed).unwrap())
}

/// A peer whose handler sets the first word that it is told to the whole, and unsets it if there is no other.
fn peer(rooms: &Rooms<Line>, user: &str) -> Peer {
    let handler = service_fn(async |inbound: Inbound<Say, Member<User, Line>>| {
        let (message, member, _) = inbound.into_parts();
        let Say::Tell(_, text) = message else { return Ok(Reply::none()) };
        let room = member.room()?;
        match text.split_once(' ') {
            Some((key, _)) => room.set(key, &Line(text.clone())).await?,
            None => room.unset(&text, &Line(format!("no {text}"))).await?,
        };
        Ok::<_, Failure<Line>>(Reply::none())
    });
    let layer = RoomsLayer::new(rooms.clone(), OpenRooms);
    Peer::with_stack(user, |_| BoxService::new(ServiceBuilder::new().layer(layer).service(handler)))
}

fn set(room: &RoomAdmin<Line>, key: &str, value: &str) -> Result<Published, PublishError> {
    room.set(key, &Line(format!("{key} {value}"))).now_or_never().expect("it never waits")
}

fn unset(room: &RoomAdmin<Line>, key: &str) -> Result<Published, PublishError> {
    room.unset(key, &Line(format!("no {key}"))).now_or_never().expect("few removals")
}

#[test]
fn who_joins_gets_what_there_is_and_then_what_changes() {
    let rooms = rooms(Keyed::new());
    let prices = rooms.at(&key("", "r1"));
    assert_eq!(set(&prices, "a", "1").unwrap().members, 0);
    set(&prices, "b", "1").unwrap();
    set(&prices, "a", "2").unwrap();
    set(&prices, "c", "1").unwrap();
    unset(&prices, "c").unwrap();

    let mut peer = peer(&rooms, "ada");
    peer.join("r1").unwrap();
    assert_eq!(peer.heard(), ["joined r1", "b 1", "a 2"]);
    let published = set(&prices, "b", "2").unwrap();
    assert_eq!((published.members, published.position), (1, None));
    set(&prices, "a", "3").unwrap();
    set(&prices, "a", "4").unwrap();
    unset(&prices, "b").unwrap();
    unset(&prices, "nothing").unwrap();
    // Two of them are gone before it reads.
    assert_eq!(peer.heard(), ["a 4", "no b"]);
    assert!(peer.heard().is_empty());
}

// covers: RM-12
#[test]
fn what_the_application_has_set_keeps_the_room_and_what_members_have_set_does_not() {
    let rooms = rooms(Keyed::new());
    let prices = rooms.at(&key("", "r1"));
    let mut ada = peer(&rooms, "ada");
    ada.join("r1").unwrap();
    ada.tell("r1", "a 1").unwrap();
    drop(ada);
    assert!(rooms.is_empty(), "nobody is in it");

    set(&prices, "b", "1").unwrap();
    let mut ada = peer(&rooms, "ada");
    ada.join("r1").unwrap();
    ada.tell("r1", "b 2").unwrap();
    ada.tell("r1", "a 1").unwrap();
    drop(ada);
    assert_eq!((rooms.len(), rooms.memberships()), (1, 0));
    let mut grace = peer(&rooms, "grace");
    grace.join("r1").unwrap();
    assert_eq!(grace.heard(), ["joined r1", "b 2", "a 1"]);

    unset(&prices, "b").unwrap();
    assert_eq!(rooms.len(), 1, "somebody is in it");
    drop(grace);
    assert!(rooms.is_empty() && rooms.shares_are_given_back());
    set(&prices, "b", "3").unwrap();
    unset(&prices, "b").unwrap();
    unset(&prices, "b").unwrap();
    assert!(rooms.is_empty());
}

#[test]
fn rooms_that_the_application_keeps_go_with_the_last_handle() {
    let rooms = rooms(Keyed::new());
    let prices = rooms.at(&key("", "r1"));
    set(&prices, "a", "1").unwrap();
    let room = std::sync::Arc::downgrade(&rooms.store().directory.find(&key("", "r1")).unwrap());
    drop(rooms);
    assert!(room.upgrade().is_some());
    drop(prices);
    assert!(room.upgrade().is_none());
}

#[test]
fn rooms_are_of_one_kind() {
    let rooms = rooms(Keyed::new().only(|key| key.name().as_str() == "keyed"));
    let mut ada = peer(&rooms, "ada");
    let (log, keyed) = (rooms.at(&key("", "log")), rooms.at(&key("", "keyed")));
    assert_eq!(set(&log, "a", "1"), Err(PublishError::NotKeyed));
    assert_eq!(unset(&log, "a"), Err(PublishError::NotKeyed));
    assert!(rooms.is_empty());
    ada.join("log").unwrap();
    ada.join("keyed").unwrap();
    let broadcast =
        |room: &RoomAdmin<Line>| room.broadcast(&Line("all".into())).now_or_never().unwrap();
    assert_eq!(set(&log, "a", "1"), Err(PublishError::NotKeyed));
    assert_eq!(unset(&log, "a"), Err(PublishError::NotKeyed));
    assert_eq!(broadcast(&keyed), Err(PublishError::Keyed));
    assert_eq!(ada.tell("log", "a 1"), Err(CloseReason::HandlerFailed));
    broadcast(&log).unwrap();
    set(&keyed, "a", "1").unwrap();
    assert_eq!(ada.heard(), ["joined log", "joined keyed", "all", "a 1"]);
}

// covers: DL-21
#[test]
fn too_much_is_told_to_who_sets_it_and_changes_nothing() {
    let keyed = Keyed::new().max_keys(count(2)).max_bytes(count(60));
    let events = Events::default();
    let rooms = rooms(keyed);
    let room = rooms.at(&key("", "r1"));
    let mut ada = peer(&rooms, "ada");
    ada.join("r1").unwrap();
    ada.heard();
    ada.events.take();
    ada.tell("r1", "a 1").unwrap();
    ada.tell("r1", "b 1").unwrap();
    ada.events.take();
    assert_eq!(ada.tell("r1", "c 1"), Err(CloseReason::Overloaded));
    assert_eq!(ada.events.take(), ["refused room.keys"]);
    assert_eq!(ada.tell("r1", &format!("a {}", "1".repeat(60))), Err(CloseReason::Overloaded));
    assert_eq!(ada.events.take(), ["refused room.key_bytes"]);
    assert_eq!(set(&room, "c", "1"), Err(PublishError::TooManyKeys));
    assert_eq!(set(&room, "b", &"1".repeat(60)), Err(PublishError::TooManyBytes));
    // What there is can be changed, and what goes makes room.
    ada.tell("r1", "b 2").unwrap();
    ada.tell("r1", "a").unwrap();
    ada.tell("r1", "c 1").unwrap();
    assert_eq!(ada.heard(), ["b 2", "no a", "c 1"]);
    drop((ada, events));
    assert!(rooms.is_empty(), "what was refused keeps nothing");
}

#[test]
fn the_application_makes_no_more_rooms_than_there_may_be() {
    let config = RoomsConfig::new().max_rooms(count(1)).keyed(Keyed::new()).unwrap();
    let rooms: Rooms<Line> = Rooms::with(config);
    let (one, other) = (rooms.at(&key("", "r1")), rooms.at(&key("", "r2")));
    set(&one, "a", "1").unwrap();
    assert_eq!(set(&other, "a", "1"), Err(PublishError::TooManyRooms));
    unset(&one, "a").unwrap();
    set(&other, "a", "1").unwrap();
}

// covers: RM-13
#[test]
fn who_is_out_sets_nothing_and_hears_nothing() {
    let rooms = rooms(Keyed::new());
    let mut ada = peer(&rooms, "ada");
    let mut grace = peer(&rooms, "grace");
    ada.join("r1").unwrap();
    grace.join("r1").unwrap();
    assert_eq!(now(rooms.at(&key("", "r1")).remove("ada")), 1);
    assert_eq!(ada.tell("r1", "a 1"), Ok(vec!["removed r1".to_owned()]));
    grace.tell("r1", "a 2").unwrap();
    assert_eq!(ada.heard(), ["joined r1", "removed r1"]);
    assert_eq!(grace.heard(), ["joined r1", "a 2"]);
}

// covers: DL-01
#[test]
fn nobody_is_over_its_bound_for_the_values_that_it_lacks() {
    let rooms = rooms(Keyed::new());
    let room = rooms.at(&key("", "r1"));
    let mut peer = peer(&rooms, "ada");
    let mut bounds = limits();
    bounds.bytes = 2_000;
    peer.connection = connect_within(bounds, Events::default());
    peer.join("r1").unwrap();
    for round in 0..100 {
        for key in 0..100 {
            set(&room, &format!("k{key}"), &format!("{round} {}", "x".repeat(100))).unwrap();
        }
    }
    assert!(peer.connection.backlog() < 100, "{}", peer.connection.backlog());
    let heard = peer.heard();
    assert_eq!(heard.len(), 1 + 100);
    assert!(heard.iter().skip(1).all(|it| it.contains(" 99 ")));
}

#[test]
fn a_keyed_room_keeps_no_history_and_knows_no_positions() {
    let history = History::new(count(10), std::time::Duration::from_secs(60));
    let config = RoomsConfig::new().history(history).keyed(Keyed::new()).unwrap();
    let rooms: Rooms<Line> = Rooms::with(config);
    let prices = rooms.at(&key("", "r1"));
    assert_eq!(set(&prices, "a", "1").unwrap().position, None);
    unset(&prices, "a").unwrap();
    assert!(rooms.is_empty());
}

#[test]
fn limits_that_cannot_hold_are_refused_in_words() {
    let error =
        |keyed| RoomsConfig::new().keyed(keyed).err().map(|it| (it.setting(), it.to_string()));
    assert_eq!(error(Keyed::new()), None);
    let (setting, text) = error(Keyed::new().max_bytes(count(4_095))).unwrap();
    assert_eq!(setting, "max_bytes");
    assert!(text.starts_with("max_bytes is 4095, and a room may have 1024 keys: it must be 4096"));
    let (setting, text) = error(Keyed::new().max_total_bytes(count(300_000))).unwrap();
    assert_eq!(setting, "max_total_bytes");
    assert!(text.contains("for one room that is full"), "{text}");
    let most = NonZeroUsize::MAX;
    assert!(error(Keyed::new().max_keys(most).max_bytes(most)).is_some());
    let full = Keyed::new().max_keys(most).max_bytes(most).max_total_bytes(most);
    assert_eq!(error(full), None, "as much as a number can say");
    let least = KeyedConfigError::TooFewBytes { max_keys: 2, max_bytes: 1, least: 8 };
    assert_eq!(least.setting(), "max_bytes");
}
