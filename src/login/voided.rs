//! Remember which users were thrown out, for logins that are under way.
//!
//! A login that began before its user was thrown out may be done after it: the verifier had looked already.
//! So each time a user is thrown out it is noted first, and a login looks at the notes last. A
//! note is kept for longer than a login takes. If there are too many of them, the oldest go, and with them
//! each login that began before: it is told to try again.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    close::{Close, CloseReason},
    login::{Moment, SessionKey},
};

#[derive(Default)]
pub(crate) struct Voided {
    inner: Mutex<Inner>,
}

/// Who or what was thrown out.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Subject {
    /// A user, by the registry's hash.
    User(u64),
    Session(SessionKey),
}

struct Inner {
    notes: HashMap<Subject, Note>,
    /// In the order in which they were made; one for each time.
    order: VecDeque<(Moment, Instant, Subject)>,
    /// Of logins before it nothing is known any more.
    floor: Option<(Moment, Instant)>,
    keep: Duration,
}

/// The last time that a user was thrown out.
struct Note {
    at: Moment,
    close: Close,
}

impl Voided {
    /// Notes that no login as `subject` that has begun by now is to be let in.
    pub(crate) fn note(&self, subject: Subject, close: Close) {
        let now = Instant::now();
        let mut inner = self.inner();
        inner.sweep(now);
        let at = Moment::next();
        inner.notes.insert(subject, Note { at, close });
        inner.order.push_back((at, now, subject));
    }

    /// What is said to who began at `began` to log in as `subject`, if that was in vain.
    pub(crate) fn since(&self, subject: Subject, began: Moment) -> Option<Close> {
        let inner = self.inner();
        let is_below = |(at, when): (Moment, Instant)| began < at && when.elapsed() <= inner.keep;
        if inner.floor.is_some_and(is_below) {
            return Some(Close::because(CloseReason::AuthUnavailable));
        }
        let note = inner.notes.get(&subject).filter(|it| began < it.at)?;
        Some(note.close.clone())
    }

    pub(crate) fn keep_for(&self, time: Duration) {
        let mut inner = self.inner();
        inner.keep = inner.keep.max(time);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.inner().order.len()
    }

    /// Held for a look, a note, and to forget some old ones; never across an await.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Forgets what no login can be about any more, and makes room for one note.
    fn sweep(&mut self, now: Instant) {
        while let Some((at, when, subject)) = self.order.front().copied() {
            let old = now.saturating_duration_since(when) > self.keep;
            if !old && self.order.len() < MAX_NOTES {
                return;
            }
            self.order.pop_front();
            if !old {
                self.floor = Some((at, when));
            }
            // It may have been noted anew since.
            if self.notes.get(&subject).is_some_and(|it| it.at == at) {
                self.notes.remove(&subject);
            }
        }
    }
}

impl Default for Inner {
    fn default() -> Self {
        let (notes, order, floor) = Default::default();
        Self { notes, order, floor, keep: KEEP }
    }
}

/// Longer than an HTTP server lets a request take, whose session was looked up before it came here.
const KEEP: Duration = Duration::from_secs(60);

/// Two megabytes.
pub(crate) const MAX_NOTES: usize = 16_384;
