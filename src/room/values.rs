//! Keep the newest value of each key of a room, for members that are sent what has changed since.
//!
//! Every change has a version, and a member's position is one: it lacks the keys whose versions are newer.
//! A value that is replaced is gone, so that what is held depends on the keys alone. A key that is unset
//! leaves its removal behind, until each member is past it: who is behind some has the [`Hold`] of their
//! [`Era`], as who is behind in a log has that of a segment. Over the bound the oldest removals go whoever
//! lacks them, once they were offered to everybody; who stands before the *floor* then cannot be told.
//!
//! A member that lacks more than one write has room for gets the oldest changes and the newest in turn,
//! and remembers which of the newest it has had. In the order of versions alone, a key that changes often
//! would always stand behind what is written, and a slow member would never hear of it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;

use crate::{
    capacity,
    outbound::{
        Cursor, Hold, Lacks, View,
        budget::{Account, MemoryBudget},
    },
    room::{
        change::{Change, Pin},
        keyed::KeyedLimits,
        outcome::Undelivered,
        reading::Reading,
    },
};

/// What the keys of a room have.
#[derive(Debug)]
pub(super) struct Values {
    limits: KeyedLimits,
    /// By version: the newest of each key.
    slots: BTreeMap<u64, Slot>,
    versions: HashMap<Arc<str>, u64>,
    /// Of the last change.
    version: u64,
    /// Keys and frames of those that have a value.
    bytes: usize,
    /// Versions of the others.
    removals: BTreeSet<u64>,
    removed_bytes: usize,
    eras: VecDeque<Era>,
    /// Version of the last removal that somebody may not have been told of.
    floor: u64,
    /// What all of it takes.
    held: usize,
    /// Of that, what the account is charged.
    charged: usize,
    account: Option<Account>,
    /// What all keyed rooms take.
    of_all: Arc<AtomicUsize>,
    /// Keys that the application has set, and what keeps the room for them.
    of_application: usize,
    pin: Option<Pin>,
}

/// What a key has, or had.
#[derive(Debug)]
pub(super) struct Slot {
    key: Arc<str>,
    pub(super) frame: Bytes,
    /// Not if the frame says that the key has nothing any more.
    pub(super) is_value: bool,
    of_application: bool,
}

/// Some removals, one behind the other.
#[derive(Debug)]
struct Era {
    /// Version of its last.
    end: u64,
    removals: usize,
    hold: Hold,
}

impl Values {
    /// None yet, within `limits`; what they will take is counted in `of_all`.
    pub(super) fn new(limits: KeyedLimits, of_all: Arc<AtomicUsize>) -> Self {
        Self {
            limits,
            slots: BTreeMap::new(),
            versions: HashMap::new(),
            version: 0,
            bytes: 0,
            removals: BTreeSet::new(),
            removed_bytes: 0,
            eras: VecDeque::new(),
            floor: 0,
            held: 0,
            charged: 0,
            account: None,
            of_all,
            of_application: 0,
            pin: None,
        }
    }

    /// Version of the last change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Charges what it holds to an account of `budget`, if it has none yet. It is never shed.
    pub(super) fn open_account(&mut self, budget: &MemoryBudget) {
        if self.account.is_none() {
            let account = budget.open_fixed();
            self.charged = if account.try_grow(self.held) { self.held } else { 0 };
            self.account = Some(account);
        }
    }

    pub(super) fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// Gives up what keeps the room for the application.
    pub(super) fn unpin(&mut self) -> Option<Pin> {
        self.pin.take()
    }

    /// Makes `change`, if it can be made and `allow` lets it; says whether it changes anything. Everybody was
    /// offered what was changed up to `offered`. With a `pin` it is the application's, which keeps the room from here
    /// on; what keeps it no more is left in its place.
    pub(super) fn change(
        &mut self,
        change: &Change,
        offered: u64,
        pin: &mut Option<Pin>,
        allow: impl FnOnce() -> Result<(), Undelivered>,
    ) -> Result<bool, Undelivered> {
        let before = self.versions.get(&change.key).and_then(|version| self.slots.get(version));
        let had_value = before.is_some_and(|it| it.is_value);
        let was_of_application = before.is_some_and(|it| it.of_application);
        let former = before.map_or(0, Slot::price);
        let slot = Slot {
            key: Arc::clone(&change.key),
            frame: change.frame.bytes.clone(),
            is_value: !change.is_removal,
            of_application: !change.is_removal && (pin.is_some() || was_of_application),
        };
        if change.is_removal && !had_value {
            return Ok(false);
        }
        let former_bytes = before.filter(|_| had_value).map_or(0, Slot::bytes);
        let held = (self.held + slot.price()).saturating_sub(former);
        let too_old = if change.is_removal {
            self.too_old(slot.bytes(), offered)?
        } else {
            self.check(slot.bytes(), former_bytes, had_value, held)?;
            0
        };
        allow()?;
        let is_tight = self.account.as_ref().is_some_and(Account::is_tight);
        if is_tight && !had_value && !change.is_removal || !self.hold(held) {
            return Err(Undelivered::NoMemory);
        }
        self.take_out(&change.key);
        self.version += 1;
        self.put(slot);
        self.forget(too_old);
        self.floor = self.floor.max(too_old);
        if self.of_application > 0 {
            self.pin = self.pin.take().or_else(|| pin.take());
        } else if pin.is_none() {
            *pin = self.pin.take();
        }
        Ok(true)
    }

