//! A joiner is told the state of its room, and then everything that was published since it was read.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::sync::oneshot;

use crate::{
    close::{Close, CloseReason},
    layers::{Authenticated, Encode, EncodeError, Failure, Reply, Stamped},
    message::Message,
    outbound::OutboundLimits,
    room::{
        History, OpenRooms, Position, Published, RoomState, Rooms, RoomsConfig, RoomsLayer,
        SlowMember,
    },
};

use super::{Line, Peer, Say, User, connect_within, count, key, lines, now, room};

type Answer = Pin<Box<dyn Future<Output = Result<Reply<Line>, Failure<Line>>>>>;

/// States that are read when the test says so.
#[derive(Clone, Default)]
struct States(Arc<Mutex<Asked>>);

type Asked = Vec<oneshot::Sender<Result<RoomState<Line>, Close>>>;

impl States {
    fn layer(&self, rooms: &Rooms<Line>) -> RoomsLayer<User, OpenRooms, Line> {
        let states = self.clone();
        RoomsLayer::new(rooms.clone(), OpenRooms).with_state(
            move |room, user: Authenticated<User>, _| {
                assert!(!user.id.is_empty() && !room.name().as_str().is_empty());
                let (sender, state) = oneshot::channel();
                states.0.lock().unwrap().push(sender);
                async move { state.await.unwrap_or(Err(Close::OVERLOADED)) }
            },
        )
    }

    fn give(&self, state: Result<RoomState<Line>, Close>) {
        assert!(self.0.lock().unwrap().pop().unwrap().send(state).is_ok());
    }
}

fn line(text: &str) -> Line {
    Line(text.to_owned())
}

fn say(rooms: &Rooms<Line>, text: &str) -> Published {
    let said = rooms.at(&key("", "r1")).broadcast(&line(text)).now_or_never();
    said.expect("nobody is waited for").unwrap()
}

/// Begins to join; nothing has been read yet.
fn begin(peer: &mut Peer) -> Answer {
    let mut answer: Answer = Box::pin(peer.start(Say::Join(room("r1"))));
    assert!(poll(&mut answer).is_pending());
    answer
}

