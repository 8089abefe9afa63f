//! No user and no address takes all rooms.

use std::net::SocketAddr;

use crate::{
    Connection,
    audit::Audit,
    client_addr::ClientAddr,
    room::{OpenRooms, Rooms, RoomsConfig, RoomsLayer},
};

use super::{Line, Peer, User, count, limits};

fn layer(rooms: &Rooms<Line>, each: usize) -> RoomsLayer<User, OpenRooms, Line> {
    RoomsLayer::new(rooms.clone(), OpenRooms).max_rooms_per_connection(count(each))
}

/// A peer at `address`, if the server is told any.
fn peer_at(layer: &RoomsLayer<User, OpenRooms, Line>, user: &str, address: Option<&str>) -> Peer {
    let mut peer = Peer::with_layer(layer, user);
    let address = address.map(|it| SocketAddr::new(it.parse().unwrap(), 1)).map(ClientAddr::direct);
    peer.connection = Connection::new(address, limits(), None, Audit::new(peer.events.clone()));
    peer
}

/// Joins rooms of its own until it is refused, and returns how many; says by which rule.
fn joins(peer: &mut Peer, name: &str) -> (usize, Option<String>) {
    for n in 0..1_000 {
        let answer = peer.join(&format!("{name}-{n}")).unwrap();
        if answer.first().is_some_and(|it| it.starts_with("too_many_rooms ")) {
            let refused = peer.events.take().pop();
            return (n, refused);
        }
        assert_eq!(answer, [""; 0], "{name}");
    }
    (1_000, None)
}

// covers: RM-18
#[test]
fn a_user_has_a_share_of_all_rooms_however_many_connections_it_has() {
    let rooms = Rooms::with(RoomsConfig::new().max_rooms(count(5_000)));
    let layer = layer(&rooms, 25);
    let mut peers: Vec<_> =
        (0..5).map(|n| peer_at(&layer, "eve", Some(&format!("192.0.2.{n}")))).collect();
    let joined: Vec<_> =
        peers.iter_mut().enumerate().map(|(n, peer)| joins(peer, &n.to_string())).collect();
    let (each, own) = ("refused room.rooms_per_connection", "refused room.rooms_per_user");
    let expected = [(25, each), (25, each), (25, each), (25, each), (0, own)];
    assert_eq!(joined, expected.map(|(n, rule)| (n, Some(rule.to_owned()))));

    // Another is not hindered by it; nor is one of the same name in another tenant.
    for other in ["ada", "acme/eve"] {
        assert_eq!(
            joins(&mut peer_at(&layer, other, None), other.trim_start_matches("acme/")).0,
            25
        );
    }
    // What is left is free for its other connections, and what ends is too.
    peers[0].leave("0-0").unwrap();
    assert_eq!(peers[4].join("one").unwrap(), [""; 0]);
    assert_eq!(peers[4].join("two").unwrap(), ["too_many_rooms two"]);
    drop(peers.remove(0));
    assert_eq!(joins(&mut peers[3], "more").0, 24);
    drop(peers);
    assert!(rooms.is_empty() && rooms.shares_are_given_back());
}

// covers: RM-18
#[test]
fn an_address_has_a_share_of_all_rooms_however_many_users_come_from_it() {
    let rooms = Rooms::with(RoomsConfig::new().max_rooms(count(2_000)));
    let layer = layer(&rooms, 5);
    let mut peers = Vec::new();
    let mut joined = |from: &dyn Fn(usize) -> Option<String>| {
        let before = rooms.len();
        for n in 0..100 {
            let mut peer = peer_at(&layer, &format!("user-{}", peers.len()), from(n).as_deref());
            let name = peers.len().to_string();
            let (_, rule) = joins(&mut peer, &name);
            let rules = ["refused room.rooms_per_connection", "refused room.rooms_per_address"];
            assert!(rules.contains(&&*rule.unwrap()));
            peers.push(peer);
        }
        rooms.len() - before
    };
    assert_eq!(joined(&|_| Some("192.0.2.1".into())), 200, "a tenth");
    assert_eq!(joined(&|n| Some(format!("2001:db8:1:1::{n:x}"))), 200, "a /64 is one address");
    assert_eq!(joined(&|n| Some(format!("2001:db8:1:{:x}::1", n + 256))), 400, "a /56 is two");
    assert_eq!(
        joined(&|n| Some(format!("2001:db8:1:{:x}::1", (n + 2) << 8))),
        200,
        "a /48 is four"
    );
    assert_eq!(joined(&|n| Some(format!("198.51.100.{n}"))), 500);
    // Where nobody says who it is, there is no address to count.
    assert_eq!(joined(&|_| None), 500);
    drop(peers);
    assert!(rooms.is_empty() && rooms.shares_are_given_back());
}

// covers: RM-18
#[test]
fn a_share_is_never_less_than_a_client_that_comes_back_needs() {
    // A fiftieth of these would be nothing.
    let rooms =
        Rooms::with(RoomsConfig::new().max_rooms(count(50)).max_memberships_per_user(count(1)));
    let layer = layer(&rooms, 10);
    let mut dead = peer_at(&layer, "ada", Some("192.0.2.1"));
    assert_eq!(joins(&mut dead, "room").0, 10);
    // Its first connection is dead, and is not known to be.
    let mut back = peer_at(&layer, "ada", Some("192.0.2.1"));
    assert_eq!(joins(&mut back, "room").0, 10);
    assert_eq!(rooms.len(), 10);
}

// covers: RM-18
#[test]
fn a_join_that_is_refused_or_comes_to_nothing_takes_no_share() {
    let rooms = Rooms::with(RoomsConfig::new().max_rooms(count(1)));
    let layer = layer(&rooms, 1);
    let mut peer = peer_at(&layer, "ada", Some("192.0.2.1"));
    let mut other = peer_at(&layer, "bob", Some("192.0.2.2"));
    other.join("r1").unwrap();
    for n in 0..10 {
        assert_eq!(
            peer.join(&format!("r{}", n + 2)).unwrap(),
            [format!("join_refused r{}", n + 2)]
        );
    }
    peer.connection.outbound().close();
    assert_eq!(peer.join("r1").unwrap(), [""; 0]);
    drop(other);
    assert!(rooms.is_empty() && rooms.shares_are_given_back());
}
