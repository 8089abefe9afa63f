//! What the keys of a room have, and who is sent what of it, against a plain list of all changes.

use std::sync::{Arc, atomic::AtomicUsize};

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

use crate::{
    message::Message,
    outbound::{
        Cursor,
        budget::MemoryBudget,
        frame::{self, Frame},
    },
    room::{change::Change, keyed::KeyedLimits, outcome::Undelivered, values::Values},
};

use super::count;

const KEYS: usize = 8;

#[derive(Clone, Debug)]
enum Operation {
    Set(usize, usize),
    Unset(usize),
    Join,
    /// Of a member, with so much room, of which the socket takes so many frames.
    Read(usize, usize, usize),
    /// Everybody was offered everything.
    Walk,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (0..KEYS, 4_usize..6_000).prop_map(|(key, size)| Operation::Set(key, size)),
        8 => (0..KEYS, 4_usize..40).prop_map(|(key, size)| Operation::Set(key, size)),
        3 => (0..KEYS).prop_map(Operation::Unset),
        1 => Just(Operation::Join),
        12 => (0..4_usize, 1_usize..200, 0..5_usize).prop_map(|(m, most, n)| Operation::Read(m, most, n)),
        2 => Just(Operation::Walk),
    ]
}

fn values(keys: usize) -> Values {
    let limits = KeyedLimits { keys, bytes: 1 << 20, total: 1 << 30 };
    Values::new(limits, Arc::default())
}

/// The frame of the change with this number.
fn frame(number: usize, size: usize) -> Frame {
    let mut payload = vec![0; size];
    payload[..4].copy_from_slice(&u32::try_from(number).unwrap().to_be_bytes());
    Frame::of(&Message::binary(payload))
}

fn number(message: &Message) -> usize {
    u32::from_be_bytes(message.as_bytes()[..4].try_into().unwrap()) as usize
}

struct Model {
    values: Values,
    /// Key, and whether it has something from there on.
    changes: Vec<(usize, bool)>,
    members: Vec<Member>,
    offered: u64,
}

struct Member {
    cursor: Cursor,
    from: usize,
    heard: Vec<usize>,
    lost: bool,
}

impl Model {
    fn change(&mut self, key: usize, is_set: bool, size: usize) {
        let frame = frame(self.changes.len(), size);
        let name = format!("k{key}");
        let change = match is_set {
            true => Change::set(&name, frame),
            false => Change::unset(&name, frame),
        };
        match self.values.change(&change, self.offered, &mut None, || Ok(())) {
            Ok(true) => self.changes.push((key, is_set)),
            Ok(false) => assert!(!is_set && !self.has(key, self.changes.len())),
            Err(error) => assert_eq!((error, is_set), (Undelivered::Unwalked, false)),
        }
        assert_eq!(self.values.version(), self.changes.len() as u64);
    }

    fn has(&self, key: usize, until: usize) -> bool {
        let last = self.changes.iter().take(until).rev().find(|(it, _)| *it == key);
        last.is_some_and(|(_, is_set)| *is_set)
    }

    fn join(&mut self) {
        let cursor = Cursor::new(0);
        cursor.set_born(self.values.version());
        let from = self.changes.len();
        self.members.push(Member { cursor, from, heard: Vec::new(), lost: false });
    }

    /// A driver's write; returns how much there was.
    fn read(&mut self, member: usize, most: usize, taken: usize) -> usize {
        let Some(it) = self.members.get_mut(member) else { return 0 };
        let mut bytes = Vec::new();
        let lacks = self.values.read(&it.cursor, &mut bytes, most);
        it.lost |= lacks.is_lost;
        bytes.extend(lacks.large.iter().flatten());
        let messages = frame::messages(&Bytes::from(bytes));
        assert_eq!(messages.len(), lacks.parts.len());
        for (message, (start, end)) in messages.iter().zip(lacks.parts).take(taken) {
            it.heard.push(number(message));
            it.cursor.heard(start, end);
        }
        messages.len()
    }

