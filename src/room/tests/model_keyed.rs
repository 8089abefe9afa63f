//! A keyed room, and all orders in which its changes, walks, members' drivers, joins and removals can meet.
//!
//! Members hear fewer values than were set, depending on when their drivers come to it; never one of a key
//! that is older than one they have heard, and in the end the newest. Writes are cut behind any frame.

use std::{
    hash::{Hash, Hasher},
    sync::{Arc, atomic::Ordering},
};

use crate::{
    message::Message,
    outbound::{
        Outcome, Seat,
        explore::{World, explore},
        frame::Frame,
    },
    room::{
        Rooms, RoomsConfig, change::Change, keyed::Keyed, outcome::Undelivered, said::Said,
        state::Room, walker::Walk,
    },
};

use super::{
    Line, count, key, limits,
    model_room::{GAP, JOINED, Member, REMOVED, Walking},
};

/// What is done to a key.
#[derive(Clone, Copy)]
enum Deed {
    Set(&'static str),
    Unset(&'static str),
}

use Deed::{Set, Unset};

#[derive(Clone, Copy)]
struct Plan {
    members: usize,
    late: usize,
    /// Before anybody comes.
    before: usize,
    deeds: &'static [Deed],
    removes: bool,
    dies: bool,
    /// Writes may be cut behind their first frame.
    cuts: bool,
    /// There may be so many, and as many removals.
    keys: usize,
}

impl Plan {
    const ORDINARY: Self = Self {
        members: 1,
        late: 1,
        before: 0,
        deeds: &[],
        removes: false,
        dies: false,
        cuts: false,
        keys: 9,
    };
}

struct Hall {
    plan: Plan,
    _rooms: Rooms<Line>,
    room: Arc<Room<Line>>,
    members: Vec<Member>,
    /// How much was done when each came, or was told to forget what it had heard.
    from: Vec<usize>,
    walks: Vec<Walking>,
    done: usize,
    /// How much was done when the first member was thrown out.
    removed: Option<usize>,
    died: bool,
}

impl Deed {
    fn key(self) -> &'static str {
        match self {
            Self::Set(key) | Self::Unset(key) => key,
        }
    }

    fn is_set(self) -> bool {
        matches!(self, Self::Set(_))
    }
}

impl Hall {
    fn new(plan: Plan) -> Self {
        let keyed = Keyed::new().max_keys(count(plan.keys));
        let rooms = Rooms::<Line>::with(RoomsConfig::new().keyed(keyed).unwrap());
        rooms.store().encoder.speak(Line::from);
        let member = |nth| Member::new(&rooms, limits(), nth);
        let members: Vec<_> = (0..plan.members + plan.late).map(member).collect();
        let room = rooms.store().directory.find(&key("", "r1")).unwrap();
        let from = vec![plan.before; members.len()];
        let (walks, removed) = (Vec::new(), None);
        let mut hall =
            Self { plan, _rooms: rooms, room, members, from, walks, done: 0, removed, died: false };
        (0..plan.before).for_each(|_| hall.change());
        hall.members.iter_mut().take(plan.members).for_each(|it| it.admit(0, false));
        hall
    }

    fn change(&mut self) {
        let deed = self.plan.deeds[self.done];
        let frame = Frame::of(&Message::binary(vec![u8::try_from(self.done).unwrap()]));
        let change = match deed {
            Deed::Set(key) => Change::set(key, frame),
            Deed::Unset(key) => Change::unset(key, frame),
        };
        self.done += 1;
        for lane in self.room.change_only(&change).unwrap() {
            self.walks.push(Walking::new(Walk::new(Arc::clone(&self.room), lane)));
        }
    }

    fn drive(&mut self, nth: usize, is_cut: bool) {
        let gaps = |it: &Member| it.heard.iter().filter(|it| **it == GAP).count();
        let before = gaps(&self.members[nth]);
        self.members[nth].drive(TWO, is_cut);
        if gaps(&self.members[nth]) > before {
            self.from[nth] = self.done;
        }
    }

    fn deeds(&self, key: &str) -> impl DoubleEndedIterator<Item = (usize, Deed)> {
        let deeds = self.plan.deeds.iter().copied().enumerate().take(self.done);
        deeds.filter(move |(_, it)| it.key() == key)
    }

