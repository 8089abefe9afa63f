//! Drive a log operation by operation, beside a list of all that was ever said: for a property and a fuzz target.
//!
//! Each byte of a frame says where in the log it stands, so that what is read can be compared without a copy.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    outbound::{
        Hold, LARGE, View,
        budget::{Evict, MemoryBudget},
    },
    room::{
        history::{History, Kept, MOST_BYTES},
        log::{Log, PLACE, SEGMENT_BYTES},
        state::Room,
    },
};

/// What happens to a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LogOperation {
    /// A frame of so many bytes is said.
    Say(usize),
    /// Everybody was offered another so many frames.
    Offer(usize),
    /// Somebody stands this many frames before the end, and keeps the log from there.
    Stand(usize),
    /// One of them is let go.
    LetGo(usize),
    /// Read from this many frames before the end, up to so many further on, at most so many bytes.
    Read(usize, usize, usize),
    /// A view of what was not offered, of at most so many bytes.
    View(usize),
    /// What nobody needs is forgotten.
    Trim,
    /// The older half goes, whoever needs it.
    Cut,
    /// So many milliseconds pass.
    Pass(u64),
    /// Look for the message that is this many before the next.
    Find(usize),
}

/// A log, and what it must be.
#[expect(missing_debug_implementations, reason = "only this repository's tests see it")]
pub struct LogRun {
    log: Log,
    budget: Option<MemoryBudget>,
    history: Option<History>,
    /// All that was ever said: where it ends, and when that was.
    said: Vec<(u64, Instant)>,
    /// How many of them everybody was offered.
    offered: usize,
    holds: Vec<(u64, Hold)>,
    /// What stands before this may have been cut, whoever needs it.
    cut: u64,
}

impl LogRun {
    /// A log that keeps so many messages and has a budget of so many bytes; none of either where that is zero. Needs
    /// a runtime whose clock stands still.
    pub fn new(messages: usize, budget: usize) -> Self {
        let history = NonZeroUsize::new(messages)
            .map(|messages| History::new(messages, Duration::from_millis(1_500)));
        let budget = NonZeroUsize::new(budget).map(MemoryBudget::new);
        let mut log = Log::new(history.map(Kept::new), Arc::default());
        if let Some(budget) = &budget {
            let nobody = Weak::<Room<()>>::new();
            log.open_account(budget, nobody as Weak<dyn Evict>);
        }
        Self { log, budget, history, said: Vec::new(), offered: 0, holds: Vec::new(), cut: 0 }
    }

    /// Does it, and looks whether everything is as it must be.
    ///
    /// # Panics
    ///
    /// If it is not.
    pub fn apply(&mut self, operation: &LogOperation) {
        match *operation {
            LogOperation::Say(length) => self.say(length),
            LogOperation::Offer(frames) => {
                self.offered = (self.offered + frames).min(self.said.len())
            }
            LogOperation::Stand(back) => {
                let position = self.start_of(self.said.len().saturating_sub(back));
                let hold = self.log.hold_at(position).filter(|_| !self.log.has_lost(position));
                assert!(hold.is_some() || self.log.has_lost(position) || position == self.end());
                self.holds.extend(hold.map(|hold| (position, hold)));
            }
            LogOperation::LetGo(at) => {
                if !self.holds.is_empty() {
                    self.holds.swap_remove(at % self.holds.len());
                }
            }
            LogOperation::Read(back, on, most) => self.look(back, on, most),
            LogOperation::View(most) => {
                let (start, mut view) = (self.offered_at(), View::default());
                self.log.view(start, most, &mut view);
                self.look_at(start, view.from(start), most);
                assert_eq!(view.end(), start + view.from(start).len() as u64);
                assert!(view.end() > start || start == self.end(), "a view of nothing");
            }
            LogOperation::Trim => self.trim(),
            LogOperation::Cut => {
                self.log.cut(self.offered_at());
                self.cut = self.start();
                assert!(self.cut <= self.offered_at() || self.offered == 0);
            }
            LogOperation::Pass(_) => {}
            LogOperation::Find(back) => self.find(back),
        }
        self.check();
    }

    fn say(&mut self, length: usize) {
        let start = self.end();
        let frame: Vec<u8> = (start..start + length as u64).map(content).collect();
        if self.log.append(Bytes::from(frame)) {
            self.said.push((start + length as u64, Instant::now()));
        } else {
            assert!(self.budget.is_some(), "refused without a budget");
        }
    }

