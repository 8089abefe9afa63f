//! A few users in rooms, and who of them should hear what.

use std::collections::BTreeSet;

use super::{Content, Properties, Received, TestPeer, properties::all};

/// Users, and the rooms that they should be in.
pub(super) struct Crowd<'a> {
    properties: &'a Properties<'a>,
    seed: u64,
    peers: Vec<TestPeer>,
    places: BTreeSet<(&'static str, usize)>,
    /// Who has said each text that was ever said; no two are alike.
    said: Vec<usize>,
    /// What has been said in a room by its members since the last check.
    due: Vec<usize>,
}

impl<'a> Crowd<'a> {
    pub(super) async fn new(properties: &'a Properties<'a>, seed: u64) -> Self {
        let mut peers = Vec::new();
        for user in 0..USERS {
            peers.push(properties.log_in(user, seed).await);
        }
        let (places, said, due) = Default::default();
        Self { properties, seed, peers, places, said, due }
    }

    pub(super) fn is_in(&self, user: usize, room: &'static str) -> bool {
        self.places.contains(&(room, user))
    }

    pub(super) fn join(&mut self, user: usize, room: &'static str, message: impl Content) {
        self.peers[user].send(message);
        self.places.insert((room, user));
    }

    /// The user leaves, and has an answer to that, if there are any.
    pub(super) async fn leave(&mut self, user: usize, room: &'static str, message: impl Content) {
        let peer = &mut self.peers[user];
        peer.send(message);
        let _ = tokio::time::timeout(self.properties.settling(), peer.hear()).await;
        self.places.remove(&(room, user));
    }

    pub(super) async fn come_back(&mut self, user: usize) {
        drop(self.peers.remove(user));
        self.properties.settled().await;
        self.peers.insert(user, self.properties.log_in(user, self.seed).await);
        self.places.retain(|(_, it)| *it != user);
    }

    /// The user says something new.
    pub(super) fn tell<S: Content>(&mut self, user: usize, say: impl FnOnce(&str) -> S) {
        self.peers[user].send(say(&format!("{MARK}{}.", self.said.len())));
        self.said.push(user);
    }

    /// All members of `room` say something new, and the first of them once more.
    pub(super) fn all_tell<S: Content>(&mut self, room: &'static str, say: impl Fn(&str) -> S) {
        let members: Vec<_> = (0..USERS).filter(|&user| self.is_in(user, room)).collect();
        for &user in members.iter().chain(members.first()) {
            self.due.push(self.said.len());
            self.tell(user, &say);
        }
    }

    /// Members of `room` have heard what is due, in one order, and nothing else was heard.
    pub(super) fn check(&mut self, room: &'static str) {
        let (seed, due) = (self.seed, std::mem::take(&mut self.due));
        let mut heard = Vec::new();
        for (user, peer) in self.peers.iter_mut().enumerate() {
            let all = all(peer);
            let others = |it: &usize| self.said.get(*it) != Some(&user);
            let marks: Vec<_> = all.iter().flat_map(marks).filter(others).collect();
            if !self.places.contains(&(room, user)) {
                assert!(marks.is_empty(), "seed {seed}: user {user}, not in {room}, heard {all:?}");
                continue;
            }
            let due: Vec<_> = due.iter().copied().filter(others).collect();
            let mut sorted = marks.clone();
            sorted.sort_unstable();
            assert_eq!(
                sorted, due,
                "seed {seed}: due to user {user}, in {room}, who heard {all:?}"
            );
            heard.push((user, marks));
        }
        for (one, first) in &heard {
            self.check_senders(first);
            for (other, second) in &heard {
                let both = |marks: &[usize]| -> Vec<usize> {
                    let theirs = |it: &usize| ![*one, *other].contains(&self.said[*it]);
                    marks.iter().copied().filter(theirs).collect()
                };
                let (first, second) = (both(first), both(second));
                assert_eq!(first, second, "seed {seed}: members of {room} hear different orders");
            }
        }
    }

    /// What one user says comes in the order it was said.
    fn check_senders(&self, marks: &[usize]) {
        for user in 0..USERS {
            let theirs = marks.iter().filter(|it| self.said[**it] == user);
            let seed = self.seed;
            assert!(
                theirs.is_sorted(),
                "seed {seed}: user {user} said it in another order: {marks:?}"
            );
        }
    }
}

/// The numbers of the texts that are in what was heard.
fn marks(heard: &Received) -> Vec<usize> {
    let Received::Message(message) = heard else { return Vec::new() };
    let text = String::from_utf8_lossy(message.as_bytes());
    let numbers = text.split(MARK).skip(1).filter_map(|it| it.split('.').next());
    numbers.filter_map(|it| it.parse().ok()).collect()
}

const MARK: &str = "said-";
pub(super) const USERS: usize = 4;
/// Names that a careless comparison takes for one another.
pub(super) const ROOMS: [&str; 3] = ["room-1", "room-10", "Room-1"];