    fn keys(&self) -> Vec<&'static str> {
        let mut keys: Vec<_> = self.plan.deeds.iter().map(|it| it.key()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// What the key had when `nth` came, if it had anything.
    fn state(&self, nth: usize, key: &str) -> Option<usize> {
        let last = self.deeds(key).rfind(|(at, _)| *at < self.from[nth]);
        last.filter(|(_, it)| it.is_set()).map(|(at, _)| at)
    }

    /// What `nth` has heard of the key, which is in order.
    fn heard(&self, nth: usize, key: &str) -> Vec<usize> {
        let heard = &self.members[nth].heard;
        assert!(heard.first().is_none_or(|it| *it == JOINED), "{heard:?}");
        let behind = heard.iter().rev().skip(1);
        assert!(behind.copied().all(|it| it != REMOVED), "it goes on: {heard:?}");
        let of = |it: &usize| *it != usize::from(REMOVED) && self.plan.deeds[*it].key() == key;
        let begins = heard.iter().rposition(|it| *it >= GAP).map_or(0, |at| at + 1);
        let of_key: Vec<_> =
            heard.iter().skip(begins).map(|it| usize::from(*it)).filter(of).collect();
        assert!(of_key.is_sorted_by(|a, b| a < b), "{nth} heard of {key}: {of_key:?}");
        let is_out = self.removed.filter(|_| nth == 0);
        assert!(of_key.iter().all(|it| is_out.is_none_or(|done| *it < done)), "{of_key:?}");
        if let Some(first) = of_key.first() {
            let state = self.state(nth, key);
            let is_new = *first >= self.from[nth];
            assert!(is_new || Some(*first) == state, "{nth} heard what was before: {of_key:?}");
        }
        of_key
    }
}

impl World for Hall {
    fn able(&self) -> Vec<usize> {
        let mut able = Vec::new();
        for (nth, it) in self.members.iter().enumerate().filter(|(_, it)| it.can_go_on()) {
            able.push(nth);
            if self.plan.cuts && it.pen.is_some() && it.wrote.is_none() && !it.turns.is_empty() {
                able.push(CUT + nth);
            }
        }
        let late = self.members.iter().any(|it| it.join.is_some());
        let removes = self.plan.removes && self.removed.is_none();
        let next = self.plan.deeds.get(self.done);
        // Too many removals wait for walks.
        let is_free = self.plan.keys > 1 || self.room.is_walked();
        let changes = next.is_some_and(|it| it.is_set() || is_free);
        let others = [(CHANGE, changes), (JOIN, late), (REMOVE, removes)];
        able.extend(others.iter().filter(|(_, can)| *can).map(|(who, _)| *who));
        for nth in 0..self.walks.len() {
            able.push(WALK + nth);
            if self.plan.dies && !self.died {
                able.push(DIE + nth);
            }
        }
        able
    }

    fn act(&mut self, who: usize) {
        match who {
            CUT.. => self.drive(who - CUT, true),
            DIE.. => {
                self.died = true;
                drop(self.walks.remove(who - DIE));
            }
            WALK.. => {
                if self.walks[who - WALK].go_on() {
                    self.walks.remove(who - WALK);
                }
            }
            CHANGE => self.change(),
            JOIN => {
                let late = self.members.iter().position(|it| it.join.is_some()).unwrap();
                self.from[late] = self.done;
                self.members[late].admit(0, false);
            }
            REMOVE => {
                assert_eq!(self.room.remove(None, |it| it.is_user("u0")), 1);
                self.removed = Some(self.done);
            }
            nth => self.drive(nth, false),
        }
        for nth in 0..self.members.len() {
            self.keys().iter().for_each(|key| drop(self.heard(nth, key)));
        }
    }

    fn state(&self, into: &mut impl Hasher) {
        (self.done, self.removed, self.died, &self.from).hash(into);
        self.room.look(|members| {
            let Said::Values(values) = &members.log else { panic!("it is keyed") };
            values.state(into);
            members.walks().hash(into);
            for it in &self.members {
                let outlet = it.connection.outbound().state(|hold| members.log.held_from(hold));
                (outlet, it.woken.0.load(Ordering::Relaxed), &it.heard, it.join.is_some())
                    .hash(into);
                (it.pen.is_some(), it.wrote.is_some()).hash(into);
                for turn in &it.turns {
                    let Outcome::Read { behind, end, .. } = &turn.outcome else { continue };
                    (end, behind.as_ref().map(|it| members.log.held_from(it))).hash(into);
                }
            }
            for seat in members.iter() {
                (seat.cursor().gaps(members.log.end()), seat.cursor().born()).hash(into);
            }
        });
        for Walking { circle, is_round, .. } in &self.walks {
            (format!("{circle:?}"), is_round).hash(into);
        }
    }

