//! Destructors of the application's that panic: nobody is left behind, and everybody else is served.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tower::{ServiceBuilder, service_fn, util::BoxService};

use crate::{
    close::CloseReason,
    layers::{Encode, EncodeError, Failure, Inbound, Reply},
    message::Message,
    outbound::OutboundLimits,
    room::{
        JoinDenied, JoinRequest, Member, OpenRooms, RoomPolicy, Rooms, RoomsConfig, RoomsLayer,
    },
};

use super::{Line, Peer, Say, User, connect_within, key, now, room};

/// A role that panics when it goes.
#[derive(Clone, Debug)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a destructor of the application's");
    }
}

struct Bombs;

impl RoomPolicy<User> for Bombs {
    type Role = Bomb;

    async fn join(&self, _: JoinRequest<'_, User>) -> Result<Bomb, JoinDenied> {
        Ok(Bomb)
    }
}

/// A peer whose handler keeps nothing of what it is given.
fn bomber(rooms: &Rooms<Line>, user: &str) -> Peer {
    Peer::new(rooms, Bombs, user)
}

/// How a membership ends.
type End = fn(&Rooms<Line>, Peer);

/// Runs what may panic, and says whether it did not.
fn calmly(what: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(what)).is_ok()
}

fn assert_nobody_is_left(rooms: &Rooms<Line>, listener: &mut Peer, name: &str) {
    assert_eq!(rooms.len(), 1, "{name}");
    assert_eq!(now(rooms.at(&key("", "r1")).members()).len(), 1, "{name}");
    listener.heard();
    assert_eq!(listener.tell("r1", "still here"), Ok(vec![]), "{name}");
    assert_eq!(listener.heard(), ["still here"], "{name}");
}

// covers: XX-04, RM-12
// holds: I8
#[test]
fn however_a_membership_ends_a_role_that_panics_leaves_no_ghost() {
    let ends: [(&str, End); 5] = [
        ("it leaves", |_, mut peer| {
            for name in ["r1", "r2", "r3"] {
                assert_eq!(peer.leave(name), Ok(vec![format!("left {name}")]));
            }
        }),
        ("its connection ends", |_, peer| drop(peer)),
        ("it is removed, and its connection ends", |rooms, peer| {
            for name in ["r1", "r2", "r3"] {
                assert_eq!(now(rooms.at(&key("", name)).remove("alice")), 1);
            }
            drop(peer);
        }),
        ("it is removed, and joins again", |rooms, mut peer| {
            for name in ["r1", "r2", "r3"] {
                assert_eq!(now(rooms.at(&key("", name)).remove("alice")), 1);
                assert_eq!(peer.join(name), Ok(vec![]));
            }
            drop(peer);
        }),
        ("its connection ends while another panic goes by", |_, peer| {
            assert!(!calmly(|| {
                let _peer = peer;
                panic!("one that is not from a destructor");
            }));
        }),
    ];
    for (name, end) in ends {
        let rooms = Rooms::new();
        let mut listener = Peer::new(&rooms, OpenRooms, "listener");
        listener.join("r1").unwrap();
        let mut peer = bomber(&rooms, "alice");
        for room in ["r1", "r2", "r3"] {
            assert_eq!(peer.join(room), Ok(vec![]), "{name}");
            assert_eq!(peer.tell(room, "hello"), Ok(vec![]), "{name}");
        }
        let events = peer.events.clone();
        assert!(calmly(|| end(&rooms, peer)), "{name}");
        let (mut joined, mut left) = (0, 0);
        for event in events.take() {
            joined += usize::from(event.starts_with("joined"));
            // One record names one room, or says how many there are.
            let rooms =
                event.strip_prefix("left alice ").map(|it| it.split_once(':').map(|it| it.0));
            left += rooms.map_or(0, |count| count.map_or(1, |count| count.parse().unwrap()));
        }
        assert_eq!((joined, left), (joined, joined), "{name}");
        assert_nobody_is_left(&rooms, &mut listener, name);
    }
}

// covers: XX-04
#[test]
fn places_that_are_cleared_for_a_join_take_nobody_elses_with_them() {
    let rooms = Rooms::new();
    let mut listener = Peer::new(&rooms, OpenRooms, "listener");
    listener.join("r1").unwrap();
    let layer = RoomsLayer::new(rooms.clone(), Bombs).max_rooms_per_connection(super::count(3));
    let mut peer = Peer::with_layer(&layer, "alice");
    for name in ["r1", "r2", "r3"] {
        peer.join(name).unwrap();
    }
    for name in ["r1", "r3"] {
        now(rooms.at(&key("", name)).remove("alice"));
    }
    // It may be in three rooms, and is in one: the places of the others go when a fourth is joined.
    assert_eq!(peer.join("r4"), Ok(vec![]));
    assert_eq!(peer.tell("r2", "still a member"), Ok(vec![]));
    drop(peer);
    assert_nobody_is_left(&rooms, &mut listener, "cleared");
}

/// Says yes when the test lets it, and what it waits with panics when it goes.
struct Slow(Arc<Semaphore>);

