//! Who cannot keep up is closed, or goes on with the newest and is told so: as its room says.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::time::advance;

use crate::{
    audit::Audit,
    connection::Connection,
    layers::{Encode, EncodeError},
    message::Message,
    outbound::{OutboundLimits, budget::MemoryBudget, drained},
    principal::Principal,
    room::{
        History, JoinDenied, JoinRequest, OpenRooms, RoomKey, RoomName, RoomPolicy, Rooms,
        RoomsConfig, SlowMember,
    },
};

use super::{Events, Line, Peer, User, connect_within, count, key};

/// Bytes that a connection may be behind.
const BOUND: usize = 10_000;

/// Rooms that go on without slow members, if their names begin with `live`.
fn config() -> RoomsConfig {
    RoomsConfig::new().slow_members_of(|room| match room.name().as_str() {
        name if name.starts_with("live") => SlowMember::Skip,
        _ => SlowMember::Close,
    })
}

/// A member of `rooms` whose queue nobody writes out, unless the test does; it has heard that it joined.
fn member(rooms: &Rooms<Line>, user: &str, of: &[&str]) -> Peer {
    let mut peer = Peer::new(rooms, OpenRooms, user);
    peer.connection = connect_within(OutboundLimits::of(BOUND, 1_000), peer.events.clone());
    for name in of {
        peer.join(name).unwrap();
    }
    peer.heard();
    peer.events.take();
    peer
}

/// The room says its number `n`, in a thousand bytes.
fn say(rooms: &Rooms<Line>, name: &str, n: usize) {
    let line = Line(format!("{n:<1000}"));
    let said = rooms.at(&key("", name)).broadcast(&line).now_or_never();
    said.expect("nobody is waited for").unwrap();
}

/// What the peer hears now, with the numbers of what was said.
fn heard(peer: &Peer) -> Vec<String> {
    peer.heard().iter().map(|it| it.trim_end().to_owned()).collect()
}

fn is_closed(peer: &Peer) -> bool {
    drained::drain(peer.connection.outbound(), usize::MAX).overflowed
}

fn numbers(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|n| n.to_string()).collect()
}

// covers: DL-01
// holds: I9
#[test]
fn who_cannot_keep_up_is_told_where_something_is_missing_and_hears_the_newest() {
    let rooms = Rooms::with(config());
    let (slow, fast) = (member(&rooms, "slow", &["live"]), member(&rooms, "fast", &["live"]));
    for n in 0..95 {
        say(&rooms, "live", n);
        assert_eq!(heard(&fast), [n.to_string()], "nobody else has a gap");
    }
    let told = heard(&slow);
    assert_eq!(told[0], "gap live");
    let from: usize = told[1].parse().unwrap();
    assert_eq!(told[1..], numbers(from, 95));
    assert!((1..95).contains(&from) && told.len() < 12);
    // From here on as everybody else.
    say(&rooms, "live", 100);
    assert_eq!(heard(&slow), ["100"]);
    let events = slow.events.take();
    let [record] = &events[..] else { panic!("{events:?}") };
    assert!(record.starts_with("Skipped") && record.contains("\"live\""), "{record}");
    assert!(fast.events.take().is_empty());
}

// covers: DL-01
#[test]
fn a_room_that_closes_is_not_made_to_pay_for_one_that_skips() {
    let rooms = Rooms::with(config());
    let peer = member(&rooms, "peer", &["chat", "live", "live2"]);
    say(&rooms, "chat", 1);
    for n in 0..50 {
        say(&rooms, "live", n);
    }
    say(&rooms, "live2", 7);
    // What it is told by itself does not make it pay either.
    for _ in 0..3 {
        peer.connection.push(Message::text("x".repeat(1_000))).unwrap();
    }
    say(&rooms, "chat", 2);
    let told = heard(&peer);
    assert!(told.contains(&"gap live".to_owned()) && !told.contains(&"gap live2".to_owned()));
    let of_chat: Vec<_> = told.iter().filter(|it| ["1", "2", "7"].contains(&it.as_str())).collect();
    assert_eq!(of_chat, ["1", "2", "7"], "{told:?}");
    assert!(!is_closed(&peer));
}

