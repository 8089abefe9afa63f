//! Who is in a room, against a plain set, while places move.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use proptest::{collection::vec, prelude::*};

use crate::room::{OpenRooms, Rooms};

use super::{Line, Peer, key, now};

const PEERS: usize = 12;

#[derive(Clone, Debug)]
enum Operation {
    Join(usize),
    Leave(usize),
    /// Two peers are one user.
    Remove(usize),
    End(usize),
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (0..PEERS).prop_map(Operation::Join),
        3 => (0..PEERS).prop_map(Operation::Leave),
        1 => (0..PEERS / 2).prop_map(Operation::Remove),
        1 => (0..PEERS).prop_map(Operation::End),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    // covers: RM-12, RM-17
    // holds: I2, I8
    #[test]
    fn those_who_hear_a_room_are_those_who_are_in_it(operations in vec(operation(), 0..100)) {
        let rooms: Rooms<Line> = Rooms::new();
        let lobby = rooms.at(&key("", "r1"));
        let peer = |n: usize| Peer::new(&rooms, OpenRooms, &format!("u{}", n / 2));
        let mut peers: Vec<_> = (0..PEERS).map(peer).collect();
        let mut members = BTreeSet::new();
        for operation in operations {
            match operation {
                Operation::Join(n) => {
                    peers[n].join("r1").unwrap();
                    members.insert(n);
                }
                Operation::Leave(n) => {
                    peers[n].leave("r1").unwrap();
                    members.remove(&n);
                }
                Operation::Remove(user) => {
                    let theirs = [2 * user, 2 * user + 1].map(|it| members.remove(&it));
                    let expected = theirs.into_iter().filter(|it| *it).count();
                    prop_assert_eq!(now(lobby.remove(&format!("u{user}"))), expected);
                }
                Operation::End(n) => {
                    peers[n] = peer(n);
                    members.remove(&n);
                }
            }
            peers.iter().for_each(|peer| drop(peer.heard()));
            let published = lobby.broadcast(&Line("?".into())).now_or_never().unwrap().unwrap();
            let heard = (0..PEERS).filter(|n| peers[*n].heard() == ["?"]).collect::<BTreeSet<_>>();
            prop_assert_eq!(&heard, &members);
            prop_assert_eq!(published.members, members.len());
            prop_assert_eq!(now(lobby.members()).len(), members.len());
        }
        drop(peers);
        prop_assert!(rooms.is_empty() && rooms.shares_are_given_back());
    }
}
