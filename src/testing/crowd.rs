//! A few users in rooms, and who of them should hear what.

use std::collections::BTreeSet;

use super::{Content, Heard, Properties, TestPeer, content::shown, properties::all};

/// Users, and the rooms that they should be in.
pub(super) struct Crowd<'a> {
    properties: &'a Properties<'a>,
    seed: u64,
    peers: Vec<TestPeer>,
    places: BTreeSet<(&'static str, usize)>,
    /// How many texts have been said; no two are alike.
    told: usize,
}

impl<'a> Crowd<'a> {
    pub(super) async fn new(properties: &'a Properties<'a>, seed: u64) -> Self {
        let mut peers = Vec::new();
        for user in 0..USERS {
            peers.push(properties.log_in(user).await);
        }
        Self { properties, seed, peers, places: BTreeSet::new(), told: 0 }
    }

    pub(super) fn is_in(&self, user: usize, room: &'static str) -> bool {
        self.places.contains(&(room, user))
    }

    pub(super) fn members(&self, room: &'static str) -> Vec<usize> {
        (0..USERS).filter(|&user| self.is_in(user, room)).collect()
    }

    pub(super) fn join(&mut self, user: usize, room: &'static str, message: impl Content) {
        self.peers[user].send(message);
        self.places.insert((room, user));
    }

    pub(super) fn leave(&mut self, user: usize, room: &'static str, message: impl Content) {
        self.peers[user].send(message);
        self.places.remove(&(room, user));
    }

    pub(super) async fn come_back(&mut self, user: usize) {
        self.peers[user] = self.properties.log_in(user).await;
        self.places.retain(|(_, it)| *it != user);
    }

    /// The user says something new; returns its number.
    pub(super) fn tell<S: Content>(&mut self, user: usize, say: impl FnOnce(&str) -> S) -> usize {
        self.told += 1;
        self.peers[user].send(say(&format!("{MARK}{}.", self.told)));
        self.told
    }

    /// Members of `room` have heard `told`, in one order, and nobody has heard anything else.
    pub(super) fn check(&mut self, room: &'static str, told: &[usize]) {
        let (seed, members) = (self.seed, self.members(room));
        let mut order = None;
        for (user, peer) in self.peers.iter_mut().enumerate() {
            let heard = marks(peer);
            if !members.contains(&user) {
                assert!(
                    heard.is_empty(),
                    "seed {seed}: user {user}, not in {room}, heard {heard:?}"
                );
                continue;
            }
            let order = order.get_or_insert_with(|| heard.clone());
            assert_eq!(heard, *order, "seed {seed}: the members of {room} hear different orders");
            let mut sorted = heard;
            sorted.sort_unstable();
            assert_eq!(sorted, told, "seed {seed}: user {user}, in {room}, heard (left)");
        }
    }
}

/// The numbers of the texts that the peer has heard.
fn marks(peer: &mut TestPeer) -> Vec<usize> {
    let number = |heard: &Heard| {
        let Heard::Message(message) = heard else { return None };
        let shown = shown(message);
        let (_, behind) = shown.split_once(MARK)?;
        behind.split('.').next()?.parse().ok()
    };
    all(peer).iter().filter_map(number).collect()
}

const MARK: &str = "said-";
pub(super) const USERS: usize = 4;
pub(super) const ROOMS: [&str; 3] = ["room-1", "room-2", "room-3"];
