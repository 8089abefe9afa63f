//! Who should be where, and who should have heard what: sets of members, and for each peer the answers it
//! got and what was said in its rooms, as logs.
//!
//! Between the two there is no order, but for this: what a room says to a member stands between the
//! answers to its join and to its leave. Who is not a member any more may not have heard the last of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::close::{CloseCode, CloseReason};

use super::operation::{ASK, LIVE, NO, PEERS, ROOMS, Saying, Verdict};

/// Tenant and room.
type Key = (&'static str, usize);

#[derive(Default)]
pub(super) struct Model {
    members: BTreeMap<Key, BTreeSet<usize>>,
    pub(super) peers: [Expected; PEERS.len()],
}

/// What is expected of a peer's connection.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// Its answers.
    own: Vec<String>,
    /// Its memberships, those that are over included.
    stays: Vec<Stay>,
    /// The code of the close frame, when there is to be one.
    pub(super) close: Option<u16>,
    pub(super) open: bool,
    /// It may be lost at any time, and may have got less than was meant for it.
    pub(super) weak: bool,
    /// It did not take everything at some time.
    pub(super) was_slow: bool,
    /// It was closed for what it said right behind what was being answered: that may be lost.
    pub(super) hasty: bool,
    /// Rooms that it was removed from, and has neither left nor joined since.
    removed: BTreeSet<usize>,
    /// It waits for the policy.
    asks: Option<Ask>,
    /// What it said since.
    pub(super) said: VecDeque<(Saying, String)>,
}

/// A membership.
#[derive(Debug)]
struct Stay {
    room: usize,
    /// What was said in it.
    log: Vec<String>,
    /// How many answers there were when it began, that to the join included.
    begins: usize,
    /// How many there were when it was over.
    ends: Option<usize>,
}

#[derive(Debug)]
enum Ask {
    Waits,
    /// Whatever the policy says, it is too late.
    Removed,
}

impl Model {
    pub(super) fn connect(&mut self, at: usize) {
        self.end(at, None);
        let own = vec![format!("welcome {}", PEERS[at].1)];
        self.peers[at] = Expected { own, open: true, ..Expected::default() };
    }

    /// The peer said something; `text` is what a chat says.
    pub(super) fn say(&mut self, at: usize, saying: &Saying, text: String) {
        if self.peers[at].open {
            self.peers[at].said.push_back((saying.clone(), text));
            self.go_on(at);
        }
    }

    pub(super) fn decide(&mut self, at: usize, verdict: Verdict) {
        match self.peers[at].asks.take() {
            None => return,
            Some(Ask::Waits) if verdict == Verdict::Yes => self.join(at, ASK),
            Some(_) => self.tell(at, format!("join_refused {}", ROOMS[ASK])),
        }
        self.go_on(at);
        self.peers[at].hasty = !self.peers[at].open;
    }

    pub(super) fn is_asking(&self, at: usize) -> bool {
        self.peers[at].asks.is_some()
    }

    /// Every member of the room gets a line; says how many at least, and how many at most.
    pub(super) fn publish(&mut self, key: Key, line: &str) -> (usize, usize) {
        let members = self.room(key).clone();
        for &at in &members {
            let stay = self.peers[at].stay(key.1).expect("a member");
            stay.log.push(line.to_owned());
        }
        let weak = members.iter().filter(|at| self.peers[**at].weak).count();
        (members.len() - weak, members.len())
    }

    /// Removes the user of the peer from one room of its tenant; says how many members that were.
    pub(super) fn remove(&mut self, at: usize, room: usize) -> usize {
        let theirs: Vec<_> = (0..PEERS.len()).filter(|it| PEERS[*it] == PEERS[at]).collect();
        for &it in &theirs {
            if room == ASK && self.is_asking(it) {
                self.peers[it].asks = Some(Ask::Removed);
            }
        }
        let mut removed = 0;
        for it in theirs {
            if self.leave(it, room) {
                self.tell(it, format!("removed {}", ROOMS[room]));
                self.peers[it].removed.insert(room);
                removed += 1;
            }
        }
        removed
    }

    /// The connection ends, with a close frame of this code.
    pub(super) fn end(&mut self, at: usize, code: Option<CloseCode>) {
        self.members.values_mut().for_each(|members| {
            members.remove(&at);
        });
        let peer = &mut self.peers[at];
        (0..ROOMS.len()).for_each(|room| peer.leave(room));
        if std::mem::take(&mut peer.open) {
            peer.close = code.map(u16::from);
        }
        peer.asks = None;
        peer.said.clear();
    }

    /// The connection breaks. While the peer waits for the policy nobody reads, so that it is not
    /// noticed at once.
    pub(super) fn cut(&mut self, at: usize) {
        if self.is_asking(at) {
            self.peers[at].weak = true;
            self.peers[at].said.clear();
        } else {
            self.end(at, None);
        }
    }