    /// Whether a value of so many bytes fits in place of one of `former`.
    fn check(
        &self,
        bytes: usize,
        former: usize,
        had_value: bool,
        held: usize,
    ) -> Result<(), Undelivered> {
        let KeyedLimits { keys, bytes: most, total } = self.limits;
        if !had_value && self.slots.len() - self.removals.len() >= keys {
            return Err(Undelivered::TooManyKeys { limit: keys });
        }
        let bytes = self.bytes - former + bytes;
        if bytes > most {
            return Err(Undelivered::TooManyBytes { size: bytes, limit: most });
        }
        let of_all = self.of_all.load(Ordering::Relaxed).saturating_add(held) - self.held;
        if held > self.held && of_all > total {
            return Err(Undelivered::TooManyBytes { size: of_all, limit: total });
        }
        Ok(())
    }

    /// Up to which version removals have to go for one more of so many bytes.
    fn too_old(&self, bytes: usize, offered: u64) -> Result<u64, Undelivered> {
        let KeyedLimits { keys, bytes: most, .. } = self.limits;
        let (mut count, mut sum) = (self.removals.len() + 1, self.removed_bytes + bytes);
        let mut too_old = 0;
        for version in &self.removals {
            if count <= keys && sum <= most {
                break;
            }
            if *version > offered {
                // None goes before everybody was offered it: members that keep up are not to miss it.
                return Err(Undelivered::Unwalked);
            }
            count -= 1;
            sum -= self.slots.get(version).map_or(0, Slot::bytes);
            too_old = *version;
        }
        Ok(too_old)
    }

    /// Takes `held` bytes, unless there is no memory for them.
    fn hold(&mut self, held: usize) -> bool {
        if let Some(account) = &self.account {
            if held > self.charged && !account.try_grow(held - self.charged) {
                return false;
            }
            account.shrink(self.charged.saturating_sub(held));
            self.charged = held;
        }
        if held > self.held {
            self.of_all.fetch_add(held - self.held, Ordering::Relaxed);
        } else {
            self.of_all.fetch_sub(self.held - held, Ordering::Relaxed);
        }
        self.held = held;
        true
    }

    /// Takes out what `key` has, which is paid for.
    fn take_out(&mut self, key: &str) {
        let Some(version) = self.versions.get(key) else { return };
        let Some(slot) = self.slots.remove(version) else { return };
        if slot.is_value {
            self.bytes -= slot.bytes();
            self.of_application -= usize::from(slot.of_application);
        } else {
            self.removals.remove(version);
            self.removed_bytes -= slot.bytes();
        }
    }

    /// Puts `slot`, which is paid for, at the version that is the last.
    fn put(&mut self, slot: Slot) {
        if slot.is_value {
            self.bytes += slot.bytes();
            self.of_application += usize::from(slot.of_application);
        } else {
            self.removals.insert(self.version);
            self.removed_bytes += slot.bytes();
            let is_last = self.eras.len() >= MOST_ERAS;
            match self.eras.back_mut() {
                Some(era) if era.removals < ERA || is_last => {
                    era.removals += 1;
                    era.end = self.version;
                }
                _ => {
                    let (end, hold) = (self.version, Hold::default());
                    self.eras.push_back(Era { end, removals: 1, hold });
                }
            }
        }
        self.versions.insert(Arc::clone(&slot.key), self.version);
        self.slots.insert(self.version, slot);
    }

