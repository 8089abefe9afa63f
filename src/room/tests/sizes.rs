//! What is too large for a member is a fault of whoever made it.

use futures_util::FutureExt;

use crate::{
    close::CloseReason,
    outbound::OutboundLimits,
    room::{
        OpenRooms, Rooms,
        outcome::{PublishError, Published},
    },
};

use super::{Line, Peer, connect_within, key, now};

/// A peer that came by an endpoint whose messages may have so many bytes.
fn peer_of(rooms: &Rooms<Line>, message_size: usize, user: &str) -> Peer {
    let mut peer = Peer::new(rooms, OpenRooms, user);
    let limits = OutboundLimits { message_size, ..OutboundLimits::of(1 << 20, 100) };
    peer.connection = connect_within(limits, peer.events.clone());
    peer
}

fn announce(rooms: &Rooms<Line>, bytes: usize) -> Result<Published, PublishError> {
    // Two of them are JSON's quotes.
    let line = Line("x".repeat(bytes - 2));
    rooms.at(&key("", "r1")).broadcast(&line).now_or_never().expect("few members")
}

// covers: DL-21
#[test]
fn what_one_member_cannot_take_is_told_to_the_publisher_and_reaches_nobody() {
    let rooms = Rooms::new();
    let [mut speaker, mut roomy, mut small] = [("speaker", 1000), ("roomy", 2000), ("small", 500)]
        .map(|(user, size)| peer_of(&rooms, size, user));
    for peer in [&mut speaker, &mut roomy] {
        peer.join("r1").unwrap();
    }
    let said = |peer: &mut Peer, bytes: usize| peer.tell("r1", &"x".repeat(bytes - 2));
    assert_eq!(said(&mut speaker, 1000), Ok(vec![]));
    assert_eq!(said(&mut speaker, 1001), Err(CloseReason::HandlerFailed), "its own limit");
    assert_eq!(said(&mut roomy, 1001), Err(CloseReason::HandlerFailed), "another's");

    small.join("r1").unwrap();
    assert_eq!(said(&mut speaker, 501), Err(CloseReason::HandlerFailed));
    assert_eq!(announce(&rooms, 501), Err(PublishError::TooLarge));
    assert_eq!(announce(&rooms, 500).map(|it| it.members), Ok(3));
    // When it has gone, it is nobody's limit any more; nor is it when one of two has gone.
    let mut again = peer_of(&rooms, 500, "again");
    again.join("r1").unwrap();
    assert_eq!(small.heard().len(), 2, "that it joined, and what fits");
    small.leave("r1").unwrap();
    assert_eq!(announce(&rooms, 501), Err(PublishError::TooLarge));
    drop(again);
    assert_eq!(announce(&rooms, 1000).map(|it| it.members), Ok(2));

    assert!(small.heard().is_empty());
    assert_eq!([&speaker, &roomy].map(|it| it.heard().len()), [4, 4]);
    assert!(speaker.events.take().contains(&"refused room.message_size".to_owned()));
}

// covers: DL-21
#[test]
fn where_nobody_is_everything_fits() {
    let rooms = Rooms::new();
    let mut small = peer_of(&rooms, 500, "small");
    small.join("r1").unwrap();
    now(rooms.at(&key("", "r1")).remove("small"));
    assert_eq!(announce(&rooms, 5000).map(|it| it.members), Ok(0));
}

// covers: DL-21
#[test]
fn a_notice_that_is_too_large_fails_the_join_and_closes_no_one_else() {
    let rooms = Rooms::new();
    let mut listener = peer_of(&rooms, 1000, "listener");
    listener.join("r1").unwrap();
    let mut tiny = peer_of(&rooms, 5, "tiny");
    assert_eq!(tiny.join("r1"), Err(CloseReason::HandlerFailed));
    assert!(tiny.heard().is_empty());
    assert_eq!(now(rooms.at(&key("", "r1")).members()).len(), 1);
    assert_eq!(announce(&rooms, 1000).map(|it| it.members), Ok(1), "its limit is no limit here");
}