impl RoomPolicy<User> for Slow {
    type Role = Bomb;

    async fn join(&self, _: JoinRequest<'_, User>) -> Result<Bomb, JoinDenied> {
        let _waits_with = Bomb;
        let _ = self.0.acquire().await;
        Ok(Bomb)
    }
}

// covers: XX-04
#[test]
fn a_join_that_is_given_up_leaves_nobody_though_what_it_waits_with_panics() {
    let rooms = Rooms::new();
    let mut listener = Peer::new(&rooms, OpenRooms, "listener");
    listener.join("r1").unwrap();
    let mut peer = Peer::new(&rooms, Slow(Arc::new(Semaphore::new(0))), "alice");
    let mut join = Box::pin(peer.start(Say::Join(room("r1"))));
    assert!(futures_util::FutureExt::now_or_never(&mut join).is_none());
    // It is the driver that drops a call, and that catches this.
    calmly(|| drop(join));
    drop(peer);
    assert_nobody_is_left(&rooms, &mut listener, "given up");
}

async fn fail() -> Result<Reply<Line>, Failure<Line>> {
    panic!("a handler of the application's")
}

// covers: XX-04
#[test]
fn a_handler_that_panics_with_a_members_proof_in_its_hands_ends_its_call_and_no_more() {
    let rooms = Rooms::new();
    let mut listener = Peer::new(&rooms, OpenRooms, "listener");
    listener.join("r1").unwrap();
    let layer = RoomsLayer::new(rooms.clone(), Bombs);
    let mut peer = Peer::with_stack("alice", |_| {
        let handler = service_fn(|inbound: Inbound<Say, Member<User, Line, Bomb>>| async move {
            // As many as there are messages, and all of them go while the panic goes by.
            let _kept: Vec<_> = (0..10).map(|_| inbound.proof().clone()).collect();
            fail().await
        });
        BoxService::new(ServiceBuilder::new().layer(layer).service(handler))
    });
    peer.join("r1").unwrap();
    // Removed: the messages' shares of the role are the last ones.
    let mut answer = Box::pin(peer.start(Say::Tell(room("r1"), "hello".into())));
    now(rooms.at(&key("", "r1")).remove("alice"));
    peer.leave("r1").unwrap();
    assert!(!calmly(|| {
        let _: Option<Result<_, _>> = futures_util::FutureExt::now_or_never(&mut answer);
    }));
    assert_eq!(peer.tell("r1", "hello"), Err(CloseReason::NotAMember));
    drop((answer, peer));
    assert_nobody_is_left(&rooms, &mut listener, "panicked");
}

/// A payload that panics when it is gone.
struct Payload(Vec<u8>);

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        panic!("a destructor of the codec's");
    }
}

/// Writes `bomb` as something that panics when it is gone.
struct Codec;

impl Encode<Line> for Codec {
    fn encode(&self, line: &Line) -> Result<Message, EncodeError> {
        if line.0 == "bomb" {
            return Ok(Message::binary(Bytes::from_owner(Payload(vec![b'x'; 2_000]))));
        }
        Ok(Message::text(&*line.0))
    }
}

// covers: XX-04, DL-21
#[test]
fn a_payload_that_panics_does_so_where_it_was_made_and_at_no_member() {
    let rooms = Rooms::with(RoomsConfig::new().codec(Codec));
    let mut peers = ["alice", "bob"].map(|user| Peer::new(&rooms, OpenRooms, user));
    for peer in &mut peers {
        peer.join("r1").unwrap();
    }
    let [alice, bob] = &mut peers;
    assert!(!calmly(|| drop(alice.tell("r1", "bomb"))));
    alice.tell("r1", "and on").unwrap();
    assert_eq!(alice.heard(), ["joined r1", "and on"]);
    assert_eq!(bob.heard(), ["joined r1", "and on"]);
}

/// A payload that asks the room who is in it when it is gone.
struct Asks {
    rooms: Rooms<Line>,
    answered: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Asks {
    fn as_ref(&self) -> &[u8] {
        b"x"
    }
}

impl Drop for Asks {
    fn drop(&mut self) {
        self.answered.store(now(self.rooms.at(&key("", "r1")).members()).len(), Ordering::Relaxed);
    }
}

// covers: XX-04
#[test]
fn what_overflows_a_member_is_dropped_when_the_room_can_be_asked_again() {
    let rooms = Rooms::new();
    let mut speaker = Peer::new(&rooms, OpenRooms, "speaker");
    speaker.join("r1").unwrap();
    let mut member = Peer::new(&rooms, OpenRooms, "member");
    member.connection = connect_within(OutboundLimits::of(10_000, 100), member.events.clone());
    member.join("r1").unwrap();
    let answered = Arc::<AtomicUsize>::default();
    let asks = Asks { rooms: rooms.clone(), answered: Arc::clone(&answered) };
    member.connection.push(Message::binary(Bytes::from_owner(asks))).unwrap();
    speaker.tell("r1", &"x".repeat(9_900)).unwrap();
    assert_eq!(answered.load(Ordering::Relaxed), 2);
}
