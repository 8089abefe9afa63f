use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt;
use tower::{ServiceBuilder, service_fn, util::BoxService};
use tower_service::Service;

use crate::{
    audit::Audit,
    close::{Close, CloseReason},
    layers::{Failure, Inbound, Reply},
    message::Message,
    outbound::{OutboundLimits, drained},
    room::{Member, OpenRooms, RoomHandle, Rooms, RoomsConfig, RoomsLayer, outcome::PublishError},
};

use super::{Events, Line, Peer, User, key, now, tell};

/// A peer whose handler puts the room into `kept`.
fn keeper(rooms: &Rooms<Line>, user: &str, kept: &Arc<Mutex<Vec<RoomHandle<Line>>>>) -> Peer {
    let kept = Arc::clone(kept);
    let handler = service_fn(move |inbound: Inbound<_, Member<User, Line>>| {
        kept.lock().unwrap().push(inbound.proof().room().unwrap().clone());
        async { Ok::<_, Failure<Line>>(Reply::none()) }
    });
    let layer = RoomsLayer::new(rooms.clone(), OpenRooms);
    Peer::with_stack(user, |_| BoxService::new(ServiceBuilder::new().layer(layer).service(handler)))
}

// covers: RM-13
#[test]
fn a_kept_room_is_worth_nothing_after_leave_removal_and_close() {
    let rooms = Rooms::new();
    let kept = Arc::default();
    let mut listener = Peer::new(&rooms, OpenRooms, "listener");
    listener.join("r1").unwrap();
    let say = |line: &str| {
        let room = kept_room(&kept);
        room.broadcast(&Line(line.into())).now_or_never().expect("few members")
    };

    let mut peer = keeper(&rooms, "alice", &kept);
    peer.join("r1").unwrap();
    peer.tell("r1", "keep it").unwrap();
    assert_eq!(say("as a member").map(|it| it.members), Ok(2));

    peer.leave("r1").unwrap();
    assert_eq!(say("after leaving"), Err(PublishError::NotAMember));
    peer.join("r1").unwrap();
    assert_eq!(say("by the handle from before"), Err(PublishError::NotAMember));

    peer.tell("r1", "keep it").unwrap();
    assert_eq!(now(rooms.at(&key("", "r1")).remove("alice")), 1);
    assert_eq!(say("after removal"), Err(PublishError::NotAMember));
    assert_eq!(peer.tell("r1", "through the layer"), Ok(vec!["removed r1".to_owned()]));
    peer.leave("r1").unwrap();
    assert_eq!(peer.tell("r1", "through the layer"), Err(CloseReason::NotAMember));

    peer.join("r1").unwrap();
    peer.tell("r1", "keep it").unwrap();
    drop(peer);
    assert_eq!(say("after the close"), Err(PublishError::NotAMember));
    assert_eq!(listener.heard(), ["joined r1", "as a member"]);
    assert_eq!(Close::from(PublishError::NotAMember).reason(), &CloseReason::NotAMember);
}

fn kept_room(kept: &Arc<Mutex<Vec<RoomHandle<Line>>>>) -> RoomHandle<Line> {
    kept.lock().unwrap().last().expect("a kept room").clone()
}

#[test]
fn joined_comes_before_anything_else_from_the_room() {
    let rooms = Rooms::new();
    let mut first = Peer::new(&rooms, OpenRooms, "alice");
    first.join("r1").unwrap();
    let mut second = Peer::new(&rooms, OpenRooms, "bob");
    first.tell("r1", "before").unwrap();
    second.join("r1").unwrap();
    first.tell("r1", "after").unwrap();
    assert_eq!(second.heard(), ["joined r1", "after"]);
    assert_eq!(first.heard(), ["joined r1", "before", "after"]);
}