    /// The rooms the peer is in, as audit records have them: sorted.
    pub(super) fn rooms(&self, at: usize) -> Vec<String> {
        let theirs = self.members.iter().filter(|(_, members)| members.contains(&at));
        let mut rooms: Vec<_> =
            theirs.map(|((tenant, room), _)| format!("{tenant}/{}", ROOMS[*room])).collect();
        rooms.sort();
        rooms
    }

    /// How many rooms there are: with members, or with joins under way.
    pub(super) fn occupied(&self) -> usize {
        let mut rooms: BTreeSet<Key> = BTreeSet::new();
        rooms.extend(self.members.iter().filter(|(_, it)| !it.is_empty()).map(|(key, _)| *key));
        let asks = |at: &usize| matches!(self.peers[*at].asks, Some(Ask::Waits));
        rooms.extend((0..PEERS.len()).filter(asks).map(|at| (PEERS[at].0, ASK)));
        rooms.len()
    }

    /// Takes what the peer said in order, as long as it waits for nothing.
    fn go_on(&mut self, at: usize) {
        while self.peers[at].asks.is_none() {
            let Some((saying, text)) = self.peers[at].said.pop_front() else { return };
            match saying {
                Saying::Join(room) => self.ask(at, room),
                Saying::Leave(room) => {
                    self.leave(at, room);
                    self.peers[at].removed.remove(&room);
                    self.tell(at, format!("left {}", ROOMS[room]));
                }
                Saying::Chat(room, _) if self.room((PEERS[at].0, room)).contains(&at) => {
                    let line = format!("{} in {}: {text}", PEERS[at].1, ROOMS[room]);
                    self.publish((PEERS[at].0, room), &line);
                }
                Saying::Chat(room, _) if self.peers[at].removed.contains(&room) => {
                    self.tell(at, format!("removed {}", ROOMS[room]));
                }
                Saying::Chat(..) => self.end(at, CloseReason::NotAMember.code()),
                Saying::Bye => self.end(at, Some(CloseCode::NORMAL)),
            }
        }
    }

    fn ask(&mut self, at: usize, room: usize) {
        match room {
            _ if self.room((PEERS[at].0, room)).contains(&at) => {
                self.tell(at, format!("joined {}", ROOMS[room]));
            }
            ASK => self.peers[at].asks = Some(Ask::Waits),
            NO => self.tell(at, format!("join_refused {}", ROOMS[room])),
            _ => self.join(at, room),
        }
    }

    fn join(&mut self, at: usize, room: usize) {
        self.tell(at, format!("joined {}", ROOMS[room]));
        self.room((PEERS[at].0, room)).insert(at);
        self.peers[at].removed.remove(&room);
        let begins = self.peers[at].own.len();
        self.peers[at].stays.push(Stay { room, log: Vec::new(), begins, ends: None });
    }

    /// Says whether it was a member.
    fn leave(&mut self, at: usize, room: usize) -> bool {
        self.peers[at].leave(room);
        self.room((PEERS[at].0, room)).remove(&at)
    }

    fn tell(&mut self, at: usize, line: String) {
        self.peers[at].own.push(line);
    }

    fn room(&mut self, key: Key) -> &mut BTreeSet<usize> {
        self.members.entry(key).or_default()
    }
}

impl Expected {
    fn stay(&mut self, room: usize) -> Option<&mut Stay> {
        self.stays.iter_mut().find(|stay| stay.room == room && stay.ends.is_none())
    }

    fn leave(&mut self, room: usize) {
        let ends = self.own.len();
        if let Some(stay) = self.stay(room) {
            stay.ends = Some(ends);
        }
    }

    /// Whether what was `heard` is right, as far as it goes; and whether it is all there was. Behind a gap
    /// comes something that is not next, of what there was: anything of it.
    pub(super) fn judge(&self, heard: &[String]) -> (bool, bool) {
        let mut answers = 0;
        let mut stays: Vec<_> = self.stays.iter().map(|stay| (stay, 0, false)).collect();
        let gap = format!("gap {}", ROOMS[LIVE]);
        for line in heard {
            if self.own.get(answers) == Some(line) {
                answers += 1;
                continue;
            }
            let is_right = stays.iter_mut().any(|(stay, said, leaps)| {
                let in_time =
                    stay.begins <= answers && stay.ends.is_none_or(|ends| answers <= ends);
                if !in_time {
                    return false;
                }
                if *line == gap {
                    *leaps = stay.room == LIVE && *said < stay.log.len();
                    return *leaps;
                }
                let skipped = usize::from(*leaps);
                let Some(at) = stay.log.iter().skip(*said + skipped).position(|it| it == line)
                else {
                    return false;
                };
                if at > 0 && !*leaps {
                    return false;
                }
                (*said, *leaps) = (*said + skipped + at + 1, false);
                true
            });
            if !is_right {
                return (false, false);
            }
        }
        let all = |(stay, said, leaps): &(&Stay, usize, bool)| {
            *leaps || stay.ends.is_some() || stay.log.len() == *said
        };
        (true, answers == self.own.len() && stays.iter().all(all))
    }
}
