//! Who has which share of the log, when everybody is loud at once.

use std::{collections::BTreeMap, net::SocketAddr};

use super::*;
use crate::{audit::AuditEvent, testing::Records};

/// The default of the sink.
const RATE: Quota = Quota::per_second(200).burst(65_536);

fn kinds() -> Vec<AuditRecord> {
    Records::one_of_each()
}

fn from(record: &AuditRecord, address: &str) -> AuditRecord {
    let peer = SocketAddr::new(address.parse().unwrap(), 50_000);
    AuditRecord { peer: Some(peer), client: Some(peer.ip()), ..record.clone() }
}

/// The `n`th of many addresses.
fn address(n: u32) -> String {
    std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).to_string()
}

fn count(batch: &Batch, is: impl Fn(&AuditRecord) -> bool) -> usize {
    batch.records.iter().filter(|it| is(it)).count()
}

/// 240 connections come, log in and go, while one address does everything else at once.
// covers: LG-13, LG-14
#[tokio::test(start_paused = true)]
async fn whoever_is_loud_costs_nobody_elses_beginning_login_or_end() {
    let (queue, kinds) = (Queue::new(RATE), kinds());
    let lives: Vec<_> = kinds.iter().filter(|it| Class::of(&it.event) == Class::Lives).collect();
    let mut pushed = BTreeMap::<_, usize>::new();
    let mut push = |record: &AuditRecord| {
        *pushed.entry(record.event.name()).or_default() += record.event.stands_for() as usize;
        queue.push(record);
    };
    // Enough to fill every class, if it could.
    let mut at = 0;
    for other in 0..240 {
        // The log stands still: nothing is taken.
        for _ in 0..20 {
            kinds.iter().for_each(|it| push(&from(it, "192.0.2.1")));
            // A subscriber's whole /48, and those that nobody knows the address of.
            kinds.iter().for_each(|it| push(&from(it, &format!("2001:db8:1:{at:x}::1"))));
            let others = kinds.iter().filter(|it| Class::of(&it.event) != Class::Lives);
            others.for_each(|it| push(&AuditRecord { peer: None, client: None, ..it.clone() }));
            at += 1;
        }
        for life in &lives {
            let user = Some(format!("user {other}").into());
            push(&AuditRecord { user, ..from(life, &address(other)) });
        }
    }
    let batch = queue.take_batch();
    for other in 0..240 {
        let user = format!("user {other}");
        let its = count(&batch, |it| it.user.as_deref() == Some(&user));
        assert_eq!(its, lives.len(), "{user}");
    }
    // And everything that is not there is counted, by kind.
    queue.close();
    let rest = queue.take_batch();
    assert!(rest.records.is_empty() && rest.last);
    for (kind, pushed) in pushed {
        let counted = |counts: &Counts| -> usize {
            counts.all().iter().filter(|it| it.0 == kind).map(|it| it.1 as usize).sum()
        };
        let unreported = [&batch.unreported, &rest.unreported];
        let missing: usize =
            unreported.iter().map(|it| counted(&it.dropped) + counted(&it.suppressed)).sum();
        let there = batch.records.iter().filter(|it| it.event.name() == kind);
        let told: usize = there.map(|it| it.event.stands_for() as usize).sum();
        assert_eq!(told + missing, pushed, "{kind}");
    }
}

// covers: LG-13
#[tokio::test(start_paused = true)]
async fn all_kinds_from_everywhere_are_two_hundred_records_a_second() {
    let (queue, kinds) = (Queue::new(RATE), kinds());
    let flood = |addresses: u32| {
        for n in 0..addresses {
            let address = address(n);
            kinds.iter().for_each(|it| queue.push(&from(it, &address)));
        }
        queue.take_now().records.len()
    };
    let at_once: usize = (0..20).map(|_| flood(1_000)).sum();
    assert_eq!(at_once, 65_536);
    let mut minute = 0;
    for _ in 0..60 {
        tokio::time::advance(Duration::from_secs(1)).await;
        minute += flood(100);
    }
    assert_eq!(minute, 60 * 200);
}

