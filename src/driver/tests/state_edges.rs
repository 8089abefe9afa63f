//! Where two deadlines meet, where numbers end, and the account of control frames.

use std::time::Duration;

use super::state_operation::{
    Operation::{self, *},
    Run,
};
use crate::{
    close::CloseReason,
    driver::{Authentication, config::ConnectionConfig, phase::Phase},
    quota::Quota,
};

const SENT: Operation = Output { pending: false, taken: 1 };

fn second() -> ConnectionConfig {
    let second = Duration::from_secs(1);
    ConnectionConfig::new()
        .auth_timeout(second)
        .handler_timeout(second)
        .message_timeout(second)
        .pong_timeout(second)
        .idle_timeout(second)
        .write_timeout(second)
        .close_timeout(second)
}

// covers: AU-03
#[test]
fn of_several_deadlines_at_once_the_first_in_the_list_gives_the_reason() {
    let stuck = Output { pending: true, taken: 0 };
    let all = [CallPending, Partial(Some(1)), stuck, Wait(1000)];
    let named = [
        (vec![], "auth.timeout"),
        (vec![Authenticated(Some(1000))], "auth.expired"),
        (vec![Authenticated(None)], "handler.timeout"),
    ];
    for (first, rule) in named {
        let run = Run::new(second()).apply_all(&first).apply_all(&all);
        assert_eq!(run.rule(), Some(rule));
        assert_eq!(run.state.phase(), Phase::Flushing);
        // Only the end's own deadline is left, and it began at the first of them.
        assert_eq!(run.next(), Some(2000));
    }
}

#[test]
fn a_grace_and_a_fault_that_are_due_together_end_at_once() {
    // Idle comes before the write deadline: its reason stands, and the fault cuts the grace short.
    let stuck = Output { pending: true, taken: 0 };
    let run = Run::new(second().message_timeout(Duration::MAX));
    let run = run.apply_all(&[Authenticated(None), stuck, Wait(1000)]);
    assert_eq!((run.rule(), run.state.phase()), (Some("idle"), Phase::Finishing));
    assert_eq!(run.next(), Some(2000), "the end began once");
}

// covers: P2-19
#[test]
fn a_time_without_end_never_passes() {
    let config = ConnectionConfig::new()
        .auth_timeout(Duration::MAX)
        .handler_timeout(Duration::MAX)
        .message_timeout(Duration::MAX)
        .ping_interval(Duration::MAX)
        .pong_timeout(Duration::MAX)
        .idle_timeout(Duration::MAX)
        .write_timeout(Duration::MAX)
        .close_timeout(Duration::MAX);
    let stuck = Output { pending: true, taken: 0 };
    let all = [CallPending, Partial(Some(1)), stuck, Reads(false), Wait(1 << 40), Reads(true)];
    for spread in [0.5, 1.0, 7.0, f64::NAN] {
        let mut run = Run::with(config.clone(), Authentication::Required, spread).apply_all(&all);
        assert_eq!((run.rule(), run.next()), (None, None), "{spread}");
        run.apply(&Close(CloseReason::Forbidden));
        assert_eq!((run.state.phase(), run.next()), (Phase::Flushing, None), "{spread}");
    }
}

// covers: P2-19
#[test]
fn no_time_at_all_ends_in_the_turn_that_asks() {
    let config = ConnectionConfig::new().close_timeout(Duration::ZERO);
    let run = Run::new(config.clone()).apply_all(&[Close(CloseReason::Normal), Late(0), Late(0)]);
    assert_eq!((run.state.phase(), run.rule()), (Phase::Done, Some("normal")));
    let run = Run::new(config).apply_all(&[Late(5000), Late(0)]);
    assert_eq!((run.state.phase(), run.rule()), (Phase::Done, Some("auth.timeout")));
}

// covers: P2-19
#[test]
fn no_time_for_a_pong_behind_half_a_message_is_the_messages_own_time() {
    let config = ConnectionConfig::new()
        .ping_interval(Duration::from_secs(1))
        .pong_timeout(Duration::ZERO)
        .message_timeout(Duration::from_secs(5));
    let mut run = Run::with(config, Authentication::Optional, 1.0);
    let now = [Partial(Some(1)), Wait(1000), Ping, SENT, Late(0), Late(0)];
    now.iter().for_each(|operation| run.apply(operation));
    assert!(run.state.poll_timeout().is_some_and(|it| it > run.now), "spins");
    run.apply(&Wait(4000));
    assert_eq!(run.rule(), Some("message.time"));
}

#[test]
fn the_first_ping_is_placed_by_the_spread() {
    for (spread, millis) in [(0.0, 0), (0.25, 7500), (1.0, 30_000), (-1.0, 0), (2.0, 30_000)] {
        let run = Run::with(ConnectionConfig::new(), Authentication::Optional, spread);
        assert_eq!(run.next(), Some(millis), "{spread}");
    }
}

