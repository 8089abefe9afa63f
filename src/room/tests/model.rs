//! The registry against a plain model: maps of sets, and a list of lines for each connection.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt;
use proptest::prelude::*;

use crate::{
    close::CloseReason,
    room::{OpenRooms, Rooms},
};

use super::{Line, Peer, key};

const USERS: [&str; 5] = ["a/alice", "a/alice", "a/bob", "b/alice", "b/carol"];
const ROOMS: [&str; 3] = ["r0", "r1", "r2"];

#[derive(Clone, Debug)]
enum Operation {
    Join(usize, usize),
    Leave(usize, usize),
    Broadcast(usize, usize),
    /// The application's own broadcast, to a tenant's room.
    Announce(&'static str, usize),
    Kick(&'static str, usize, &'static str),
    /// The connection ends, and the same user comes back.
    Drop(usize),
}

fn operation() -> impl Strategy<Value = Operation> {
    let peer = || 0..USERS.len();
    let room = || 0..ROOMS.len();
    let tenant = || prop_oneof![Just("a"), Just("b")];
    let user = prop_oneof![Just("alice"), Just("bob"), Just("carol")];
    prop_oneof![
        4 => (peer(), room()).prop_map(|(peer, room)| Operation::Join(peer, room)),
        2 => (peer(), room()).prop_map(|(peer, room)| Operation::Leave(peer, room)),
        6 => (peer(), room()).prop_map(|(peer, room)| Operation::Broadcast(peer, room)),
        1 => (tenant(), room()).prop_map(|(tenant, room)| Operation::Announce(tenant, room)),
        1 => (tenant(), room(), user).prop_map(|(tenant, room, user)| Operation::Kick(tenant, room, user)),
        1 => peer().prop_map(Operation::Drop),
    ]
}

/// Who should be where, and who should have heard what.
#[derive(Default)]
struct Model {
    members: BTreeMap<(&'static str, usize), BTreeSet<usize>>,
    heard: [Vec<String>; USERS.len()],
    events: [Vec<String>; USERS.len()],
}

fn tenant(peer: usize) -> &'static str {
    USERS[peer].split_once('/').unwrap().0
}

fn user(peer: usize) -> &'static str {
    USERS[peer].split_once('/').unwrap().1
}

impl Model {
    fn room(&mut self, tenant: &'static str, room: usize) -> &mut BTreeSet<usize> {
        self.members.entry((tenant, room)).or_default()
    }

    fn leave(&mut self, peer: usize, room: usize) -> bool {
        let was = self.room(tenant(peer), room).remove(&peer);
        if was {
            let event = format!("left {} {}/{}", user(peer), tenant(peer), ROOMS[room]);
            self.events[peer].push(event);
        }
        was
    }

    fn publish(&mut self, tenant: &'static str, room: usize, line: &str) -> usize {
        let members = self.room(tenant, room).clone();
        for &member in &members {
            self.heard[member].push(line.to_owned());
        }
        members.len()
    }

    fn occupied(&self) -> usize {
        self.members.values().filter(|members| !members.is_empty()).count()
    }
}

fn run(operations: Vec<Operation>) -> Result<(), TestCaseError> {
    let rooms: Rooms<Line> = Rooms::new();
    let mut peers = USERS.map(|user| Peer::new(&rooms, OpenRooms, user));
    let mut model = Model::default();
    for (n, operation) in operations.into_iter().enumerate() {
        let line = format!("line {n}");
        match operation {
            Operation::Join(at, room) => {
                let answer = peers[at].join(ROOMS[room]);
                let notice = format!("joined {}", ROOMS[room]);
                if model.room(tenant(at), room).insert(at) {
                    prop_assert_eq!(answer, Ok(vec![]));
                    model.heard[at].push(notice);
                    let event = format!("joined {} {}/{}", user(at), tenant(at), ROOMS[room]);
                    model.events[at].push(event);
                } else {
                    prop_assert_eq!(answer, Ok(vec![notice]));
                }
            }
            Operation::Leave(at, room) => {
                model.leave(at, room);
                let left = format!("left {}", ROOMS[room]);
                prop_assert_eq!(peers[at].leave(ROOMS[room]), Ok(vec![left]));
            }
            Operation::Broadcast(at, room) => {
                let answer = peers[at].tell(ROOMS[room], &line);
                if model.room(tenant(at), room).contains(&at) {
                    let members = model.publish(tenant(at), room, &line);
                    let event = format!("published {}/{} {members}", tenant(at), ROOMS[room]);
                    model.events[at].push(event);
                    prop_assert_eq!(answer, Ok(vec![]));
                } else {
                    prop_assert_eq!(answer, Err(CloseReason::NotAMember));
                    // Recorded once a second only: the model leaves refusals out.
                }
            }
            Operation::Announce(tenant, room) => {
                let at = rooms.at(&key(tenant, ROOMS[room]));
                let published = at.broadcast(&Line(line.clone())).now_or_never();
                let members = model.publish(tenant, room, &line);
                prop_assert_eq!(published.and_then(Result::ok).map(|it| it.members), Some(members));
            }
            Operation::Kick(tenant, room, id) => {
                let removed = rooms.at(&key(tenant, ROOMS[room])).remove(id);
                let theirs: Vec<_> = model.room(tenant, room).iter().copied().collect();
                let theirs = theirs.into_iter().filter(|&it| user(it) == id);
                prop_assert_eq!(removed, theirs.map(|it| model.leave(it, room)).count());
            }
            Operation::Drop(at) => {
                let next = Peer::new(&rooms, OpenRooms, USERS[at]);
                let last = std::mem::replace(&mut peers[at], next);
                check(last, at, &mut model)?;
            }
        }
        prop_assert_eq!(rooms.len(), model.occupied());
    }
    for (at, peer) in peers.into_iter().enumerate() {
        check(peer, at, &mut model)?;
    }
    prop_assert!(rooms.is_empty());
    Ok(())
}

/// What the peer heard, in order, and what was recorded of it when its connection has ended. The
/// order of several rooms' `left` at that point is nobody's promise.
fn check(peer: Peer, at: usize, model: &mut Model) -> Result<(), TestCaseError> {
    for room in 0..ROOMS.len() {
        model.leave(at, room);
    }
    prop_assert_eq!(peer.heard(), std::mem::take(&mut model.heard[at]));
    let events = peer.events.clone();
    drop(peer);
    let mut recorded = events.take();
    recorded.retain(|it| !it.starts_with("refused"));
    let mut expected = std::mem::take(&mut model.events[at]);
    let ended =
        |events: &[String]| events.iter().rev().take_while(|it| it.starts_with("left")).count();
    prop_assert_eq!(ended(&recorded), ended(&expected));
    for events in [&mut recorded, &mut expected] {
        let end = events.len() - ended(events);
        events[end..].sort();
    }
    prop_assert_eq!(recorded, expected);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    // covers: RM-01, RM-06, RM-10, RM-12
    // holds: I2
    #[test]
    fn no_message_leaves_a_room_except_to_its_members(
        operations in proptest::collection::vec(operation(), 0..120),
    ) {
        run(operations)?;
    }
}