// covers: DL-01
#[test]
fn a_loud_room_that_closes_closes_also_beside_one_that_skips() {
    let rooms = Rooms::with(config());
    let peer = member(&rooms, "peer", &["chat", "live"]);
    say(&rooms, "live", 0);
    // Nobody waits for it: there is no runtime to wait with.
    for n in 0..11 {
        let line = Line(format!("{n:<1000}"));
        let _ = rooms.at(&key("", "chat")).broadcast(&line).now_or_never();
    }
    let _ = peer.connection.push(Message::text("x".repeat(9_000)));
    assert!(is_closed(&peer));
}

// covers: DL-01
#[test]
fn its_own_messages_close_it_also_in_a_room_that_skips() {
    let rooms = Rooms::with(config());
    let peer = member(&rooms, "peer", &["live"]);
    let push = || peer.connection.push(Message::text("x".repeat(1_000)));
    assert!((0..20).any(|_| push().is_err()));
    assert!(is_closed(&peer));
}

// covers: DL-23
#[test]
fn who_reads_nothing_keeps_no_more_of_the_log_than_it_may_be_behind() {
    let rooms = Rooms::with(config());
    let slow = member(&rooms, "slow", &["live"]);
    let room = rooms.store().directory.find(&key("", "live")).unwrap();
    for n in 0..1_000 {
        say(&rooms, "live", n);
        let kept = room.look(|members| members.log.keeps());
        assert!(kept <= (BOUND + 20_000) as u64, "{kept} at {n}");
    }
    heard(&slow);
    assert_eq!(room.look(|members| members.log.keeps()), 0);
}

// covers: DL-01
#[test]
fn a_room_that_is_shed_costs_who_is_behind_a_gap() {
    let budget = MemoryBudget::new(count(100_000));
    let rooms = Rooms::with(config());
    let mut peer = Peer::new(&rooms, OpenRooms, "behind");
    let audit = Audit::new(peer.events.clone());
    peer.connection = Connection::new(None, super::limits(), Some(&budget), audit);
    peer.join("live").unwrap();
    for n in 0..200 {
        say(&rooms, "live", n);
        assert!(budget.used() <= 100_000);
    }
    let told = heard(&peer);
    assert_eq!(told[..2], ["joined live", "gap live"]);
    assert_eq!(told[2..], numbers(200 - (told.len() - 2), 200));
    assert_eq!(told.iter().filter(|it| *it == "gap live").count(), 1);
}

// covers: DL-01
#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_not_sent_any_more() {
    for (name, skips) in [("live", true), ("chat", false)] {
        let rooms = Rooms::with(config().max_lag(Duration::from_secs(2)));
        let peer = member(&rooms, "peer", &[name]);
        say(&rooms, name, 0);
        advance(Duration::from_millis(1_900)).await;
        assert_eq!(heard_soon(&peer).await, ["0"], "not too old yet");
        say(&rooms, name, 1);
        advance(Duration::from_millis(1_500)).await;
        say(&rooms, name, 2);
        tokio::task::yield_now().await;
        advance(Duration::from_millis(600)).await;
        if skips {
            assert_eq!(
                heard_soon(&peer).await,
                ["gap live"],
                "and nothing that it could go on with"
            );
            say(&rooms, name, 3);
            assert_eq!(heard_soon(&peer).await, ["3"]);
        } else {
            assert!(is_closed(&peer));
        }
    }
}

async fn heard_soon(peer: &Peer) -> Vec<String> {
    // The walk is a task.
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    heard(peer)
}

/// Its rooms have another name inside.
struct Aliases;

impl RoomPolicy<User> for Aliases {
    type Role = ();

    fn key(&self, _: &User, name: &RoomName) -> RoomKey {
        RoomKey::new(format!("live-{name}").parse().unwrap())
    }

    async fn join(&self, request: JoinRequest<'_, User>) -> Result<(), JoinDenied> {
        assert!(!request.user().id().is_empty());
        Ok(())
    }
}

