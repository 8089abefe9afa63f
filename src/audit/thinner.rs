//! Let a flood of refusals be a few records and a count.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::clock;

/// Lets `EACH_SECOND` records of a rule pass in a second, and counts the rest.
pub(crate) struct Thinner<const EACH_SECOND: u32> {
    /// One for each rule that was ever broken. Rules are constants of this crate and of the codecs it
    /// is given, so that there are a few at most.
    rules: Mutex<Vec<Second>>,
}

/// A second of a rule's, begun by a record.
struct Second {
    rule: &'static str,
    begun: Instant,
    passed: u32,
    suppressed: u64,
}

impl<const EACH_SECOND: u32> Thinner<EACH_SECOND> {
    /// Whether a record of `rule` may pass; if so, how many did not since the last one that could
    /// say.
    pub(crate) fn pass(&self, rule: &'static str) -> Option<u64> {
        let now = clock::now();
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(second) = rules.iter_mut().find(|it| it.rule == rule) else {
            rules.push(Second { rule, begun: now, passed: 1, suppressed: 0 });
            return Some(0);
        };
        if now.duration_since(second.begun) >= Duration::from_secs(1) {
            second.begun = now;
            second.passed = 0;
        }
        if second.passed == EACH_SECOND {
            second.suppressed += 1;
            return None;
        }
        second.passed += 1;
        Some(std::mem::take(&mut second.suppressed))
    }
}

impl<const EACH_SECOND: u32> Default for Thinner<EACH_SECOND> {
    fn default() -> Self {
        Self { rules: Mutex::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: LG-11
    #[tokio::test(start_paused = true)]
    async fn so_many_records_of_a_rule_pass_in_a_second_and_the_next_says_how_many_did_not() {
        let thinner = Thinner::<3>::default();
        let passed =
            |rule, tries| -> Vec<u64> { (0..tries).filter_map(|_| thinner.pass(rule)).collect() };
        assert_eq!(passed("a", 10_000), [0, 0, 0]);
        assert_eq!(passed("b", 2), [0, 0]);
        tokio::time::advance(Duration::from_millis(999)).await;
        assert!(passed("a", 1).is_empty());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(passed("a", 4), [9998, 0, 0]);
        assert_eq!(passed("b", 4), [0, 0, 0]);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!((passed("a", 1), passed("b", 1)), (vec![1], vec![1]));
    }
}