    fn check(&self) {
        for it in self.members.iter().filter(|it| !it.lost) {
            for key in 0..KEYS {
                let of = |number: &&usize| self.changes[**number].0 == key;
                let heard: Vec<_> = it.heard.iter().filter(of).copied().collect();
                assert!(heard.is_sorted_by(|a, b| a < b), "{key}: {heard:?}");
                for number in heard.iter().filter(|number| **number < it.from) {
                    let state = self.changes[..it.from].iter().rposition(|(it, _)| *it == key);
                    assert_eq!(Some(*number), state.filter(|_| self.has(key, it.from)));
                }
            }
        }
    }

    /// Everybody reads all there is.
    fn rests(&mut self) {
        self.offered = self.values.version();
        for nth in 0..self.members.len() {
            while self.read(nth, 100, 3) > 0 {}
        }
        self.check();
        for it in self.members.iter().filter(|it| !it.lost) {
            assert!(it.cursor.gaps(self.values.version()).is_empty());
            for key in 0..KEYS {
                let newest = self.changes.iter().rposition(|(it, _)| *it == key);
                let is_heard = |number: usize| number >= it.from || self.has(key, it.from);
                let of = |number: &&usize| self.changes[**number].0 == key;
                let heard = it.heard.iter().rfind(of).copied();
                assert_eq!(heard, newest.filter(|number| is_heard(*number)), "{key}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    // holds: I9
    #[test]
    fn who_is_slow_hears_fewer_values_and_never_an_older_one(
        operations in vec(operation(), 0..150),
        keys in KEYS..2 * KEYS,
    ) {
        let mut model =
            Model { values: values(keys), changes: Vec::new(), members: Vec::new(), offered: 0 };
        for operation in operations {
            match operation {
                Operation::Set(key, size) => model.change(key, true, size),
                Operation::Unset(key) => model.change(key, false, 4),
                Operation::Join => model.join(),
                Operation::Read(member, most, taken) => drop(model.read(member, most, taken)),
                Operation::Walk => model.offered = model.values.version(),
            }
            model.check();
        }
        model.rests();
    }
}

// covers: DL-03
#[test]
fn a_key_that_changes_all_the_time_is_heard_by_who_is_always_behind() {
    let mut model =
        Model { values: values(1_000), changes: Vec::new(), members: Vec::new(), offered: 0 };
    model.join();
    let busy = 1_000;
    for round in 0..60_000_usize {
        // A thousand keys, one after the other, and one of them beside each.
        let change = |model: &mut Model, key: usize| {
            let frame = frame(model.changes.len(), 100);
            let change = Change::set(&format!("k{}", key % 1_000), frame);
            model.values.change(&change, 0, &mut None, || Ok(())).unwrap();
            model.changes.push((key % 1_000, true));
        };
        change(&mut model, round);
        change(&mut model, busy);
        if round % 37 == 0 {
            // Less than a tenth of what is set meanwhile.
            model.read(0, 700, 7);
        }
    }
    let heard = &model.members[0].heard;
    let of_busy = heard.iter().filter(|number| model.changes[**number].0 == 0).count();
    let mut keys: Vec<_> = heard.iter().map(|number| model.changes[*number].0).collect();
    keys.sort_unstable();
    keys.dedup();
    assert!(of_busy > 100, "{of_busy} of {}", heard.len());
    assert!(keys.len() > 900, "{} keys", keys.len());
}

#[test]
fn what_is_held_is_charged_once_and_given_back() {
    let budget = MemoryBudget::new(count(1 << 20));
    let of_all = Arc::<AtomicUsize>::default();
    let held = || of_all.load(std::sync::atomic::Ordering::Relaxed);
    let limits = KeyedLimits { keys: 3, bytes: 2_000, total: 5_000 };
    let mut values = Values::new(limits, Arc::clone(&of_all));
    let set = |values: &mut Values, key: &str, size: usize| {
        values.change(&Change::set(key, frame(0, size)), 0, &mut None, || Ok(()))
    };
    // Before there is an account, too.
    set(&mut values, "a", 500).unwrap();
    values.open_account(&budget);
    assert_eq!((budget.used(), held()), (held(), held()));
    set(&mut values, "b", 500).unwrap();
    set(&mut values, "b", 100).unwrap();
    set(&mut values, "c", 100).unwrap();
    assert!((700..700 + 3 * 300).contains(&held()), "{}", held());
    let before = (budget.used(), held(), values.version());

    assert_eq!(set(&mut values, "d", 4), Err(Undelivered::TooManyKeys { limit: 3 }));
    let refused = set(&mut values, "a", 1_900);
    assert!(matches!(refused, Err(Undelivered::TooManyBytes { size: 2_000.., limit: 2_000 })));
    let refused = values
        .change(&Change::set("a", frame(0, 4)), 0, &mut None, || Err(Undelivered::NotAMember));
    assert_eq!(refused, Err(Undelivered::NotAMember));
    assert_eq!((budget.used(), held(), values.version()), before, "nothing has changed");

    // What all rooms may take is less.
    let mut other = Values::new(limits, Arc::clone(&of_all));
    set(&mut other, "a", 1_500).unwrap();
    let mut third = Values::new(limits, Arc::clone(&of_all));
    let refused = set(&mut third, "a", 1_900);
    assert!(matches!(refused, Err(Undelivered::TooManyBytes { limit: 5_000, .. })));
    drop((other, third));

    for key in ["a", "b", "c"] {
        let unset = Change::unset(key, frame(0, 4));
        values.change(&unset, u64::MAX, &mut None, || Ok(())).unwrap();
    }
    values.trim(values.version());
    assert_eq!((budget.used(), held()), (0, 0));
    set(&mut values, "a", 500).unwrap();
    drop(values);
    assert_eq!((budget.used(), held()), (0, 0));
}

#[test]
fn who_has_missed_more_removals_than_are_kept_is_lost_and_nobody_else() {
    let mut values = values(4);
    let late = Cursor::new(0);
    late.set_born(0);
    let mut change = |change: Change| {
        let offered = u64::MAX;
        values.change(&change, offered, &mut None, || Ok(())).unwrap();
    };
    for n in 0..6 {
        change(Change::set(&format!("k{n}"), frame(n, 4)));
        change(Change::unset(&format!("k{n}"), frame(n, 4)));
    }
    assert_eq!(values.kept(), 4);
    assert!(values.has_lost(&late) && values.read(&late, &mut Vec::new(), 100).is_lost);
    for version in 4..=12 {
        let cursor = Cursor::new(version);
        cursor.set_born(0);
        assert!(!values.has_lost(&cursor), "{version}");
    }
    // Who joins lacks none of them.
    let joins = Cursor::new(0);
    joins.set_born(values.version());
    let mut bytes = Vec::new();
    let lacks = values.read(&joins, &mut bytes, 100);
    assert!(!lacks.is_lost && bytes.is_empty() && joins.gaps(12).is_empty());
}

#[test]
fn removals_are_kept_while_somebody_is_behind_them() {
    let mut values = values(4);
    let change = |values: &mut Values, change: Change| {
        values.change(&change, 0, &mut None, || Ok(())).unwrap();
    };
    change(&mut values, Change::set("a", frame(0, 4)));
    assert!(values.hold_at(0).is_none(), "there is nothing to keep");
    change(&mut values, Change::unset("a", frame(0, 4)));
    let hold = values.hold_at(1).unwrap();
    values.trim(2);
    assert_eq!(values.kept(), 1);
    drop(hold);
    values.trim(1);
    assert_eq!(values.kept(), 1, "not everybody was offered it");
    values.trim(2);
    assert_eq!(values.kept(), 0);
    assert!(values.hold_at(0).is_none());
}
