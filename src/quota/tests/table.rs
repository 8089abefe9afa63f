//! Buckets and their table.

use std::{net::IpAddr, num::NonZeroU32};

use super::*;
use crate::quota::{Measured, meter::Bucket};

fn entries(table: &MeterTable) -> usize {
    table.inner.lock().unwrap().meters.len()
}

// covers: MS-21
#[tokio::test(start_paused = true)]
async fn a_million_keys_take_no_more_entries_than_the_cap() {
    let table = MeterTable::new(Quota::per_second(1), 1_000);
    let known = table.meter(Some(RateKeyValue::of(0)));
    assert_eq!(known.take(NonZeroU32::MIN), Measured::Within);
    let mut within = 0;
    for n in 1..=1_000_000 {
        let address = IpAddr::from(((0x2001_0db8_u128 << 32) + n).to_be_bytes());
        let meter = table.meter(Some(RateKeyValue::of(address)));
        within += usize::from(meter.take(NonZeroU32::MIN) == Measured::Within);
        assert!(entries(&table) <= 1_000);
    }
    // Those that found room, and one for all that did not.
    assert_eq!(within, 999 + 1);
    let again = table.meter(Some(RateKeyValue::of(0)));
    assert!(matches!(again.take(NonZeroU32::MIN), Measured::Exceeded(Some(_))));
}

