//! Let a flood be a few records and a count, before any sink is asked.
//!
//! What a peer can do without end is throttled here: refusals and joins on one connection, and refused
//! handshakes, which have no connection. Each record says how many it stands for, so that nothing is
//! lost unreported, also by a sink that writes every record it is given.

use std::{
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::bucket::Bucket;
use crate::quota::{AddressRate, clock};

/// Lets some records of each rule pass, no more of all rules than a bucket has, and counts the rest.
pub(crate) struct RecordThrottle {
    /// The time between two records of a rule.
    apart: Duration,
    inner: Mutex<Rules>,
}

struct Rules {
    all: Bucket,
    /// One for each rule that was ever broken. Rules are constants of this crate and of the codecs it
    /// is given, so that there are a few at most.
    rules: Vec<Rule>,
}

struct Rule {
    name: &'static str,
    /// When there last was a record.
    recorded: Instant,
    suppressed: u64,
}

/// Throttles the refusals of one connection. Made at the first: most connections have none.
#[derive(Default)]
pub(crate) struct Refusals(OnceLock<Box<RecordThrottle>>);

/// Throttles the refused handshakes of one endpoint.
pub(crate) struct RefusedHandshakes {
    rules: RecordThrottle,
    shares: AddressRate,
}

/// Throttles the joins of one connection.
#[derive(Default)]
pub(crate) struct Joins(Mutex<Joined>);

#[derive(Default)]
struct Joined {
    /// Made at the first join, when it is known in how many rooms the connection may be.
    bucket: Option<Bucket>,
    suppressed: u64,
}

impl RecordThrottle {
    fn new(apart: Duration, all: Bucket) -> Self {
        Self { apart, inner: Mutex::new(Rules { all, rules: Vec::new() }) }
    }

    /// Whether a record of `rule` may pass; if so, how many did not since the last one that could
    /// say. A rule that was quiet passes in any case: one that is loud does not hide it.
    fn pass(&self, name: &'static str, has_share: bool) -> Option<u64> {
        let now = clock::now();
        let mut inner = self.lock();
        let Rules { all, rules } = &mut *inner;
        let Some(rule) = rules.iter_mut().find(|it| it.name == name) else {
            rules.push(Rule { name, recorded: now, suppressed: 0 });
            return Some(0);
        };
        let since = now.duration_since(rule.recorded);
        let passes = since >= QUIET || (since >= self.apart && has_share && all.take(now));
        if !passes {
            rule.suppressed = rule.suppressed.saturating_add(1);
            return None;
        }
        rule.recorded = now;
        Some(std::mem::take(&mut rule.suppressed))
    }

    /// How many no record has told of; forgets them.
    fn take_suppressed(&self) -> u64 {
        let mut inner = self.lock();
        inner.rules.iter_mut().map(|it| std::mem::take(&mut it.suppressed)).sum()
    }

    /// Held for a lookup.
    fn lock(&self) -> MutexGuard<'_, Rules> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refusals {
    /// Whether a refusal by `rule` is recorded; if so, how many were not since the last one.
    ///
    /// One a second, for each rule and for all of them: a peer that is refused for ever by all rules in
    /// turn is seen as well by these. Ten at once, which is more rules than an honest client breaks.
    pub(crate) fn pass(&self, rule: &'static str) -> Option<u64> {
        let made = || Box::new(RecordThrottle::new(SECOND, Bucket::new(SECOND, 10)));
        self.0.get_or_init(made).pass(rule, true)
    }

    pub(crate) fn take_suppressed(&self) -> u64 {
        self.0.get().map_or(0, |throttle| throttle.take_suppressed())
    }
}

impl RefusedHandshakes {
    /// Whether a handshake refused by `rule` is recorded; if so, how many were not since the last one
    /// of that rule.
    pub(crate) fn pass(&self, rule: &'static str, peer: Option<IpAddr>) -> Option<u64> {
        let has_share = peer.is_none_or(|peer| self.shares.take(peer, clock::now()).is_ok());
        self.rules.pass(rule, has_share)
    }
}

impl Default for RefusedHandshakes {
    /// Twenty a second show whose they are, and are below 2 MB a minute with all that came at once. An
    /// eighth of the rate for one address leaves half of it beside the /48 of one subscriber; a hundred
    /// at once are enough to see what a scanner looks for.
    fn default() -> Self {
        let share = SECOND / HANDSHAKES_EACH_SECOND * 8;
        Self {
            rules: RecordThrottle::new(
                Duration::ZERO,
                Bucket::new(SECOND / HANDSHAKES_EACH_SECOND, HANDSHAKES_AT_ONCE),
            ),
            shares: AddressRate::new(share, HANDSHAKES_AT_ONCE / 4, MAX_ADDRESSES),
        }
    }
}

impl Joins {
    /// Whether a membership is recorded on a connection that may have `most` of them; if so, how many
    /// were not since the last one.
    pub(crate) fn pass(&self, most: NonZeroUsize) -> Option<u64> {
        let now = clock::now();
        let mut joined = self.lock();
        let at_once = u32::try_from(most.get().saturating_mul(2)).unwrap_or(u32::MAX);
        let bucket = joined.bucket.get_or_insert_with(|| Bucket::new(SECOND, at_once));
        if !bucket.take(now) {
            joined.suppressed = joined.suppressed.saturating_add(1);
            return None;
        }
        Some(std::mem::take(&mut joined.suppressed))
    }

    pub(crate) fn take_suppressed(&self) -> u64 {
        std::mem::take(&mut self.lock().suppressed)
    }

    /// Held to count one join.
    fn lock(&self) -> MutexGuard<'_, Joined> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A rule without a record for so long is worth one.
const QUIET: Duration = Duration::from_secs(10);

const SECOND: Duration = Duration::from_secs(1);

const HANDSHAKES_EACH_SECOND: u32 = 20;
const HANDSHAKES_AT_ONCE: u32 = 400;

/// Networks that are told apart, each of which is an entry of a table; those that find it full share
/// one.
const MAX_ADDRESSES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    async fn pass_time(millis: u64) {
        tokio::time::advance(Duration::from_millis(millis)).await;
    }

    // covers: LG-11
    #[tokio::test(start_paused = true)]
    async fn a_rule_has_a_record_a_second_which_says_how_many_had_none() {
        let refusals = Refusals::default();
        let passed =
            |rule, tries| -> Vec<u64> { (0..tries).filter_map(|_| refusals.pass(rule)).collect() };
        assert_eq!(passed("a", 10_000), [0]);
        assert_eq!(passed("b", 2), [0]);
        pass_time(999).await;
        assert!(passed("a", 1).is_empty());
        pass_time(1).await;
        assert_eq!(passed("a", 4), [10_000]);
        assert_eq!(passed("b", 4), [1]);
        pass_time(60_000).await;
        assert_eq!((passed("a", 1), passed("b", 1)), (vec![3], vec![3]));
        assert_eq!(refusals.take_suppressed(), 0);
        assert!(passed("a", 5).is_empty());
        assert_eq!((refusals.take_suppressed(), refusals.take_suppressed()), (5, 0));
    }

    // covers: LG-13, LG-14
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_breaks_every_rule_has_a_record_a_second_for_all() {
        const RULES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
        let refusals = Refusals::default();
        let mut records = 0;
        let mut said = 0;
        for _ in 0..60_000 {
            let passed = RULES.iter().filter_map(|rule| refusals.pass(rule));
            for suppressed in passed {
                records += 1;
                said += suppressed;
            }
            pass_time(1).await;
        }
        // Each rule once in ten seconds in any case, ten at once, and one a second.
        assert!((60..=12 * 6 + 10 + 60).contains(&records), "{records}");
        assert_eq!(said + records + refusals.take_suppressed(), 12 * 60_000, "all are counted");
        // One that was not broken before is seen at once.
        assert_eq!(refusals.pass("late"), Some(0));
    }

    // covers: LG-13
    #[tokio::test(start_paused = true)]
    async fn handshakes_refused_by_every_rule_have_one_budget() {
        const RULES: [&str; 13] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"];
        let refused = RefusedHandshakes::default();
        let address = |n: u32| Some(IpAddr::from((0x0a00_0000 + n % 1_000).to_be_bytes()));
        let mut records = 0;
        for n in 0..60_000 {
            records += RULES.iter().filter_map(|rule| refused.pass(rule, address(n))).count();
            pass_time(1).await;
        }
        // A minute: what comes at once, twenty a second, and each rule once in ten seconds.
        assert!((1_600..=400 + 20 * 60 + 13 * 7).contains(&records), "{records}");
    }

    // covers: LG-13, LG-14
    #[tokio::test(start_paused = true)]
    async fn one_address_does_not_hide_the_refused_handshakes_of_another() {
        let refused = RefusedHandshakes::default();
        let loud = |n: u32| Some(format!("2001:db8:1:{:x}::1", n & 0xffff).parse().unwrap());
        let mut records = 0;
        for n in 0..60_000 {
            records += usize::from(refused.pass("origin", loud(n)).is_some());
            pass_time(1).await;
        }
        // All that a /48 has: half of the rate, and what it has at once.
        assert!(records <= 400 + 10 * 60 + 7, "{records}");
        let other = Some("192.0.2.1".parse().unwrap());
        let seen = (0..100).filter(|_| refused.pass("origin", other).is_some()).count();
        assert!(seen >= 10, "{seen}");
    }

    // covers: LG-13
    #[tokio::test(start_paused = true)]
    async fn whoever_joins_without_end_has_a_record_a_second_after_two_of_each_room() {
        let joins = Joins::default();
        let most = NonZeroUsize::new(100).unwrap();
        let passed = |tries| -> Vec<u64> { (0..tries).filter_map(|_| joins.pass(most)).collect() };
        assert_eq!(passed(1_000), [0; 200]);
        pass_time(1_000).await;
        assert_eq!(passed(100), [800]);
        pass_time(200_000).await;
        assert_eq!(passed(200).len(), 200, "all rooms again after a while");
        assert_eq!(joins.take_suppressed(), 0);
        joins.pass(most);
        assert_eq!(joins.take_suppressed(), 1);
        let joins = Joins::default();
        assert_eq!(joins.pass(NonZeroUsize::MAX), Some(0), "however many there may be");
    }
}
