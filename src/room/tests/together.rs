//! Two things at once: rooms of one name and two tenants, a state that is loaded and a removal, a history and both.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::sync::oneshot;
use tower::service_fn;
use tower_layer::Layer;
use tower_service::Service;

use super::{Events, Line, Peer, Say, User, connect, count, key, lines, now, room};
use crate::{
    close::Close,
    connection::Connection,
    layers::{Authenticated, Encode, EncodeError, Failure, Inbound, Reply, Stamped},
    message::Message,
    room::{
        History, JoinDenied, JoinError, JoinRequest, Member, OpenRooms, Published, RoomKey,
        RoomName, RoomNotice, RoomPolicy, RoomState, Rooms, RoomsConfig, RoomsLayer, SlowMember,
    },
};

fn put(rooms: &Rooms<Line>, key: &RoomKey, connection: &Connection) -> Result<bool, JoinError> {
    rooms.at(key).join(connection).now_or_never().unwrap()
}

fn say_in(rooms: &Rooms<Line>, key: &RoomKey, text: &str) -> Published {
    rooms.at(key).broadcast(&Line(text.into())).now_or_never().expect("no wait").unwrap()
}

// covers: RM-06
#[test]
fn a_connection_is_in_no_second_room_of_the_same_name() {
    let rooms = Rooms::new();
    let connection = connect(Events::default());
    assert_eq!(put(&rooms, &key("a", "news"), &connection), Ok(true));
    assert_eq!(put(&rooms, &key("a", "news"), &connection), Ok(false));
    assert_eq!(put(&rooms, &key("b", "news"), &connection), Err(JoinError::Name));
    assert_eq!(say_in(&rooms, &key("b", "news"), "x").members, 0);
}

#[test]
fn what_is_meant_for_the_tenants_room_reaches_no_other() {
    let rooms = Rooms::new();
    let mut alice = Peer::new(&rooms, OpenRooms, "acme/alice");
    let mut stranger = Peer::new(&rooms, OpenRooms, "mallory");
    stranger.join("lobby").unwrap();
    // The operator puts everybody into a room without tenant.
    assert_eq!(put(&rooms, &key("", "lobby"), &alice.connection), Ok(true));
    stranger.heard();
    alice.heard();
    // She asks for her own tenant's lobby, and is told that she is in.
    let answer = alice.join("lobby").unwrap();
    let answers = [answer, alice.heard()].concat();
    let own = rooms.at(&key("acme", "lobby")).member_count().now_or_never().unwrap().unwrap();
    let _ = alice.tell("lobby", "secret of acme");
    let heard = stranger.heard();
    println!("answers {answers:?}, members of acme/lobby {own}, stranger heard {heard:?}");
    assert!(heard.is_empty(), "another tenant heard {heard:?}");
}

