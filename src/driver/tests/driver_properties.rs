//! What holds for a connection whatever its peer, its application and its socket do.

use std::{
    io::{self, Write},
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::{
    collection::vec, option, prelude::*, test_runner::TestCaseError, test_runner::TestCaseResult,
};

use crate::{
    close::Close,
    driver::ConnectionConfig,
    testing::{
        Invariant,
        driven::operation::{Operation, Outcome, Run, SECRET, Sent},
    },
};

fn sent() -> impl Strategy<Value = Sent> {
    prop_oneof![
        8 => (0usize..1500).prop_map(Sent::Text),
        2 => (0usize..1500).prop_map(Sent::First),
        1 => Just(Sent::Middle),
        2 => Just(Sent::Last),
        3 => Just(Sent::Ping),
        2 => Just(Sent::Pong),
    ]
}

fn hostile() -> impl Strategy<Value = Sent> {
    prop_oneof![
        20 => sent(),
        1 => Just(Sent::Close),
        1 => (any::<u8>(), 0usize..126).prop_map(|(first, size)| Sent::Frame(first, size)),
        1 => vec(any::<u8>(), 1..20).prop_map(Sent::Raw),
    ]
}

fn peaceful() -> impl Strategy<Value = Operation> {
    let text = || (0usize..1500).prop_map(Sent::Text);
    prop_oneof![
        4 => (vec(text(), 1..40), 1usize..5000).prop_map(|(sent, size)| Operation::Send(sent, size)),
        3 => option::of(0usize..5000).prop_map(Operation::Room),
        1 => option::of(1usize..3000).prop_map(Operation::Piece),
        2 => (0u64..40).prop_map(Operation::Wait),
        1 => (0u64..40).prop_map(Operation::Late),
        2 => prop_oneof![(0usize..5).prop_map(Outcome::Replies), Just(Outcome::Waits)]
            .prop_map(Operation::Plan),
        2 => Just(Operation::Answer),
        4 => (0usize..3000).prop_map(Operation::Push),
    ]
}

fn anything() -> impl Strategy<Value = Operation> {
    let close = prop_oneof![3 => Just(Close::NORMAL), 1 => Just(Close::FORBIDDEN)];
    prop_oneof![
        30 => peaceful(),
        3 => Just(Operation::Room(Some(0))),
        10 => (1000usize..3000).prop_map(Operation::Push),
        10 => (vec(hostile(), 1..40), 1usize..5000)
            .prop_map(|(sent, size)| Operation::Send(sent, size)),
        1 => Just(Operation::Plan(Outcome::Fails)),
        1 => Just(Operation::Plan(Outcome::Panics)),
        3 => close.prop_map(Operation::Close),
        1 => prop_oneof![2 => Just(Operation::End), 1 => Just(Operation::BreakDown)],
    ]
}

/// Short times, and small bounds where a test needs them passed.
pub(super) fn config(outbound: usize) -> ConnectionConfig {
    let millis = Duration::from_millis;
    ConnectionConfig::new()
        .ping_interval(millis(60))
        .pong_timeout(millis(3000))
        .message_timeout(millis(5000))
        .write_timeout(millis(100))
        .handler_timeout(millis(3000))
        .close_timeout(CLOSE)
        .max_outbound_bytes(NonZeroUsize::new(outbound).unwrap())
}

fn run<F: Future<Output = TestCaseResult>>(test: F) -> TestCaseResult {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| TestCaseError::fail(error.to_string()))?;
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    let result = tracing::subscriber::with_default(subscriber, || runtime.block_on(test));
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    Invariant::NoSecrets.assert(!log.contains(SECRET), || log);
    result
}

/// What was logged, at any level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    // holds: I3, I4, I5, I6, I8
    // covers: FR-32, LG-12, DL-01, DL-04, AU-06
    #[test]
    fn a_connection_is_bounded_and_ends_once(operations in vec(anything(), 1..60)) {
        run(async {
            let mut run = Run::new(config(8 * 1024));
            for operation in &operations {
                run.apply(operation).await;
                run.check();
            }
            run.finish().await;
            Ok(())
        })?;
    }

    // covers: DL-20, DL-19
    #[test]
    fn what_was_accepted_before_a_graceful_close_is_on_the_wire_in_order(
        operations in vec(peaceful(), 1..60),
        late in 0usize..10,
    ) {
        run(async {
            // Nothing of the socket's or the handler's making ends it.
            let config = config(1 << 30).write_timeout(Duration::MAX).handler_timeout(Duration::MAX)
                .pong_timeout(Duration::MAX).max_outbound_messages(NonZeroUsize::MAX);
            let mut run = Run::new(config);
            for operation in &operations {
                run.apply(operation).await;
            }
            for _ in 0..late {
                run.apply(&Operation::Push(1000)).await;
            }
            prop_assert_eq!(run.served.records.all_closed().len(), 0);
            run.apply(&Operation::Close(Close::NORMAL)).await;
            run.apply(&Operation::Answer).await;
            run.apply(&Operation::Piece(None)).await;
            run.apply(&Operation::Room(None)).await;
            prop_assert_eq!(&run.served.peer.texts(), &run.plan.lock().unwrap().accepted);
            prop_assert_eq!(run.served.peer.close_code(), Some(1000));
            run.apply(&Operation::End).await;
            prop_assert!(run.served.done && run.served.records.closed().flushed);
            Ok(())
        })?;
    }
}

const CLOSE: Duration = Duration::from_millis(50);
