//! What holds for a state whatever happens to it.

use std::time::Duration;

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::state_operation::{Operation, Run};
use crate::{
    close::{Close, CloseReason},
    driver::{Authentication, config::ConnectionConfig, phase::Phase},
};

fn reason() -> impl Strategy<Value = CloseReason> {
    prop_oneof![
        Just(CloseReason::Normal),
        Just(CloseReason::GoingAway),
        Just(CloseReason::Forbidden),
        Just(CloseReason::PeerClosed(Some(1000))),
        Just(CloseReason::SlowConsumer),
        Just(CloseReason::Lost),
    ]
}

/// Anything but the end.
fn living() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0u64..4000).prop_map(Operation::Wait),
        1 => option::of(-5000i64..50_000).prop_map(Operation::Authenticated),
        1 => Just(Operation::CallPending),
        1 => Just(Operation::CallFinished),
        1 => Just(Operation::Message),
        1 => option::of(0u32..3).prop_map(Operation::Partial),
        1 => (0u32..3).prop_map(Operation::PartialControl),
        2 => Just(Operation::Ping),
        2 => (0usize..3).prop_map(Operation::Pong),
        1 => Just(Operation::StrayPong),
        2 => any::<bool>().prop_map(Operation::Reads),
        2 => (any::<bool>(), prop_oneof![Just(0), Just(1), 0u64..1_000_000])
            .prop_map(|(pending, taken)| Operation::Output { pending, taken }),
        1 => Just(Operation::Refill),
    ]
}

fn anything() -> impl Strategy<Value = Operation> {
    prop_oneof![
        12 => living(),
        1 => (0u64..20_000).prop_map(Operation::Late),
        1 => reason().prop_map(Operation::Close),
        1 => select(Close::ALL).prop_map(Operation::Asked),
        1 => Just(Operation::Finished),
        1 => Just(Operation::CloseFlushed),
        2 => Just(Operation::CloseMoves),
        1 => prop_oneof![9 => Just(Operation::Finished), 1 => Just(Operation::TransportEnd)],
    ]
}

fn config() -> impl Strategy<Value = ConnectionConfig> {
    let time = || (1u64..20_000).prop_map(Duration::from_millis);
    let times = (time(), time(), time(), time(), time(), option::of(time()), time(), time());
    times.prop_map(|(auth, handler, message, ping, pong, idle, write, close)| {
        let config = ConnectionConfig::new()
            .auth_timeout(auth)
            .handler_timeout(handler)
            .message_timeout(message)
            .ping_interval(ping)
            .pong_timeout(pong)
            .write_timeout(write)
            .close_timeout(close);
        match idle {
            Some(idle) => config.idle_timeout(idle),
            None => config,
        }
    })
}

proptest! {
    // covers: DL-04
    // holds: I4
    #[test]
    fn stages_go_forward_and_the_first_reason_stays(
        config in config(),
        spread in 0.0..=1.0,
        operations in vec(anything(), 1..80),
    ) {
        let close = config.close_timeout;
        let mut run = Run::with(config, Authentication::Required, spread);
        for operation in &operations {
            let (stage, reason) = (run.stage(), run.state.reason().cloned());
            run.apply(operation);
            prop_assert!(run.stage() >= stage, "{operation:?}");
            if reason.is_some() {
                prop_assert_eq!(run.state.reason(), reason.as_ref());
            }
            prop_assert_eq!(run.state.reason().is_some(), run.stage() > 0);
            let next = run.state.poll_timeout();
            match run.state.phase() {
                Phase::Open => {}
                Phase::Done => prop_assert_eq!(next, None),
                // Nothing but the end's own deadline runs, whatever is told.
                _ => prop_assert!(next.is_some_and(|it| it <= run.now + close)),
            }
            if matches!(operation, Operation::Wait(_) | Operation::Late(_)) {
                prop_assert!(next.is_none_or(|it| it > run.now), "due after its turn");
            }
        }
    }

    // covers: DL-04
    #[test]
    fn the_end_takes_five_close_timeouts_at_most_and_two_if_nothing_is_read(
        config in config(),
        before in vec(living(), 0..30),
        reason in reason(),
        after in vec(anything(), 0..60),
    ) {
        let moves = after.iter().any(|it| matches!(it, Operation::CloseMoves));
        let most = config.close_timeout * if moves { 5 } else { 2 };
        let mut run = Run::new(config).apply_all(&before);
        run.apply(&Operation::Close(reason));
        // It may have begun before; not later than now.
        let began = run.now;
        for operation in after.iter().filter(|it| !matches!(it, Operation::Late(_))) {
            run.apply(operation);
            if run.now >= began + most {
                prop_assert_eq!(run.state.phase(), Phase::Done);
            }
        }
        run.apply(&Operation::Wait(most.as_millis() as u64));
        prop_assert_eq!(run.state.phase(), Phase::Done);
    }

    // covers: DL-16
    #[test]
    fn a_peer_that_answers_every_ping_in_time_is_never_called_dead(
        latency in 0u64..1900,
        ping in 50u64..4000,
        steps in vec((1u64..400, any::<bool>(), 0u8..4), 1..300),
    ) {
        let config = ConnectionConfig::new()
            .ping_interval(Duration::from_millis(ping))
            .pong_timeout(Duration::from_millis(2000));
        let mut run = Run::with(config, Authentication::Optional, 0.5);
        // The ping that is on its way to the peer or back, and when its pong is there.
        let mut answer = None;
        for (millis, reads, output) in steps {
            run.apply(&Operation::Wait(millis));
            run.apply(&Operation::Reads(reads));
            if reads && answer.is_some_and(|at| at <= run.now) {
                run.apply(&Operation::Pong(0));
                answer = None;
            }
            let sent = run.pings.len();
            run.apply(&Operation::Ping);
            if run.pings.len() > sent {
                // The socket takes it now, even if it does not take what stands behind it.
                answer = Some(run.now + Duration::from_millis(latency.saturating_sub(400)));
            }
            run.apply(&Operation::Output { pending: output == 0, taken: 1 });
            prop_assert_ne!(run.rule(), Some("heartbeat"));
        }
    }

    // covers: DL-15
    #[test]
    fn a_dead_peer_is_gone_after_ping_and_pong_and_the_time_nothing_was_read(
        ping in 50u64..4000,
        pong in 50u64..4000,
        steps in vec((1u64..400, any::<bool>()), 1..300),
    ) {
        let config = ConnectionConfig::new()
            .ping_interval(Duration::from_millis(ping))
            .pong_timeout(Duration::from_millis(pong));
        let mut run = Run::with(config, Authentication::Optional, 1.0);
        let (mut paused, mut longest) = (0, 0);
        for (millis, reads) in steps {
            run.apply(&Operation::Reads(reads));
            run.apply(&Operation::Wait(millis));
            longest = longest.max(millis);
            paused += if reads { 0 } else { millis };
            run.apply(&Operation::Ping);
            run.apply(&Operation::Output { pending: false, taken: 1 });
            // A ping goes out, and reading is noticed, only at the next turn.
            let most = ping + pong + paused + 2 * longest;
            if run.now > run.start + Duration::from_millis(most) {
                prop_assert_eq!(run.rule(), Some("heartbeat"));
            }
        }
    }
}