    fn look(&mut self, back: usize, on: usize, most: usize) {
        let first = self.said.len().saturating_sub(back);
        let position = self.start_of(first);
        let next = self.start_of((first + on).min(self.said.len()));
        let mut copied = vec![0xff; 3];
        let lacks = self.log.read(position, next, u64::MAX, &mut copied, most);
        assert_eq!(lacks.end, self.end());
        assert_eq!(lacks.is_lost, position < self.start());
        let (before, copied) = copied.split_at(3);
        assert_eq!(before, [0xff; 3], "what was there before");
        if lacks.is_lost {
            assert!(copied.is_empty() && lacks.large.is_none());
            return;
        }
        self.look_at(position, copied, most);
        let mut at = position + copied.len() as u64;
        if let Some(large) = &lacks.large {
            assert!(large.len() > LARGE);
            self.look_at(at, large, large.len());
            at += large.len() as u64;
        }
        assert!(at <= next, "read past what is not heard");
        assert!(at > position || position == next, "nothing was read of something");
        match lacks.behind {
            Some(hold) => self.holds.push((position + copied.len() as u64, hold)),
            None => assert_eq!(at, self.end(), "nothing keeps what was not read"),
        }
    }

    fn trim(&mut self) {
        let kept = self.keeps();
        let start = self.start();
        self.log.trim(self.offered_at());
        for (first, is_kept) in kept {
            assert!(!is_kept || self.start() <= first.max(start), "history was trimmed");
        }
        if self.holds.is_empty() && self.history.is_none() {
            let left = self.offered_at().saturating_sub(self.start());
            assert!(left < SEGMENT_BYTES + LONGEST, "{left} bytes that nobody needs");
        }
    }

    /// Where each message begins, and whether those who come back must find it.
    fn keeps(&self) -> Vec<(u64, bool)> {
        let Some(History { messages, ttl }) = self.history else { return Vec::new() };
        let oldest = self.said.len().saturating_sub(messages.get());
        let far = self.end().saturating_sub(MOST_BYTES - SEGMENT_BYTES - LONGEST);
        let keeps = |(at, (_, when)): (usize, &(u64, Instant))| {
            let start = self.start_of(at);
            (start, at >= oldest && when.elapsed() < ttl && start >= far)
        };
        self.said.iter().enumerate().map(keeps).collect()
    }

    fn find(&mut self, back: usize) {
        let next = self.said.len();
        let Some(at) = next.checked_sub(back) else { return };
        let found = self.log.find(at as u64 + 1);
        let start = self.start_of(at);
        let Some(History { messages, ttl }) = self.history else {
            assert_eq!(found, None);
            return;
        };
        let is_kept = self.said.get(at).is_none_or(|(_, when)| {
            at + messages.get() >= next && when.elapsed() < ttl && start >= self.start()
        });
        assert_eq!(found, is_kept.then_some(start), "message {at} of {next}");
    }

    /// What stands from `start` on is whole frames of the log: `most` bytes, or one frame.
    fn look_at(&self, start: u64, bytes: &[u8], most: usize) {
        let end = start + bytes.len() as u64;
        assert!(bytes.iter().zip(start..).all(|(byte, at)| *byte == content(at)));
        let first = self.said.partition_point(|(ends, _)| *ends <= start);
        let last = self.said.partition_point(|(ends, _)| *ends <= end);
        assert!(end == start || end == self.start_of(last), "a frame was torn");
        assert!(bytes.len() <= most || last - first <= 1, "more than was asked for");
    }

    /// Holds at all times.
    fn check(&self) {
        assert_eq!(self.log.end(), self.end());
        let start = self.start();
        assert!(start <= self.offered_at(), "what was not offered is gone");
        for (position, _) in &self.holds {
            assert!(start <= *position || *position < self.cut, "what is held is gone");
        }
        if let Some(budget) = &self.budget {
            let first = self.said.partition_point(|(ends, _)| *ends <= start);
            let frames = self.said.len() - first;
            let bytes = (self.end() - start) as usize;
            assert_eq!(budget.used(), bytes + frames * PLACE, "charged is what is held");
        }
    }

    /// Where the log begins: the first frame that is not lost.
    fn start(&self) -> u64 {
        let lost = |at: usize| self.log.has_lost(self.start_of(at));
        let all: Vec<usize> = (0..=self.said.len()).collect();
        let first = all.partition_point(|at| lost(*at));
        self.start_of(first)
    }

    fn start_of(&self, frame: usize) -> u64 {
        frame.checked_sub(1).and_then(|it| self.said.get(it)).map_or(0, |(end, _)| *end)
    }

    fn offered_at(&self) -> u64 {
        self.start_of(self.offered)
    }

    fn end(&self) -> u64 {
        self.start_of(self.said.len())
    }
}

/// The byte at `position` of every log.
fn content(position: u64) -> u8 {
    (position % 251) as u8
}

/// The longest frame that an operation says.
const LONGEST: u64 = 2 * LARGE as u64 + 2;

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn a_log_gives_what_was_said_and_keeps_what_is_needed(input in vec(any::<u8>(), 0..600)) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(async {
                let input = &mut &input[..];
                let mut run = LogRun::read(input);
                while let Some(operation) = LogOperation::read(input) {
                    if let LogOperation::Pass(millis) = operation {
                        tokio::time::advance(Duration::from_millis(millis)).await;
                    }
                    run.apply(&operation);
                }
            });
        }
    }
}
