//! Who fails too often waits; who does not is never counted.

use super::*;

const QUOTA: Quota = Quota::per_minute(10).burst(20);

fn tried(what: impl Hash) -> Failure {
    Failure::Tried(RateKeyValue::of(what))
}

fn address(n: u32) -> IpAddr {
    IpAddr::from((0x0a00_0000 + n).to_be_bytes())
}

/// How many of `tries` different guesses from the addresses that `from` makes are let through.
fn guesses(failed: &FailedLogins, tries: u32, from: impl Fn(u32) -> IpAddr) -> u32 {
    let now = Instant::now();
    let guess = |n: &u32| {
        let free = failed.enter(from(*n), now).is_none();
        if free {
            failed.count(from(*n), tried((now, n)), now);
        }
        free
    };
    (0..tries).filter(guess).count() as u32
}

async fn pass_time(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

// covers: AU-11
#[tokio::test(start_paused = true)]
async fn an_address_has_twenty_guesses_and_then_ten_a_minute() {
    let failed = FailedLogins::new(QUOTA);
    let one = |_| address(1);
    assert_eq!(guesses(&failed, 1_000, one), 20);
    assert_eq!(failed.enter(address(1), Instant::now()), Some(Duration::from_secs(6)));
    assert_eq!(failed.enter(address(2), Instant::now()), None);
    let mut more = 0;
    for _ in 0..600 {
        pass_time(1).await;
        more += guesses(&failed, 10, one);
    }
    assert_eq!(more, 100);
}

// covers: AU-11
#[tokio::test(start_paused = true)]
async fn a_subscriber_of_ipv6_has_four_times_as_many_and_not_65536_times() {
    let failed = FailedLogins::new(QUOTA);
    let host = |n: u32| IpAddr::from([0x2001, 0xdb8, 1, n as u16, 0, 0, 0, 1]);
    assert_eq!(guesses(&failed, 65_536, host), 80);
    assert!(
        failed.enter(IpAddr::from([0x2001, 0xdb8, 2, 0, 0, 0, 0, 1]), Instant::now()).is_none()
    );
}

// covers: AU-11
#[tokio::test(start_paused = true)]
async fn the_same_again_is_no_guess_and_who_never_logs_in_is_a_quarter_of_one() {
    let failed = FailedLogins::new(QUOTA);
    let now = Instant::now();
    for n in 0..1_000 {
        // A page and three tabs with a token each that was good yesterday.
        failed.count(address(1), tried(n % 4), now);
    }
    assert_eq!(failed.wait(address(1), now), None);
    assert_eq!(guesses(&failed, 100, |_| address(1)), 16);
    for n in 0..100 {
        assert_eq!(failed.enter(address(2), now).is_some(), n >= 77, "{n}");
        failed.count(address(2), Failure::Waited, now);
    }
}

/// What was under way when the quota was used up is paid for afterwards.
// covers: AU-11
#[tokio::test(start_paused = true)]
async fn many_guesses_at_the_same_moment_are_a_debt() {
    let failed = FailedLogins::new(QUOTA);
    let now = Instant::now();
    (0..250).for_each(|n| failed.count(address(1), tried(n), now));
    // 250 at ten a minute, but for the twenty that were free.
    assert_eq!(failed.wait(address(1), now), Some(Duration::from_secs(6 * 231)));
    // But nobody owes for longer than an hour.
    (0..100_000).for_each(|n| failed.count(address(1), tried(n), now));
    assert_eq!(failed.wait(address(1), now), Some(DEBT + Duration::from_secs(6)));
    pass_time(2 * 60 * 60).await;
    assert_eq!(guesses(&failed, 100, |_| address(1)), 20);
}

// covers: AU-11, MS-21
#[tokio::test(start_paused = true)]
async fn a_million_addresses_leave_the_table_at_its_cap() {
    let failed = FailedLogins::new(QUOTA);
    for n in 0..1_000_000 {
        failed.count(address(n), tried(n), Instant::now());
        if n % 10_000 == 0 {
            pass_time(1).await;
        }
    }
    assert!(failed.0.entries() <= ENTRIES, "{}", failed.0.entries());
    // One failure each, so that none of them is blocked, and there is room for the next.
    pass_time(1).await;
    assert_eq!(guesses(&failed, 100, |_| address(2_000_000)), 20);
    assert_eq!(guesses(&failed, 100, |_| address(2_000_000)), 0);
    pass_time(600).await;
    assert_eq!(failed.enter(address(1), Instant::now()), None);
    assert_eq!(failed.0.entries(), 0);
}

// covers: AU-11, MS-21
#[tokio::test(start_paused = true)]
async fn who_is_blocked_is_not_forgotten_and_the_others_share_what_is_left() {
    let failed = Failures::new(QUOTA, 100);
    let of = |n: u32| std::iter::once((n, 1));
    let now = Instant::now();
    for n in 0..100 {
        (0..40).for_each(|guess| failed.count(of(n), tried(guess), now));
    }
    pass_time(1).await;
    let now = Instant::now();
    let strangers = (1_000..5_000).filter(|n| failed.enter(of(*n), now).is_none());
    assert_eq!(strangers.count(), 1_000);
    assert!((0..100).all(|n| failed.enter(of(n), now).is_some()), "they are still blocked");
    pass_time(60).await;
    let now = Instant::now();
    assert_eq!((1_000..5_000).filter(|n| failed.enter(of(*n), now).is_none()).count(), 1_000);
    // When they may try again, there is room.
    pass_time(300).await;
    let now = Instant::now();
    assert!((1_000..5_000).all(|n| failed.enter(of(n), now).is_none()));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_nothing_and_without_end_is_without_end() {
    let now = Instant::now();
    for none in [Quota::per_minute(10).burst(0), Quota::per_minute(0).burst(10)] {
        assert!(FailedLogins::new(none).enter(address(1), now).is_some());
    }
    let failed = FailedLogins::new(Quota::per_second(u32::MAX));
    assert_eq!(guesses(&failed, 100_000, |_| address(1)), 100_000);
}

#[test]
fn a_full_table_takes_as_much_memory_as_its_docs_say() {
    // A map of n entries has up to 16/7 n places with a byte of control each.
    let place = size_of::<(Network, Entry)>() + 1;
    assert!(place * 16 / 7 * ENTRIES <= 20 * 1024 * 1024, "{place}");
}