#[tokio::test(start_paused = true)]
async fn the_largest_quotas_are_quotas_too() {
    for quota in [Quota::per_minute(1), Quota::per_second(1), Quota::per_second(u32::MAX)] {
        let meter = Meter::of(quota.burst(u32::MAX));
        // A clock that has counted some years has room for as many more.
        for _ in 0..1_000 {
            assert_eq!(meter.take(NonZeroU32::MIN), Measured::Within, "{quota:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_quota_of_zero_is_nothing() {
    for quota in [
        Quota::per_second(0),
        Quota::per_minute(0),
        Quota::per_second(0).burst(5),
        Quota::per_second(5).burst(0),
    ] {
        let meter = Meter::of(quota);
        assert_eq!(meter.limit(), 0, "{quota:?}");
        for cost in [1, 5, u32::MAX].map(|it| NonZeroU32::new(it).unwrap()) {
            assert_eq!(meter.take(cost), Measured::Exceeded(None), "{quota:?}");
        }
        assert!(meter.is_idle(), "an empty bucket that stays so need not be kept");
    }
}

// covers: MS-21
#[tokio::test(start_paused = true)]
async fn a_sweep_forgets_full_buckets_that_nobody_uses() {
    let table = MeterTable::new(Quota::per_second(1), 3);
    let [used, spent, full] = [0, 1, 2].map(RateKeyValue::of);
    let in_use = table.meter(Some(used));
    table.meter(Some(full));
    tokio::time::advance(Duration::from_millis(1_500)).await;
    assert_eq!(table.meter(Some(spent)).take(NonZeroU32::MIN), Measured::Within);
    // Only the bucket that is full and unused makes room.
    table.meter(Some(RateKeyValue::of(3)));
    assert_eq!(entries(&table), 3);
    let known = |key| table.inner.lock().unwrap().meters.contains_key(&key);
    assert_eq!([used, spent, full].map(known), [true, true, false]);
    // There is at most one sweep a second: what comes meanwhile shares a bucket.
    tokio::time::advance(Duration::from_millis(999)).await;
    let (a, b) = (table.meter(Some(RateKeyValue::of(4))), table.meter(Some(RateKeyValue::of(5))));
    assert_eq!(a.take(NonZeroU32::MIN), Measured::Within);
    assert!(matches!(b.take(NonZeroU32::MIN), Measured::Exceeded(Some(_))));
    drop(in_use);
}

// covers: MS-21
#[tokio::test(start_paused = true)]
async fn those_who_come_and_go_leave_nothing_behind() {
    let table = MeterTable::new(Quota::per_second(1), 100_000);
    let mut most = 0;
    for key in 0..50_000 {
        assert_eq!(
            table.meter(Some(RateKeyValue::of(key))).take(NonZeroU32::MIN),
            Measured::Within
        );
        most = most.max(entries(&table));
        if key % 100 == 0 {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }
    assert!(most <= 2 * FEW, "{most}");
}

fn waiting(meter: &Meter) -> tokio::task::JoinHandle<Instant> {
    let meter = meter.clone();
    tokio::spawn(async move {
        meter.wait_for(NonZeroU32::MIN).await;
        Instant::now()
    })
}

// covers: MS-24
#[tokio::test(start_paused = true)]
async fn those_who_wait_are_served_in_order_and_who_gives_up_is_passed_over() {
    let table = MeterTable::new(Quota::per_second(1), 3);
    let meter = table.meter(Some(RateKeyValue::of("ada")));
    assert_eq!(meter.take(NonZeroU32::MIN), Measured::Within);
    let began = Instant::now();
    let waiting: Vec<_> = (0..5).map(|_| waiting(&meter)).collect();
    tokio::task::yield_now().await;
    // Who comes later does not overtake, also when there is something to take.
    tokio::time::advance(Duration::from_millis(999)).await;
    assert!(matches!(meter.take_unless_awaited(NonZeroU32::MIN), Measured::Exceeded(Some(_))));
    for given_up in [0, 3] {
        waiting[given_up].abort();
    }
    let mut served = Vec::new();
    for waiting in waiting {
        served.extend(waiting.await.ok().map(|at| at.duration_since(began).as_secs()));
    }
    assert_eq!(served, [1, 2, 3]);
    // There is nobody left, and what was given up was not charged.
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(meter.take_unless_awaited(NonZeroU32::MIN), Measured::Within);
}

// covers: MS-24
#[tokio::test(start_paused = true)]
async fn two_who_ask_at_the_same_moment_do_not_wait_for_each_other() {
    let meter = Meter::of(Quota::per_second(1).burst(u32::MAX));
    // Somebody had to wait once, so that there is a line, in which nobody stands.
    meter.clone().wait_for(NonZeroU32::MIN).await;
    let asking = || {
        let meter = meter.clone();
        std::thread::spawn(move || {
            (0..100_000).all(|_| meter.take_unless_awaited(NonZeroU32::MIN) == Measured::Within)
        })
    };
    let within = [asking(), asking(), asking()].map(|it| it.join().unwrap());
    assert_eq!(within, [true; 3]);
}

// covers: MS-24
#[tokio::test(start_paused = true)]
async fn a_sweep_forgets_no_bucket_that_is_waited_for_or_not_full() {
    let table = MeterTable::new(Quota::per_minute(1), 1);
    let key = Some(RateKeyValue::of("ada"));
    assert_eq!(table.meter(key).take(NonZeroU32::MIN), Measured::Within);
    let waiting = waiting(&table.meter(key));
    tokio::task::yield_now().await;
    for second in 0..6 {
        if second == 3 {
            waiting.abort();
        }
        // Finds the table full, and looks for somebody to forget.
        tokio::time::advance(Duration::from_secs(1)).await;
        table.meter(Some(RateKeyValue::of("grace")));
        let again = table.meter(key).take(NonZeroU32::MIN);
        assert!(matches!(again, Measured::Exceeded(Some(_))), "after {second} s");
    }
}

#[test]
fn a_full_table_takes_as_much_memory_as_its_docs_say() {
    // A map of n entries has up to 16/7 n places with a byte of control each; a bucket stands behind
    // the two counts of its `Arc`.
    let place = size_of::<(RateKeyValue, Meter)>() + 1;
    let bucket = 2 * size_of::<usize>() + size_of::<Bucket>();
    assert!(place * 16 / 7 + bucket <= 160, "{place} * 16/7 + {bucket}");
}