#[test]
fn the_application_publishes_lists_and_removes_without_being_a_member() {
    let events = Events::default();
    let rooms = Rooms::with(RoomsConfig::new().audit(events.clone()));
    let mut alice = Peer::new(&rooms, OpenRooms, "acme/alice");
    let mut again = Peer::new(&rooms, OpenRooms, "acme/alice");
    let mut bob = Peer::new(&rooms, OpenRooms, "acme/bob");
    for peer in [&mut alice, &mut again, &mut bob] {
        peer.join("r1").unwrap();
    }
    let lobby = rooms.at(&key("acme", "r1"));
    let published = lobby.broadcast(&Line("noon".into())).now_or_never().unwrap().unwrap();
    assert_eq!((published.members, published.bytes), (3, "\"noon\"".len()));
    assert_eq!(events.take(), ["published acme/r1 3"]);

    let mut members: Vec<_> = now(lobby.members()).iter().map(|it| it.user.to_string()).collect();
    members.sort();
    assert_eq!(members, ["alice", "alice", "bob"]);
    assert_eq!(alice.heard(), ["joined r1", "noon"]);
    assert_eq!(now(lobby.remove("alice")), 2);
    assert_eq!(now(lobby.remove("alice")), 0);
    assert_eq!(now(lobby.members()).len(), 1);
    assert_eq!(alice.events.take(), ["joined alice acme/r1", "left alice acme/r1"]);
    bob.tell("r1", "who is here").unwrap();
    assert_eq!(alice.heard(), ["removed r1"]);

    // A room that nobody is in is not made by looking at it.
    let nowhere = rooms.at(&key("acme", "nowhere"));
    assert_eq!(nowhere.broadcast(&Line("?".into())).now_or_never().unwrap().unwrap().members, 0);
    assert_eq!(
        (now(nowhere.members()).len(), now(nowhere.remove("alice")), rooms.len()),
        (0, 0, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_read_costs_the_others_nothing() {
    let rooms = Rooms::new();
    let mut alice = Peer::new(&rooms, OpenRooms, "alice");
    let mut slow = Peer::new(&rooms, OpenRooms, "slow");
    let limits = OutboundLimits::of(100, 10);
    slow.connection = crate::Connection::new(None, limits, None, Audit::new(slow.events.clone()));
    alice.join("r1").unwrap();
    slow.join("r1").unwrap();
    alice.heard();
    alice.events.take();
    slow.heard();
    alice.tell("r1", &"x".repeat(40)).unwrap();
    // Its driver has tried, and its socket has taken nothing for a second.
    drained::drain(slow.connection.outbound(), 0);
    tokio::time::advance(Duration::from_secs(1)).await;
    for _ in 0..2 {
        alice.tell("r1", &"x".repeat(40)).unwrap();
    }
    assert_eq!(alice.heard().len(), 3);
    assert_eq!(alice.events.take(), ["published r1 2"; 3]);
    assert!(slow.connection.push(Message::text("?")).is_err(), "it is over its bound");
}

// covers: DL-22
#[test]
fn without_a_runtime_to_wait_in_a_publisher_is_told_at_once() {
    let rooms = Rooms::new();
    let mut slow = Peer::new(&rooms, OpenRooms, "slow");
    // A message is more than half of what may be held, and worth half a minute at 1 MB/s.
    let limits = OutboundLimits::of(50_000_000, 3);
    slow.connection = crate::Connection::new(None, limits, None, Audit::new(slow.events.clone()));
    slow.join("r1").unwrap();
    let line = Line("x".repeat(30_000_000));
    let announce = || rooms.at(&key("", "r1")).broadcast(&line).now_or_never();
    assert!(announce().unwrap().is_ok());
    assert_eq!(announce(), Some(Err(PublishError::Overloaded)));
}

#[test]
fn a_peer_whose_queue_is_gone_is_not_seated() {
    let rooms = Rooms::new();
    let mut peer = Peer::new(&rooms, OpenRooms, "alice");
    peer.connection.outbound().close();
    assert!(peer.join("r1").unwrap().is_empty());
    assert!(peer.events.take().is_empty());
    assert!(rooms.is_empty());
}

// holds: I9
#[test]
fn what_is_for_the_others_is_heard_by_all_but_the_connection_that_says_it() {
    let rooms = Rooms::new();
    let kept = Arc::default();
    let mut peer = keeper(&rooms, "alice", &kept);
    let mut tab = Peer::new(&rooms, OpenRooms, "alice");
    let mut bob = Peer::new(&rooms, OpenRooms, "bob");
    for it in [&mut peer, &mut tab, &mut bob] {
        it.join("r1").unwrap();
        it.heard();
    }
    peer.tell("r1", "keep it").unwrap();
    let room = kept_room(&kept);
    for n in 0..8 {
        let line = Line(n.to_string());
        let said = if n % 3 == 0 {
            room.broadcast(&line).now_or_never()
        } else {
            room.broadcast_others(&line).now_or_never()
        };
        assert_eq!(said.unwrap().unwrap().members, 3);
        if n == 5 {
            assert_eq!(peer.heard(), ["0", "3"]);
        }
    }
    assert_eq!(peer.heard(), ["6"]);
    assert_eq!(peer.connection.backlog(), 0);
    bob.tell("r1", "8").unwrap();
    assert_eq!(peer.heard(), ["8"]);
    for it in [&tab, &bob] {
        assert_eq!(it.heard(), ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
    }
    assert_eq!(rooms.keys(), [key("", "r1")]);
}

// covers: RM-16, DL-03
#[tokio::test(start_paused = true)]
async fn a_publisher_lets_the_members_be_offered_what_it_said_before_it_says_more() {
    let rooms = Rooms::new();
    let mut peers: Vec<_> = (0..1000).map(|_| Peer::new(&rooms, OpenRooms, "u")).collect();
    for peer in &mut peers {
        peer.join("r1").unwrap();
        peer.heard();
    }
    let mut speaker = Peer::new(&rooms, OpenRooms, "speaker");
    speaker.join("r1").unwrap();
    let large = || super::Say::Tell(super::room("r1"), "x".repeat(40_000));
    for _ in 0..7 {
        assert!(speaker.start(large()).now_or_never().is_some(), "however many members there are");
    }
    let mut eighth = Box::pin(speaker.start(large()));
    assert!((&mut eighth).now_or_never().is_none(), "after 256 KiB");
    assert_eq!(super::lines(eighth.await), Ok(vec![]));
    assert_eq!(peers[999].heard().len(), 8);
}

#[test]
fn an_idle_member_holds_no_permit_of_the_layers_beneath() {
    let rooms = Rooms::new();
    let layer = RoomsLayer::new(rooms.clone(), OpenRooms);
    let limit = tower::limit::GlobalConcurrencyLimitLayer::new(1);
    let peer = |user: &str| {
        Peer::with_stack(user, |_| {
            let stack = ServiceBuilder::new().layer(layer.clone()).layer(limit.clone());
            BoxService::new(stack.service(service_fn(tell::<()>)))
        })
    };
    let mut idle: Vec<_> = (0..100).map(|_| peer("idle")).collect();
    for peer in &mut idle {
        let ready = poll_fn(|cx| peer.stack.poll_ready(cx)).now_or_never();
        assert!(matches!(ready, Some(Ok(()))));
        peer.join("r1").unwrap();
    }
    let mut busy = peer("busy");
    busy.join("r1").unwrap();
    assert!(busy.tell("r1", "hello").is_ok());
}