#[test]
fn removed_from_the_tenants_room_speaks_to_the_other() {
    let rooms = Rooms::new();
    let mut alice = Peer::new(&rooms, OpenRooms, "acme/alice");
    let mut stranger = Peer::new(&rooms, OpenRooms, "mallory");
    stranger.join("lobby").unwrap();
    alice.join("lobby").unwrap();
    assert_eq!(put(&rooms, &key("", "lobby"), &alice.connection), Ok(true));
    stranger.heard();
    assert_eq!(now(rooms.at(&key("acme", "lobby")).remove("alice")), 1);
    let answer = alice.tell("lobby", "secret of acme");
    let heard = stranger.heard();
    println!("{answer:?} {heard:?} alice heard {:?}", alice.heard());
    assert!(heard.is_empty(), "another tenant heard {heard:?}");
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

fn with_history(messages: usize, ttl: Duration) -> Rooms<Line> {
    let history = History::new(count(messages), ttl);
    Rooms::with(RoomsConfig::new().codec(Positions).history(history))
}

fn words(heard: &[String]) -> Vec<String> {
    heard.iter().map(|it| it.split_once(' ').map_or(it.as_str(), |(_, it)| it).to_owned()).collect()
}

type Asked = Arc<Mutex<Vec<oneshot::Sender<Result<RoomState<Line>, Close>>>>>;

fn stated(rooms: &Rooms<Line>) -> (RoomsLayer<User, OpenRooms, Line>, Asked) {
    let asked = Asked::default();
    let states = asked.clone();
    let layer = RoomsLayer::new(rooms.clone(), OpenRooms).with_state(
        move |_, _: Authenticated<User>, _| {
            let (sender, state) = oneshot::channel();
            states.lock().unwrap().push(sender);
            async move { state.await.unwrap_or(Err(Close::OVERLOADED)) }
        },
    );
    (layer, asked)
}

type Answer = std::pin::Pin<Box<dyn Future<Output = Result<Reply<Line>, Failure<Line>>>>>;

fn poll(answer: &mut Answer) -> Option<Result<Reply<Line>, Failure<Line>>> {
    answer.as_mut().now_or_never()
}

#[test]
fn what_the_state_has_is_not_heard_again_though_much_was_said_since() {
    let rooms = with_history(5, Duration::from_secs(60));
    let (layer, asked) = stated(&rooms);
    let mut peer = Peer::with_layer(&layer, "alice");
    let mut answer: Answer = Box::pin(peer.start(Say::Join(room("r1"))));
    assert!(poll(&mut answer).is_none());
    let said: Vec<_> = (1..=10).map(|n| say_in(&rooms, &key("", "r1"), &format!("m{n}"))).collect();
    // The state has all up to the third.
    let state = RoomState::new([Line("x state".into())]).at(said[2].position);
    asked.lock().unwrap().pop().unwrap().send(Ok(state)).map_err(|_| ()).unwrap();
    lines(poll(&mut answer).unwrap()).unwrap();
    let heard = words(&peer.heard());
    println!("{heard:?}");
    assert!(!heard.contains(&"m3".to_owned()), "{heard:?}");
}

#[test]
fn who_waits_for_the_state_has_no_position_to_come_back_with() {
    let rooms = with_history(5, Duration::from_secs(60));
    let (layer, _asked) = stated(&rooms);
    let mut keeper = Peer::new(&rooms, OpenRooms, "bob");
    keeper.join("r1").unwrap();
    say_in(&rooms, &key("", "r1"), "old");
    let mut peer = Peer::with_layer(&layer, "alice");
    let mut answer: Answer = Box::pin(peer.start(Say::Join(room("r1"))));
    assert!(poll(&mut answer).is_none());
    let joined = peer.heard();
    println!("{joined:?}");
    assert!(joined[0].starts_with(' '), "a position to come back with: {joined:?}");
    drop(answer);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_state_is_not_too_slow() {
    for becomes in [SlowMember::Close, SlowMember::Skip] {
        let config = RoomsConfig::new().max_lag(Duration::from_secs(1)).slow_members(becomes);
        let rooms: Rooms<Line> = Rooms::with(config);
        let (layer, asked) = stated(&rooms);
        let mut peer = Peer::with_layer(&layer, "alice");
        let mut answer: Answer = Box::pin(peer.start(Say::Join(room("r1"))));
        assert!(poll(&mut answer).is_none());
        rooms.at(&key("", "r1")).broadcast(&Line("one".into())).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        asked
            .lock()
            .unwrap()
            .pop()
            .unwrap()
            .send(Ok(RoomState::new([Line("state".into())])))
            .map_err(|_| ())
            .unwrap();
        lines(poll(&mut answer).unwrap()).unwrap();
        let mut heard = Vec::new();
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            heard.extend(peer.heard());
        }
        assert!(heard.contains(&"one".to_owned()), "{becomes:?}: {heard:?}");
    }
}

#[derive(Debug)]
struct Bomb(bool);
impl serde::Serialize for Bomb {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str("bomb")
    }
}
impl From<RoomNotice> for Bomb {
    fn from(_: RoomNotice) -> Self {
        Self(false)
    }
}
impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 {
            panic!("in a destructor");
        }
    }
}

