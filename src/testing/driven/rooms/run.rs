//! Put rooms through operations, and look at every wire after each.

use std::{num::NonZeroUsize, time::Duration};

use crate::{
    close::{Close, CloseReason},
    driver::ConnectionConfig,
    room::{RoomKey, RoomName},
    testing::invariant::Invariant,
};

use super::{
    model::Model,
    operation::{Operation, PEERS, ROOMS, Saying},
    peer::Peer,
    service::{Chat, Line, Say},
};

/// The peers of [`PEERS`] in their rooms, and what is expected of them.
pub struct Run {
    chat: Chat,
    peers: Vec<Peer>,
    model: Model,
    /// How many texts there were: no two are the same.
    texts: usize,
}

impl Run {
    /// All peers are connected, and in no room.
    pub async fn new() -> Self {
        let mut run =
            Self { chat: Chat::new(), peers: Vec::new(), model: Model::default(), texts: 0 };
        for at in 0..PEERS.len() {
            let peer = Peer::new(run.chat.connect(at, config()).await);
            run.peers.push(peer);
            run.model.connect(at);
        }
        run
    }

    /// Does it, lets all connections run until nothing is left to do, and checks what holds then. No
    /// time passes but in [`Operation::Late`], and for who waits to publish.
    pub async fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Say(at, saying) => self.say(*at, saying),
            Operation::Decide(at, verdict) => {
                self.chat.decide(*at, *verdict);
                self.model.decide(*at, *verdict);
            }
            Operation::Announce(at, room, size) => self.announce(*at, *room, *size).await,
            Operation::Remove(at, room) => {
                let removed = self.chat.rooms.at(&key(*at, *room)).remove(PEERS[*at].1).await;
                let expected = self.model.remove(*at, *room);
                Invariant::RoomsApart
                    .assert(removed == Ok(expected), || format!("{removed:?} members removed"));
            }
            Operation::Close(at) => {
                self.peers[*at].served.connection.close(Close::FORBIDDEN);
                self.model.end(*at, CloseReason::Forbidden.code());
            }
            Operation::Cut(at) => {
                self.peers[*at].served.peer.break_down();
                self.model.cut(*at);
            }
            // When something is heard that a slow peer has said is nobody's promise.
            Operation::Slow(at, _) if !self.model.peers[*at].said.is_empty() => {}
            Operation::Slow(at, room) => {
                self.peers[*at].served.peer.room(*room);
                let expected = &mut self.model.peers[*at];
                (expected.weak, expected.was_slow) = (true, true);
            }
            Operation::Fast(at) => self.peers[*at].served.peer.room(None),
            Operation::Return(at) => {
                let next = Peer::new(self.chat.connect(*at, config()).await);
                let last = std::mem::replace(&mut self.peers[*at], next);
                self.model.connect(*at);
                assert_over(last);
            }
            Operation::Late(millis) => tokio::time::advance(Duration::from_millis(*millis)).await,
        }
        self.settle().await;
        (0..PEERS.len()).for_each(|at| self.check(at));
        let (rooms, occupied) = (self.chat.rooms.len(), self.model.occupied());
        Invariant::AllReturned.assert(rooms == occupied, || format!("{rooms} rooms"));
        if let Operation::Fast(at) = operation {
            let broken = self.peers[*at].served.peer.socket().broken;
            let expected = &mut self.model.peers[*at];
            // What was lost meanwhile stays lost.
            expected.weak &= broken || !expected.open;
        }
    }

    /// Closes all connections, and checks that nothing is left of them.
    pub async fn finish(mut self) {
        for at in 0..PEERS.len() {
            self.apply(&Operation::Close(at)).await;
        }
        // What was queued may take one, and the close frame another.
        for _ in 0..2 {
            self.apply(&Operation::Late(CLOSE.as_millis() as u64)).await;
        }
        let returned = Invariant::AllReturned;
        for peer in self.peers {
            returned.assert(peer.served.done, || "not done within two close timeouts".into());
            returned.assert(peer.served.budget.used() == 0, || "bytes are still charged".into());
            assert_over(peer);
        }
        returned.assert(self.chat.rooms.is_empty(), || "rooms without anybody in them".into());
    }

    fn say(&mut self, at: usize, saying: &Saying) {
        let expected = &self.model.peers[at];
        // What is said in one breath may be more than a queue takes.
        if expected.weak || expected.said.len() == BREATH {
            return;
        }
        let text =
            if let Saying::Chat(_, size) = saying { self.text(*size) } else { String::new() };
        let peer = &self.peers[at];
        match *saying {
            Saying::Join(room) => peer.say(&Say::Join { room: name(room) }),
            Saying::Leave(room) => peer.say(&Say::Leave { room: name(room) }),
            Saying::Chat(room, _) => {
                peer.say(&Say::Chat { room: name(room), text: text.clone() });
            }
            Saying::Bye => peer.say_goodbye(),
        }
        self.model.say(at, saying, text);
    }

    async fn announce(&mut self, at: usize, room: usize, size: usize) {
        let line = self.text(size);
        let published =
            self.chat.rooms.at(&key(at, room)).broadcast(&Line(line.clone())).await.unwrap();
        let (least, most) = self.model.publish((PEERS[at].0, room), &line);
        let right = (least..=most).contains(&published.members);
        Invariant::RoomsApart.assert(right, || format!("{published:?}, of {least} to {most}"));
    }

    fn text(&mut self, size: usize) -> String {
        self.texts += 1;
        format!("{} {}", self.texts, "x".repeat(size))
    }

    async fn settle(&mut self) {
        for _ in 0..SETTLES {
            // Who publishes much lets others run, and tokio wakes it when this task does, too.
            tokio::task::yield_now().await;
            let mut turns = 0;
            for peer in &mut self.peers {
                turns += peer.served.settle().await;
            }
            if turns == 0 && !self.chat.rooms.are_waited_for() {
                return;
            }
            if turns == 0 {
                // Who publishes faster than 1 MB/s to somebody who is behind has to wait.
                tokio::time::advance(Duration::from_millis(1)).await;
            }
        }
        panic!("they wake each other for ever");
    }

    fn check(&mut self, at: usize) {
        let peer = &mut self.peers[at];
        peer.listen();
        let rooms = peer.rooms();
        if self.model.peers[at].weak {
            let left = rooms.is_empty() && !self.model.rooms(at).is_empty();
            let stopped = self.model.is_asking(at) && !self.chat.is_asking(at);
            if left || stopped || peer.closed.is_some() || peer.served.done {
                self.model.end(at, None);
            }
        }
        let expected = &self.model.peers[at];
        let right = rooms == self.model.rooms(at);
        Invariant::RoomsApart.assert(right, || {
            format!("peer {at} is in {rooms:?}, closed with {:?}", peer.served.records.all_closed())
        });

        let heard = &peer.heard;
        let (right, all) = expected.judge(heard);
        let seen = || format!("{:?} heard {heard:#?}, of {expected:#?}", PEERS[at]);
        Invariant::RoomsApart.assert(right, seen);
        let gaps = heard.iter().any(|line| line.starts_with("gap "));
        Invariant::InOrder.assert(!gaps || expected.was_slow, seen);
        if expected.weak {
            return;
        }
        Invariant::NoWaiting.assert(all || expected.hasty, seen);
        let code = peer.closed.as_deref().and_then(|it| it.first_chunk());
        let code = code.map(|it| u16::from_be_bytes(*it));
        Invariant::KnownCloses.assert(code == expected.close, || format!("closed with {code:?}"));
    }
}

/// What holds for a connection whose task is over, or was dropped.
fn assert_over(peer: Peer) {
    let (peer, records) = peer.served.abort();
    let (returned, rooms) = (Invariant::AllReturned, records.memberships());
    returned.assert(rooms.values().all(|it| *it == 0), || format!("still in {rooms:?}"));
    returned.assert(peer.socket().gone, || "the socket".into());
    let ends = (records.connected(), records.all_closed().len());
    Invariant::OneEnd.assert(ends == (1, 1), || format!("{ends:?} records"));
}

fn key(at: usize, room: usize) -> RoomKey {
    RoomKey::in_tenant(PEERS[at].0, name(room))
}

fn name(room: usize) -> RoomName {
    ROOMS[room].parse().unwrap()
}

/// Nothing but the socket ends a connection by itself.
fn config() -> ConnectionConfig {
    ConnectionConfig::new()
        .ping_interval(Duration::MAX)
        .handler_timeout(Duration::MAX)
        .write_timeout(Duration::from_millis(100))
        .close_timeout(CLOSE)
        .max_outbound_bytes(NonZeroUsize::new(4 * 1024).unwrap())
}

const CLOSE: Duration = Duration::from_millis(50);
const BREATH: usize = 4;
const SETTLES: usize = 1000;
