//! The application puts connections into rooms, whether anybody asks for it or not.

use futures_util::FutureExt;

use crate::{
    close::CloseReason,
    connection::Connection,
    outbound::OutboundLimits,
    room::{JoinError, OpenRooms, Rooms, RoomsConfig},
    testing::Records,
};

use super::{Events, Line, Peer, connect, connect_within, count, drain, key, now};

fn join(rooms: &Rooms<Line>, name: &str, connection: &Connection) -> Result<bool, JoinError> {
    rooms.at(&key("", name)).join(connection).now_or_never().expect("nothing to wait for")
}

fn say(rooms: &Rooms<Line>, name: &str, line: &str) -> usize {
    let said = rooms.at(&key("", name)).broadcast(&Line(line.into())).now_or_never();
    said.unwrap().unwrap().members
}

// holds: I8
#[test]
fn who_has_not_logged_in_hears_a_room_that_it_was_put_into_until_it_ends() {
    let (rooms, events) = (Rooms::new(), Events::default());
    let connection = connect(events.clone());
    assert_eq!(join(&rooms, "r1", &connection), Ok(true));
    assert_eq!(join(&rooms, "r1", &connection), Ok(false), "once");
    assert_eq!(join(&rooms, "r2", &connection), Ok(true));
    assert_eq!((say(&rooms, "r1", "one"), say(&rooms, "r2", "two")), (1, 1));
    assert_eq!(drain(&connection), ["joined r1", "joined r2", "one", "two"]);
    let members = now(rooms.at(&key("", "r1")).members());
    let id = connection.id().to_string();
    assert_eq!(
        (members.len(), &*members[0].user, members[0].connection_id),
        (1, &*id, connection.id())
    );
    // A handle that is kept keeps nobody in.
    connection.attached().drop_all();
    assert!(rooms.is_empty() && rooms.shares_are_given_back());
    assert_eq!(events.take(), ["joined nobody r1", "joined nobody r2", "left nobody 2: r1 r2"]);
}

#[test]
fn it_is_removed_by_its_connection_or_by_its_id() {
    let rooms = Rooms::new();
    let connections = [connect(Events::default()), connect(Events::default())];
    for connection in &connections {
        assert_eq!(join(&rooms, "r1", connection), Ok(true));
    }
    let r1 = rooms.at(&key("", "r1"));
    assert!(now(r1.remove_connection(&connections[0])));
    assert!(!now(r1.remove_connection(&connections[0])));
    assert_eq!(drain(&connections[0]), ["joined r1", "removed r1"]);
    assert_eq!(now(r1.remove(&connections[1].id().to_string())), 1);
    assert_eq!(join(&rooms, "r1", &connections[0]), Ok(true), "it may be put there again");
    assert_eq!(say(&rooms, "r1", "back"), 1);
    assert_eq!(drain(&connections[0]), ["joined r1", "back"]);
}

#[test]
fn who_logs_in_later_is_found_by_its_user() {
    let rooms = Rooms::new();
    let connection = connect(Events::default());
    assert_eq!(join(&rooms, "r1", &connection), Ok(true));
    let user = super::User { tenant: String::new(), id: "alice".into() };
    connection.authenticated(&user, None, crate::login::Login::now()).unwrap();
    assert_eq!(now(rooms.at(&key("", "r1")).remove("alice")), 1);
    assert!(rooms.is_empty());
}

// covers: RM-13
#[test]
fn a_connection_is_in_a_room_once_whoever_has_put_it_there() {
    let rooms = Rooms::new();
    let mut peer = Peer::new(&rooms, OpenRooms, "alice");
    // First the peer, then the application.
    peer.join("r1").unwrap();
    assert_eq!(join(&rooms, "r1", &peer.connection), Ok(false));
    // And the other way round.
    assert_eq!(join(&rooms, "r2", &peer.connection), Ok(true));
    assert_eq!(peer.join("r2"), Ok(vec!["joined r2".to_owned()]));
    for name in ["r1", "r2"] {
        assert_eq!(say(&rooms, name, name), 1);
    }
    assert_eq!(peer.heard(), ["joined r1", "joined r2", "r1", "r2"]);
    // It speaks there, and leaves it, as in any other.
    assert_eq!(peer.tell("r2", "as a member"), Ok(vec![]));
    assert_eq!(peer.heard(), ["as a member"]);
    assert_eq!(peer.leave("r2"), Ok(vec!["left r2".to_owned()]));
    assert_eq!(say(&rooms, "r2", "nobody"), 0);
    assert_eq!(peer.tell("r2", "not in it"), Err(CloseReason::NotAMember));
    // Removed, it is told so as anybody else.
    assert_eq!(join(&rooms, "r2", &peer.connection), Ok(true));
    assert_eq!(now(rooms.at(&key("", "r2")).remove("alice")), 1);
    assert_eq!(peer.tell("r2", "under way"), Ok(vec!["removed r2".to_owned()]));
    assert_eq!(peer.join("r2"), Ok(vec![]), "it may ask by itself");
    assert_eq!(say(&rooms, "r2", "by itself"), 1);
    assert_eq!(peer.heard(), ["joined r2", "removed r2", "joined r2", "by itself"]);
}

#[test]
fn what_does_not_fit_is_said_and_leaves_nothing() {
    let rooms = Rooms::with(RoomsConfig::new().max_members(count(1)).max_rooms(count(2)));
    let [first, second] = [(); 2].map(|()| connect(Events::default()));
    assert_eq!(join(&rooms, "r1", &first), Ok(true));
    assert_eq!(join(&rooms, "r1", &second), Err(JoinError::Full), "the room");
    assert_eq!(join(&rooms, "r2", &second), Ok(true));
    assert_eq!(join(&rooms, "r3", &second), Err(JoinError::Full), "rooms");
    let limits = OutboundLimits { message_size: 5, ..OutboundLimits::of(1 << 20, 100) };
    let tiny = connect_within(limits, Events::default());
    assert!(now(rooms.at(&key("", "r2")).remove_connection(&second)));
    assert_eq!(join(&rooms, "r2", &tiny), Err(JoinError::Encode));
    first.outbound().close();
    assert_eq!(join(&rooms, "r2", &first), Err(JoinError::Closed));
    assert_eq!(rooms.len(), 1);
}

// covers: RM-12
// holds: I8
#[test]
fn what_it_has_joined_and_what_it_was_put_into_end_by_themselves_and_are_both_recorded() {
    let records = Records::new();
    let rooms = Rooms::new();
    let mut peer = Peer::new(&rooms, OpenRooms, "alice");
    let user = super::User { tenant: String::new(), id: "alice".into() };
    peer.connection = connect(records.clone());
    peer.connection.authenticated(&user, None, crate::login::Login::now()).unwrap();
    for n in 0..20 {
        peer.join(&format!("own{n}")).unwrap();
        assert_eq!(join(&rooms, &format!("put{n}"), &peer.connection), Ok(true));
    }
    assert!(records.memberships().values().all(|it| *it == 1));
    let connection = peer.connection.clone();
    drop(peer);
    assert_eq!(rooms.len(), 20, "a connection whose stack is gone is not over yet");
    connection.attached().drop_all();
    assert!(rooms.is_empty() && records.memberships().values().all(|it| *it == 0));
}
