//! Hold the records that wait for the log, and count those that do not get there.
//!
//! Two things keep a record out: its class or its address has had its rate (it is *suppressed*), or as
//! many of its class wait as may (it is *dropped*, because the log stalls). Either is counted by kind,
//! and the counts are written.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    AuditRecord,
    bucket::Bucket,
    share::{Class, PerClass},
};
use crate::quota::{AddressRate, Quota, clock};

/// What a sink and its worker share.
pub(super) struct Queue {
    shares: PerClass<AddressRate>,
    inner: Mutex<QueueState>,
    /// Something for the worker to do.
    work: Condvar,
    /// The worker has written all there was.
    idle: Condvar,
}

struct QueueState {
    records: Vec<AuditRecord>,
    /// How many of them there are of each class.
    waiting: PerClass<usize>,
    buckets: PerClass<Bucket>,
    unreported: Unreported,
    /// When the suppressed were last reported.
    reported: Instant,
    /// A caller waits for the queue to be written.
    flush: bool,
    /// There will be no more records.
    closed: bool,
}

/// Records that are missing in the log, of which it does not yet say how many.
#[derive(Debug, Default)]
pub(super) struct Unreported {
    /// There was no room for them, or no worker, or the subscriber panicked on them.
    pub(super) dropped: Counts,
    /// Over the rate of their class or address.
    pub(super) suppressed: Counts,
}

/// How many there are of each kind. Kinds are names of events, so that there are a few at most.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Counts(Vec<(&'static str, u64)>);

/// What is to be written next.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<AuditRecord>,
    pub(super) unreported: Unreported,
    /// There will be no other.
    pub(super) last: bool,
}

impl Queue {
    pub(super) fn new(quota: Quota) -> Self {
        Self {
            shares: PerClass::shares(quota),
            inner: Mutex::new(QueueState {
                records: Vec::new(),
                waiting: PerClass::default(),
                buckets: PerClass::buckets(quota),
                unreported: Unreported::default(),
                reported: Instant::now(),
                flush: false,
                closed: false,
            }),
            work: Condvar::new(),
            idle: Condvar::new(),
        }
    }

    pub(super) fn push(&self, record: &AuditRecord) {
        let (class, now) = (Class::of(&record.event), clock::now());
        let has_share = self.shares.take(class, record.address(), now);
        let mut queued = self.lock();
        let idle = queued.is_idle();
        if !has_share || !queued.buckets.get_mut(class).take(now) {
            queued.unreported.suppressed.add_all_of(record);
        } else if *queued.waiting.get(class) >= class.room() {
            queued.unreported.dropped.add_all_of(record);
        } else {
            *queued.waiting.get_mut(class) += 1;
            queued.records.push(record.clone());
        }
        // The worker wakes for the first of a batch, not for each: waking a thread costs more than all
        // the rest. Of what is suppressed, for the first: it then knows until when it may sleep.
        if idle || queued.records.len() == 1 {
            self.work.notify_one();
        }
    }

    /// Waits until everything is written, at most `limit`; says whether it was.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let mut queued = self.lock();
        queued.flush = true;
        self.work.notify_all();
        let waited = self.idle.wait_timeout_while(queued, limit, |it| it.flush);
        !waited.unwrap_or_else(PoisonError::into_inner).0.flush
    }

    /// There will be no more records.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_all();
    }

    /// Waits for records, then a little for more of them. The last batch says that it is.
    pub(super) fn take_batch(&self) -> Batch {
        let mut queued = self.lock();
        loop {
            let waited = match queued.due_in() {
                Some(Duration::ZERO) => break,
                Some(wait) => self
                    .work
                    .wait_timeout(queued, wait)
                    .map(|(queued, _)| queued)
                    .map_err(|it| it.into_inner().0),
                None => self.work.wait(queued).map_err(PoisonError::into_inner),
            };
            queued = waited.unwrap_or_else(|queued| queued);
        }
        // What can only be reported as lost is in no hurry: a subscriber may panic on that for ever.
        let may_grow = |it: &mut QueueState| {
            !it.closed && (!it.flush || (it.records.is_empty() && !it.unreported.is_empty()))
        };
        let waited = self.work.wait_timeout_while(queued, BATCH, may_grow);
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    }

    /// The batch was written, but for what is `unreported`.
    pub(super) fn batch_written(&self, unreported: Unreported) {
        let mut queued = self.lock();
        queued.unreported.add(unreported);
        if queued.records.is_empty() && queued.unreported.is_empty() && queued.flush {
            queued.flush = false;
            self.idle.notify_all();
        }
    }

    #[cfg(test)]
    pub(super) fn take_now(&self) -> Batch {
        self.lock().take()
    }

    #[cfg(test)]
    pub(super) fn unreported<T>(&self, read: impl FnOnce(&Unreported) -> T) -> T {
        read(&self.lock().unreported)
    }

    /// Held to push a record or to take the batch. Nothing in it can be half done.
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    fn take(&mut self) -> Batch {
        self.waiting = PerClass::default();
        let mut unreported = std::mem::take(&mut self.unreported);
        if self.suppressed_due_in(&unreported) == Some(Duration::ZERO) {
            self.reported = Instant::now();
        } else {
            self.unreported.suppressed = std::mem::take(&mut unreported.suppressed);
        }
        Batch { records: std::mem::take(&mut self.records), unreported, last: self.closed }
    }

    /// Whether the worker sleeps until it is woken.
    fn is_idle(&self) -> bool {
        self.records.is_empty() && self.unreported.is_empty()
    }

    /// When there is something to write; `None` if nothing is known of.
    fn due_in(&self) -> Option<Duration> {
        let now = !self.records.is_empty() || !self.unreported.dropped.is_empty();
        if now || self.flush || self.closed {
            return Some(Duration::ZERO);
        }
        self.suppressed_due_in(&self.unreported)
    }

    fn suppressed_due_in(&self, unreported: &Unreported) -> Option<Duration> {
        if unreported.suppressed.is_empty() {
            return None;
        }
        let now = self.flush || self.closed;
        Some(if now {
            Duration::ZERO
        } else {
            REPORT_INTERVAL.saturating_sub(self.reported.elapsed())
        })
    }
}

impl Unreported {
    pub(super) fn is_empty(&self) -> bool {
        self.dropped.is_empty() && self.suppressed.is_empty()
    }

    fn add(&mut self, other: Self) {
        let Self { dropped, suppressed } = other;
        dropped.0.into_iter().for_each(|(kind, count)| self.dropped.add(kind, count));
        suppressed.0.into_iter().for_each(|(kind, count)| self.suppressed.add(kind, count));
    }
}

impl Counts {
    /// Counts `record`, and those that only it would have told of.
    pub(super) fn add_all_of(&mut self, record: &AuditRecord) {
        self.add(record.event.name(), record.event.stands_for());
    }

    pub(super) fn add(&mut self, kind: &'static str, count: u64) {
        match self.0.iter_mut().find(|it| it.0 == kind) {
            Some(known) => known.1 = known.1.saturating_add(count),
            None => self.0.push((kind, count)),
        }
    }

    /// Reports each by `report`, and forgets those for which it returns that it did.
    pub(super) fn report(&mut self, report: impl Fn(&'static str, u64) -> bool) {
        self.0.retain(|(kind, count)| !report(kind, *count));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> Vec<(&'static str, u64)> {
        self.0.clone()
    }
}

/// How long the worker lets a batch grow.
const BATCH: Duration = Duration::from_millis(20);

/// How often what is suppressed is reported: a flood of it is a line for each kind in that time.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
#[path = "tests/queue.rs"]
mod tests;