    fn rests(&self) {
        for nth in 0..self.members.len() {
            if nth == 0 && self.removed.is_some() {
                continue;
            }
            for key in self.keys() {
                let heard = self.heard(nth, key);
                let newest = self.deeds(key).next_back().unwrap();
                let (at, deed) = newest;
                let expected = (deed.is_set() || at >= self.from[nth]).then_some(at);
                assert_eq!(heard.last().copied(), expected, "{nth} and {key}");
            }
        }
        assert!(self.room.is_walked());
        assert_eq!(self.room.look(|members| members.log.keeps()), 0, "nobody lacks a removal");
    }
}

fn look(plan: Plan) {
    let states = explore(DEPTH, || Hall::new(plan));
    assert!(states > 300, "{states}");
}

// holds: I9
// covers: DL-03, DL-13, RM-13
#[test]
fn of_each_key_everybody_hears_newer_and_newer_values_and_in_the_end_the_newest() {
    let deeds = &[Set("a"), Set("b"), Set("a"), Set("c"), Set("a")];
    look(Plan { members: 2, before: 2, deeds, ..Plan::ORDINARY });
}

// holds: I9
#[test]
fn a_write_that_is_cut_makes_nobody_hear_anything_twice_or_not_at_all() {
    let deeds = &[Set("a"), Set("b"), Set("c"), Set("d"), Set("b"), Set("a"), Set("c")];
    look(Plan { before: 4, deeds, cuts: true, ..Plan::ORDINARY });
}

// covers: RM-13
#[test]
fn removals_reach_who_was_there_and_nobody_who_came_later_and_are_not_kept() {
    let deeds = &[Set("a"), Set("b"), Unset("a"), Set("a"), Unset("b"), Unset("a")];
    look(Plan { before: 2, deeds, cuts: true, ..Plan::ORDINARY });
}

#[test]
fn nor_if_a_walk_dies_or_somebody_is_removed() {
    let deeds = &[Set("a"), Set("b"), Unset("a"), Set("b")];
    look(Plan { members: 2, before: 1, deeds, removes: true, dies: true, ..Plan::ORDINARY });
}

// holds: I9
#[test]
fn who_cannot_be_told_of_a_removal_forgets_all_and_gets_what_there_is() {
    let deeds = &[Set("a"), Unset("a"), Set("b"), Unset("b"), Set("c"), Unset("c"), Set("d")];
    look(Plan { before: 1, deeds, keys: 1, ..Plan::ORDINARY });
}

#[test]
fn what_was_not_offered_to_everybody_is_not_forgotten() {
    let keyed = Keyed::new().max_keys(count(1));
    let rooms = Rooms::<Line>::with(RoomsConfig::new().keyed(keyed).unwrap());
    let mut member = Member::new(&rooms, limits(), 0);
    let room = rooms.store().directory.find(&key("", "r1")).unwrap();
    member.admit(0, false);
    let frame = || Frame::of(&Message::binary(vec![0]));
    let mut walks = Vec::new();
    for key in ["a", "b"] {
        walks.extend(room.change_only(&Change::set(key, frame())).unwrap());
        let unset = room.change_only(&Change::unset(key, frame()));
        assert_eq!(unset.is_err(), key == "b", "one removal is kept");
        assert!(unset.is_ok() || unset == Err(Undelivered::Unwalked));
    }
    walks.into_iter().for_each(|lane| drop(Walk::new(Arc::clone(&room), lane)));
    assert!(room.change_only(&Change::unset("b", frame())).is_ok());
}

/// Calls that are looked at in all orders: there are more of them than in a log's model.
const DEPTH: usize = 7;

/// Two frames of this model.
const TWO: usize = 6;

const CHANGE: usize = 10;
const JOIN: usize = 11;
const REMOVE: usize = 12;
const WALK: usize = 20;
const DIE: usize = 30;
const CUT: usize = 40;