    /// Forgets the removals of all versions up to `end`.
    fn forget(&mut self, end: u64) {
        let mut held = self.held;
        while let Some(version) = self.removals.first().copied().filter(|it| *it <= end) {
            self.removals.remove(&version);
            if let Some(slot) = self.slots.remove(&version) {
                self.versions.remove(&slot.key);
                self.removed_bytes -= slot.bytes();
                held -= slot.price();
            }
        }
        self.hold(held);
        let (len, capacity) = (self.versions.len(), self.versions.capacity());
        if let Some(less) = capacity::smaller(len, capacity, KEPT_KEYS) {
            self.versions.shrink_to(less);
        }
    }

    /// Forgets the removals that nobody lacks: everybody was offered what was changed up to `offered`.
    pub(super) fn trim(&mut self, offered: u64) {
        while let Some(era) = self.eras.front()
            && era.hold.is_alone()
            && era.end <= offered
        {
            let end = era.end;
            self.eras.pop_front();
            self.forget(end);
        }
    }

    /// What keeps the removals behind `position`.
    pub(super) fn hold_at(&self, position: u64) -> Option<Hold> {
        self.eras.iter().find(|era| position < era.end).map(|era| era.hold.clone())
    }

    /// What has changed since `start`, as much as goes into one view of about `most` bytes.
    pub(super) fn view(&self, start: u64, most: usize, view: &mut View) {
        view.begin(start);
        let mut slots = self.between(start, self.version).peekable();
        if slots.peek().is_none() {
            view.end_at(self.version);
        }
        while let Some((version, slot)) = slots.next() {
            let end = if slots.peek().is_some() { version } else { self.version };
            if !view.add_change(&slot.frame, end, most) {
                break;
            }
        }
        for era in self.eras.iter().filter(|era| start < era.end) {
            view.hold(era.end, era.hold.clone());
        }
    }

    /// Puts what the seat of `cursor` lacks behind what is in `into`, `most` bytes or one frame.
    pub(super) fn read(&self, cursor: &Cursor, into: &mut Vec<u8>, most: usize) -> Lacks {
        let end = self.version.min(cursor.until());
        if self.has_lost(cursor) {
            return Lacks { end, is_lost: true, ..Lacks::default() };
        }
        let mut reading = Reading::new(into, most);
        if reading.read(self, cursor, end) {
            return reading.finish(end, None);
        }
        reading.finish(end, self.hold_at(cursor.position()))
    }

    /// Whether the seat of `cursor` cannot be told of a removal any more.
    pub(super) fn has_lost(&self, cursor: &Cursor) -> bool {
        self.floor > cursor.position().max(cursor.born())
    }

    /// What was changed behind `start`, up to `end`.
    pub(super) fn between(
        &self,
        start: u64,
        end: u64,
    ) -> impl DoubleEndedIterator<Item = (u64, &Slot)> {
        let first = start.saturating_add(1);
        let slots = (first <= end).then(|| self.slots.range(first..=end));
        slots.into_iter().flatten().map(|(version, slot)| (*version, slot))
    }

    /// How many removals there are, and from which on `hold` keeps them.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.removals.len()
    }

    /// Where the era of `hold` ends, if it is still there.
    #[cfg(test)]
    pub(super) fn held_from(&self, hold: &Hold) -> Option<u64> {
        self.eras.iter().find(|it| it.hold.is(hold)).map(|it| it.end)
    }

    /// All that decides what becomes of it.
    #[cfg(test)]
    pub(super) fn state(&self, into: &mut impl std::hash::Hasher) {
        use std::hash::Hash;
        for (version, slot) in &self.slots {
            (version, &slot.key, &slot.frame, slot.is_value).hash(into);
        }
        let eras = self.eras.iter().map(|it| (it.end, it.removals, it.hold.is_alone()));
        eras.collect::<Vec<_>>().hash(into);
        (self.version, self.floor).hash(into);
    }
}

impl Slot {
    /// What counts towards the bound of its room.
    fn bytes(&self) -> usize {
        self.key.len() + self.frame.len()
    }

    /// What it takes.
    fn price(&self) -> usize {
        self.bytes() + PLACE
    }
}

impl Drop for Values {
    fn drop(&mut self) {
        self.of_all.fetch_sub(self.held, Ordering::Relaxed);
    }
}

/// What a key takes beside its bytes and those of its value: its places in both maps, half empty.
pub(super) const PLACE: usize = 256;

/// Removals of an era. Small, so that who is behind keeps little more than it needs.
const ERA: usize = 64;

/// Eras, of a room whose keys come and go while somebody is behind; the last one grows then.
const MOST_ERAS: usize = 64;

/// Room for this many keys is not given back.
const KEPT_KEYS: usize = 16;