#[test]
fn the_room_is_called_what_the_peer_calls_it() {
    let rooms = Rooms::with(config());
    let mut peer = Peer::new(&rooms, Aliases, "peer");
    peer.connection = connect_within(OutboundLimits::of(BOUND, 1_000), Events::default());
    peer.join("mine").unwrap();
    for n in 0..20 {
        say(&rooms, "live-mine", n);
    }
    assert_eq!(heard(&peer)[..2], ["joined mine", "gap mine"]);
}

/// Says where in the log a message stands, as text in front of it; and no gap, if it is `silent`.
struct Positions {
    silent: bool,
}

impl Encode<Line> for Positions {
    fn encode(&self, Line(line): &Line) -> Result<Message, EncodeError> {
        if self.silent && line.starts_with("gap") {
            return Err(EncodeError::new());
        }
        Ok(Message::text(line.clone()))
    }

    fn encode_stamped(&self, line: &Line) -> Result<crate::layers::Stamped, EncodeError> {
        let message = self.encode(line)?;
        Ok(crate::layers::Stamped::text("", format!(" {}", message.as_text().unwrap())))
    }
}

// holds: I9
#[test]
fn where_rooms_keep_a_history_a_gap_says_where_it_ends() {
    let history = History::new(count(5), Duration::from_secs(60));
    let rooms = Rooms::with(config().codec(Positions { silent: false }).history(history));
    let peer = member(&rooms, "peer", &["live"]);
    for n in 1..=15 {
        say(&rooms, "live", n);
    }
    let told = heard(&peer);
    let (at, words) = told[0].split_once(' ').unwrap();
    assert_eq!(words, "gap live");
    let (epoch, number) = at.split_once('-').unwrap();
    let next: u64 = number.parse::<u64>().unwrap() + 1;
    assert_eq!(told[1], format!("{epoch}-{next} {next}"), "it goes on right behind");
    assert_eq!(told.len() as u64, 15 - next + 2);
}

#[test]
fn who_cannot_be_told_is_closed() {
    let rooms = Rooms::with(config().codec(Positions { silent: true }));
    let peer = member(&rooms, "peer", &["live"]);
    for n in 0..20 {
        say(&rooms, "live", n);
    }
    assert!(peer.heard().is_empty());
    assert!(is_closed(&peer));
}

#[test]
fn a_choice_that_panics_refuses_the_join() {
    let rooms = Rooms::with(RoomsConfig::new().slow_members_of(|_| panic!("as planned")));
    let mut peer = Peer::new(&rooms, OpenRooms, "peer");
    assert_eq!(peer.join("r1").unwrap(), ["join_refused r1"]);
    assert!(rooms.is_empty());
}

/// What is its own and not heard is forgotten with what is skipped.
// holds: I9
#[test]
fn what_a_member_said_to_the_others_is_not_heard_behind_a_gap_either() {
    let rooms = Rooms::with(config());
    let handle = Arc::new(std::sync::Mutex::new(None));
    let kept = Arc::clone(&handle);
    let mut peer = Peer::with_stack("peer", |_| {
        let handler = tower::service_fn(
            move |inbound: crate::layers::Inbound<_, crate::room::Member<User, Line>>| {
                *kept.lock().unwrap() = Some(inbound.proof().room().unwrap().clone());
                async { Ok::<_, crate::layers::Failure<Line>>(crate::layers::Reply::none()) }
            },
        );
        let layer = crate::room::RoomsLayer::new(rooms.clone(), OpenRooms);
        tower::util::BoxService::new(tower::ServiceBuilder::new().layer(layer).service(handler))
    });
    peer.connection = connect_within(OutboundLimits::of(BOUND, 1_000), Events::default());
    peer.join("live").unwrap();
    peer.tell("live", "keep it").unwrap();
    peer.heard();
    let room = handle.lock().unwrap().clone().unwrap();
    for n in 0..57 {
        if n % 2 == 0 {
            let own = Line(format!("own {n:<1000}"));
            room.broadcast_others(&own).now_or_never().expect("nobody is waited for").unwrap();
        } else {
            say(&rooms, "live", n);
        }
    }
    let told = heard(&peer);
    assert_eq!(told[0], "gap live");
    let from: usize = told[1].parse().unwrap();
    let odd: Vec<_> = (from..57).step_by(2).map(|n| n.to_string()).collect();
    assert_eq!(told[1..], odd);
}