#[test]
fn states_whose_destructors_panic_end_no_process() {
    let rooms: Rooms<Bomb> = Rooms::new();
    let layer = RoomsLayer::new(rooms.clone(), OpenRooms).with_state(
        |_, _: Authenticated<User>, _| async { Ok(RoomState::new([Bomb(true), Bomb(true)])) },
    );
    let mut stack = layer.layer(service_fn(async |_: Inbound<Say, Member<User, Bomb>>| {
        Ok::<_, Failure<Bomb>>(Reply::<Bomb>::none())
    }));
    let connection = connect(Events::default());
    let user = Authenticated::claim(User { tenant: String::new(), id: "alice".into() });
    let call = stack.call(Inbound::new(Say::Join(room("r1")), user, connection));
    assert_eq!(crate::foreign::run(|| drop(call.now_or_never())), Some(()));
}

/// Rooms of all names are one, whatever the tenant.
struct OneRoom;
impl RoomPolicy<User> for OneRoom {
    type Role = ();
    fn key(&self, _: &User, _: &RoomName) -> RoomKey {
        key("", "one")
    }
    async fn join(&self, _: JoinRequest<'_, User>) -> Result<(), JoinDenied> {
        Ok(())
    }
}

#[test]
fn who_was_out_gets_nothing_of_it_though_anothers_namesake_came() {
    for namesake in [false, true] {
        let rooms = with_history(50, Duration::from_secs(60));
        let one = key("", "one");
        let mut keeper = Peer::new(&rooms, OneRoom, "x/keeper");
        keeper.join("one").unwrap();
        let mut alice = Peer::new(&rooms, OneRoom, "x/alice");
        alice.join("one").unwrap();
        let at = say_in(&rooms, &one, "heard").position.unwrap();
        assert_eq!(now(rooms.at(&one).remove_in_tenant(Some("x"), "alice")), 1);
        let mut other = Peer::new(&rooms, OneRoom, "y/alice");
        if namesake {
            other.join("one").unwrap();
        }
        say_in(&rooms, &one, "secret");
        let mut again = Peer::new(&rooms, OneRoom, "x/alice");
        again.say(Say::Back(room("one"), at)).unwrap();
        let heard = words(&again.heard());
        assert!(!heard.contains(&"secret".to_owned()), "namesake {namesake}: {heard:?}");
    }
}

#[test]
fn a_connection_that_was_removed_gets_nothing_of_what_was_said_meanwhile() {
    let rooms = with_history(50, Duration::from_secs(60));
    let r1 = key("", "r1");
    let mut keeper = Peer::new(&rooms, OpenRooms, "keeper");
    keeper.join("r1").unwrap();
    let mut alice = Peer::new(&rooms, OpenRooms, "alice");
    alice.join("r1").unwrap();
    let at = say_in(&rooms, &r1, "heard").position.unwrap();
    assert!(now(rooms.at(&r1).remove_connection(&alice.connection)));
    say_in(&rooms, &r1, "secret");
    alice.heard();
    alice.say(Say::Back(room("r1"), at)).unwrap();
    let heard = words(&alice.heard());
    println!("{heard:?}");
    assert!(!heard.contains(&"secret".to_owned()), "{heard:?}");
}

#[test]
fn before_a_login_the_connections_id_is_the_users_in_a_tenants_room_too() {
    let rooms: Rooms<Line> = Rooms::new();
    let connection = connect(Events::default());
    assert_eq!(put(&rooms, &key("acme", "r1"), &connection), Ok(true));
    let id = connection.id().to_string();
    assert_eq!(now(rooms.at(&key("acme", "r1")).members())[0].user.to_string(), id);
    assert_eq!(now(rooms.at(&key("acme", "r1")).remove(&id)), 1);
}