// covers: DL-16
#[test]
fn while_one_ping_is_under_way_there_is_no_second() {
    let config = ConnectionConfig::new().ping_interval(Duration::from_secs(1));
    let mut run = Run::with(config, Authentication::Optional, 1.0);
    for operation in [Wait(1000), Wait(1000), Ping, Ping] {
        run.apply(&operation);
    }
    assert_eq!(run.pings, [0u64.to_be_bytes()], "due twice, sent once");
    for operation in [Wait(2000), Ping, SENT, Wait(2000), Ping] {
        run.apply(&operation);
    }
    assert_eq!(run.pings.len(), 1, "in the buffer, then on its way");
    for operation in [Pong(0), Wait(1000), Ping] {
        run.apply(&operation);
    }
    assert_eq!(run.pings, [0u64.to_be_bytes(), 1u64.to_be_bytes()]);
}

#[test]
fn after_data_the_next_ping_goes_out_though_the_last_was_not_answered() {
    let config = ConnectionConfig::new().ping_interval(Duration::from_secs(1));
    let mut run = Run::with(config, Authentication::Optional, 1.0);
    for operation in [Wait(1000), Ping, SENT, Wait(500), Message, Wait(500), Ping] {
        run.apply(&operation);
    }
    assert_eq!(run.pings.len(), 2);
}

#[test]
fn the_round_trip_is_measured_from_when_the_ping_was_out() {
    let late = Output { pending: true, taken: 1 };
    let mut run = Run::with(ConnectionConfig::new(), Authentication::Optional, 0.0);
    for operation in [Wait(0), Ping, late, Wait(3000), SENT, Wait(40), StrayPong] {
        run.apply(&operation);
    }
    assert_eq!(run.rtt, None);
    run.apply(&Pong(0));
    assert_eq!(run.rtt, Some(Duration::from_millis(40)));
    run.apply(&Pong(0));
    assert_eq!(run.rtt, None, "one pong for one ping");
}

#[test]
fn a_pong_that_may_have_waited_unread_tells_no_round_trip() {
    let (stop, go) = (Reads(false), Reads(true));
    let table: [(&str, Vec<Operation>, Option<u64>); 5] = [
        ("read at once", vec![SENT, Wait(40)], Some(40)),
        ("a call in between", vec![SENT, Wait(10), stop.clone(), Wait(30), go.clone()], None),
        ("a call that took no time", vec![SENT, Wait(40), stop.clone(), go.clone()], Some(40)),
        ("a call under way", vec![stop.clone(), Wait(9), SENT, Wait(40), go.clone()], None),
        ("a call before", vec![stop, Wait(9), go, SENT, Wait(40)], Some(40)),
    ];
    for (name, between, millis) in table {
        let mut run = Run::with(ConnectionConfig::new(), Authentication::Optional, 0.0);
        run = run.apply_all(&[Wait(0), Ping]).apply_all(&between).apply_all(&[Pong(0)]);
        assert_eq!(run.rtt, millis.map(Duration::from_millis), "{name}");
        // The next one is measured again.
        run = run.apply_all(&[Wait(30_000), Ping, SENT, Wait(5), Pong(0)]);
        assert_eq!((run.pings.len(), run.rtt), (2, Some(Duration::from_millis(5))), "{name}");
    }
}

#[test]
fn nothing_is_pinged_after_the_end_began() {
    let mut run = Run::with(ConnectionConfig::new(), Authentication::Optional, 0.0);
    for operation in [Wait(0), Close(CloseReason::Normal), Ping, SENT, Wait(4000), Ping] {
        run.apply(&operation);
    }
    assert!(run.pings.is_empty());
    assert_eq!(run.next(), Some(5000));
}

fn control(per_second: u32, burst: u32) -> Run {
    let quota = Quota::per_second(per_second).burst(burst);
    let config = ConnectionConfig::new().control_frames(quota);
    Run::with(config.ping_interval(Duration::MAX), Authentication::Optional, 1.0)
}

// covers: FR-21
#[test]
fn control_frames_are_earned_at_the_rate_however_often_it_is_asked() {
    for (rate, step) in [(50, 1), (50, 19), (50, 20), (3, 7), (7, 333), (60, 16), (1000, 1)] {
        let mut run = control(rate, 1_000);
        let mut earned = 0;
        for n in 1..=3000 {
            run.apply(&Wait(step));
            run.apply(&Refill);
            earned = step * n * u64::from(rate) / 1000;
            assert!(run.refilled <= earned, "{rate}/s each {step} ms: {} early", run.refilled);
        }
        assert!(run.refilled + 1 >= earned, "{rate}/s each {step} ms: {}", run.refilled);
    }
}

// covers: FR-21
#[test]
fn a_long_silence_earns_one_burst_and_no_more() {
    for (rate, burst) in [(50, 100), (3, 100), (7, 13), (1, 1), (1, u32::MAX), (u32::MAX, 1)] {
        let mut run = control(rate, burst);
        run.apply(&Wait(1000 * 60 * 60 * 24 * 365));
        run.apply(&Refill);
        let year = 60 * 60 * 24 * 365 * u64::from(rate);
        let most = u64::from(burst).min(year);
        assert!(run.refilled <= most, "{rate}/s, {burst}: {}", run.refilled);
        assert!(run.refilled + 1 >= most, "{rate}/s, {burst}: {}", run.refilled);
        run.apply(&Refill);
        assert!(run.refilled <= most, "{rate}/s, {burst}: asked twice");
    }
}