fn poll(answer: &mut Answer) -> Poll<Result<Reply<Line>, Failure<Line>>> {
    answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn finish(answer: &mut Answer) -> Result<Vec<String>, CloseReason> {
    let Poll::Ready(answer) = poll(answer) else { panic!("the state is there") };
    lines(answer)
}

// holds: I9
#[test]
fn the_state_stands_between_joined_and_what_was_said_since() {
    let (rooms, states) = (Rooms::new(), States::default());
    let mut peer = Peer::with_layer(&states.layer(&rooms), "alice");
    let mut other = Peer::new(&rooms, OpenRooms, "bob");
    other.join("r1").unwrap();
    say(&rooms, "before");
    let mut answer = begin(&mut peer);
    assert_eq!(peer.heard(), ["joined r1"]);
    say(&rooms, "one");
    say(&rooms, "two");
    // It is a member, and hears nothing yet; others do.
    assert_eq!(now(rooms.at(&key("", "r1")).members()).len(), 2);
    assert!(peer.heard().is_empty());
    assert_eq!(other.heard(), ["joined r1", "before", "one", "two"]);
    states.give(Ok(RoomState::new([line("state 1"), line("state 2")])));
    assert_eq!(finish(&mut answer), Ok(vec![]));
    say(&rooms, "three");
    assert_eq!(peer.heard(), ["state 1", "state 2", "one", "two", "three"]);
    say(&rooms, "four");
    assert_eq!(peer.heard(), ["four"]);
    // Nothing is said while the next one reads, and there is no state.
    let mut third = Peer::with_layer(&states.layer(&rooms), "carol");
    let mut answer = begin(&mut third);
    states.give(Ok(RoomState::none()));
    assert_eq!(finish(&mut answer), Ok(vec![]));
    say(&rooms, "five");
    assert_eq!(third.heard(), ["joined r1", "five"]);
}

/// Writes where it stands in front of each line.
struct Positions;

impl Encode<Line> for Positions {
    fn encode(&self, Line(line): &Line) -> Result<Message, EncodeError> {
        Ok(Message::text(line.clone()))
    }

    fn encode_stamped(&self, Line(line): &Line) -> Result<Stamped, EncodeError> {
        Ok(Stamped::text("", format!(" {line}")))
    }
}

fn with_history() -> Rooms<Line> {
    let history = History::new(count(10), Duration::from_secs(60));
    Rooms::with(RoomsConfig::new().codec(Positions).history(history))
}

/// The words of what was heard, without positions.
fn words(peer: &Peer) -> Vec<String> {
    let words = |it: &String| it.split_once(' ').map_or(it.as_str(), |(_, it)| it).to_owned();
    peer.heard().iter().map(words).collect()
}

// holds: I9, I10
#[test]
fn what_the_state_has_is_not_heard_again_if_it_says_its_position() {
    let (rooms, states) = (with_history(), States::default());
    let mut early: Option<Position> = None;
    for nth in 0..4 {
        let mut peer = Peer::with_layer(&states.layer(&rooms), "alice");
        let mut answer = begin(&mut peer);
        let positions = ["one", "two", "three"].map(|text| say(&rooms, text).position);
        let (at, heard): (_, &[&str]) = match nth {
            0 => (positions[0], &["two", "three"]),
            1 => (positions[2], &[]),
            // Of before it came, or of no log at all: it hears what was said since it came.
            2 => (early, &["one", "two", "three"]),
            _ => ("zzzzzzzz-1".parse().ok(), &["one", "two", "three"]),
        };
        early = early.or(positions[0]);
        states.give(Ok(RoomState::new([line("the state")]).at(at)));
        assert_eq!(finish(&mut answer), Ok(vec![]));
        say(&rooms, "four");
        let all = [&["r1", "state"][..], heard, &["four"]].concat();
        let words: Vec<_> =
            words(&peer).iter().map(|it| it.rsplit(' ').next().unwrap().to_owned()).collect();
        assert_eq!(words, all, "{nth}");
    }
}

// holds: I10
#[test]
fn who_gets_what_it_missed_needs_no_state() {
    let (rooms, states) = (with_history(), States::default());
    let mut keeper = Peer::new(&rooms, OpenRooms, "bob");
    keeper.join("r1").unwrap();
    let heard = say(&rooms, "heard").position;
    say(&rooms, "missed");
    let mut peer = Peer::with_layer(&states.layer(&rooms), "alice");
    let mut answer: Answer = Box::pin(peer.start(Say::Back(room("r1"), heard.unwrap())));
    assert_eq!(finish(&mut answer), Ok(vec![]));
    assert_eq!(words(&peer), ["joined r1", "missed"]);
    assert!(states.0.lock().unwrap().is_empty());
}

#[test]
fn a_state_that_cannot_be_read_closes_and_leaves_nobody() {
    let (rooms, states) = (Rooms::new(), States::default());
    for (state, reason) in [
        (Err(Close::OVERLOADED), CloseReason::Overloaded),
        (Ok(RoomState::new([line(&"x".repeat(5_000))])), CloseReason::HandlerFailed),
    ] {
        let mut peer = Peer::with_layer(&states.layer(&rooms), "alice");
        let limits = OutboundLimits { message_size: 1_000, ..OutboundLimits::of(1 << 20, 100) };
        peer.connection = connect_within(limits, peer.events.clone());
        let mut answer = begin(&mut peer);
        states.give(state);
        assert_eq!(finish(&mut answer), Err(reason));
        drop(peer);
        assert!(rooms.is_empty());
    }
}

#[test]
fn who_stops_waiting_for_the_state_is_out_of_the_room_and_told_so() {
    let (rooms, states) = (Rooms::new(), States::default());
    let mut peer = Peer::with_layer(&states.layer(&rooms), "alice");
    let answer = begin(&mut peer);
    say(&rooms, "unheard");
    drop(answer);
    assert!(rooms.is_empty());
    assert_eq!(peer.heard(), ["joined r1", "removed r1"]);
    assert_eq!(peer.tell("r1", "hello"), Err(CloseReason::NotAMember));
}

// covers: RM-13
#[test]
fn who_is_removed_while_it_waits_hears_nothing_more() {
    let (rooms, states) = (Rooms::new(), States::default());
    let mut peer = Peer::with_layer(&states.layer(&rooms), "alice");
    let mut answer = begin(&mut peer);
    say(&rooms, "unheard");
    assert_eq!(now(rooms.at(&key("", "r1")).remove("alice")), 1);
    states.give(Ok(RoomState::new([line("secret")])));
    assert_eq!(finish(&mut answer), Ok(vec![]));
    assert_eq!(peer.heard(), ["joined r1", "removed r1"]);
}

// covers: DL-01
// holds: I3
#[test]
fn what_is_kept_while_it_waits_is_within_its_bound() {
    for (slow_member, told) in [(SlowMember::Close, None), (SlowMember::Skip, Some("gap r1"))] {
        let config = RoomsConfig::new().slow_members(slow_member);
        let (rooms, states) = (Rooms::with(config), States::default());
        let mut peer = Peer::with_layer(&states.layer(&rooms), "alice");
        peer.connection = connect_within(OutboundLimits::of(10_000, 100), peer.events.clone());
        let mut answer = begin(&mut peer);
        peer.heard();
        for n in 0..20 {
            let line = Line(format!("{n:<1000}"));
            // Without a runtime nobody waits.
            let _ = rooms.at(&key("", "r1")).broadcast(&line).now_or_never();
        }
        // Its own queue is what makes it pass.
        let _ = peer.connection.push(Message::text("x".repeat(5_500)));
        states.give(Ok(RoomState::new([line("state")])));
        assert_eq!(finish(&mut answer), Ok(vec![]));
        let heard = peer.heard();
        match told {
            None => assert!(heard.is_empty(), "it is closed: {heard:?}"),
            Some(gap) => assert_eq!(heard[1..3], ["state", gap]),
        }
    }
}