// covers: LG-14
#[tokio::test(start_paused = true)]
async fn an_address_has_an_eighth_of_each_class_and_an_ipv6_subscriber_a_half() {
    let closed = kinds().pop().unwrap();
    let passed = |addresses: &dyn Fn(u32) -> String| {
        let queue = Queue::new(RATE);
        (0..100_000).for_each(|n| queue.push(&from(&closed, &addresses(n))));
        queue.take_now().records.len()
    };
    assert_eq!(passed(&|_| "192.0.2.1".into()), 4_096);
    assert_eq!(passed(&|n| format!("2001:db8:1:1::{:x}", n & 0xffff)), 4_096);
    assert_eq!(passed(&|n| format!("2001:db8:1:{:x}::1", n & 0xff)), 8_192);
    assert_eq!(passed(&|n| format!("2001:db8:1:{:x}::1", n & 0xffff)), 16_384);
    assert_eq!(passed(&|n| address(n % 5_000)), 32_768, "as many as may wait");
}

// covers: LG-13
#[tokio::test(start_paused = true)]
async fn a_record_that_stands_for_a_thousand_and_is_not_written_counts_as_a_thousand() {
    let queue = Queue::new(Quota::per_second(0));
    for mut record in kinds() {
        match &mut record.event {
            AuditEvent::UpgradeRefused(refused) => refused.suppressed = 999,
            AuditEvent::Joined(joined) => joined.suppressed = 999,
            AuditEvent::Skipped(skipped) => skipped.suppressed = 999,
            AuditEvent::Refused(refused) => refused.suppressed = u64::MAX,
            _ => {}
        }
        queue.push(&record);
    }
    let told = queue.unreported(|it| it.suppressed.all());
    assert_eq!(told.len(), kinds().len());
    for (kind, count) in told {
        let expected = match kind {
            "handshake.rejected" | "joined" | "skipped" => 1_000,
            "refused" => u64::MAX,
            _ => 1,
        };
        assert_eq!(count, expected, "{kind}");
    }
}

/// A small rate for a small server, on which nothing else happens.
// covers: LG-14
#[tokio::test(start_paused = true)]
async fn one_life_is_recorded_whole_however_small_the_rate() {
    for rate in [6, 8, 20, 40, 100].map(Quota::per_second) {
        let queue = Queue::new(rate);
        let kinds = kinds();
        let lives = kinds
            .iter()
            .filter(|it| ["connected", "authenticated", "closed"].contains(&it.event.name()));
        lives.for_each(|it| queue.push(it));
        assert_eq!(queue.take_now().records.len(), 3, "{rate:?}");
    }
}

/// An IPv6 address is counted in three networks.
// covers: LG-14
#[tokio::test(start_paused = true)]
async fn the_lives_of_as_many_as_admission_lets_in_pass_at_once_wherever_they_come_from() {
    let kinds = kinds();
    let lives: Vec<_> = kinds
        .iter()
        .filter(|it| ["connected", "authenticated", "closed"].contains(&it.event.name()))
        .collect();
    for addresses in [&address as &dyn Fn(u32) -> String, &|n| format!("2001:db8:{n:x}::1")] {
        let queue = Queue::new(RATE);
        for n in 0..10_000 {
            lives.iter().for_each(|it| queue.push(&from(it, &addresses(n))));
        }
        assert_eq!(queue.take_now().records.len(), 30_000, "{}", addresses(0));
    }
}

// covers: LG-13
#[tokio::test(start_paused = true)]
async fn a_rate_or_a_burst_of_zero_is_nothing_however_large_the_other() {
    for rate in [Quota::per_second(u32::MAX).burst(0), Quota::per_second(0).burst(u32::MAX)] {
        let queue = Queue::new(rate);
        kinds().iter().for_each(|it| queue.push(it));
        assert_eq!(queue.take_now().records.len(), 0, "{rate:?}");
    }
}

// covers: LG-13
#[tokio::test(start_paused = true)]
async fn a_rate_of_nothing_writes_the_counts_and_the_largest_writes_all() {
    let kinds = kinds();
    for (rate, there) in [(Quota::per_second(0), 0), (Quota::per_second(u32::MAX), kinds.len())] {
        let queue = Queue::new(rate);
        kinds.iter().for_each(|it| queue.push(it));
        queue.close();
        let batch = queue.take_batch();
        assert_eq!(batch.records.len(), there);
        assert_eq!(batch.unreported.suppressed.all().len(), kinds.len() - there);
    }
}

/// So that a full queue is what it says in the docs.
#[test]
fn a_record_is_small() {
    let all: usize =
        [Class::Lives, Class::Decisions, Class::Publications].map(Class::room).iter().sum();
    assert!(all * size_of::<AuditRecord>() <= 16 * 1024 * 1024, "{}", size_of::<AuditRecord>());
}
