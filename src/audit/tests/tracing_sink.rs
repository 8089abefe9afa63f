//! The tracing sink: it never holds up a connection, and never loses an event unreported.

use std::{
    collections::BTreeMap,
    io,
    panic::panic_any,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::channel,
    },
};

use tracing::{Event, Metadata, Subscriber, span};

use super::*;
use crate::{
    audit::{share::Class, tell},
    foreign::tests::Panics,
    testing::Records,
};

fn joined(room: &str) -> AuditRecord {
    AuditRecord::of(AuditEvent::Joined(Joined { room: room.into(), suppressed: 0 }))
}

fn batch(records: impl Into<Vec<AuditRecord>>) -> Batch {
    Batch { records: records.into(), ..Batch::default() }
}

fn room(record: &AuditRecord) -> String {
    match &record.event {
        AuditEvent::Joined(joined) => joined.room.to_string(),
        other => panic!("{other:?}"),
    }
}

// covers: LG-02
#[tokio::test]
async fn a_writer_that_stalls_holds_nobody_up_and_losses_are_counted() {
    let (begun, has_begun) = channel();
    let (go, wait) = channel::<()>();
    let sink = TracingSink::with_writer(DEFAULT_RATE, move |_| {
        begun.send(()).unwrap();
        let _ = wait.recv();
    });
    sink.worker.queue.push(&joined("first"));
    has_begun.recv().unwrap();
    // The worker has one in its hands; so many wait, and the rest is lost.
    let room = Class::Decisions.room();
    for _ in 0..room + 10 {
        sink.worker.queue.push(&joined("more"));
    }
    sink.worker.queue.unreported(|it| assert_eq!(it.dropped.all(), [("joined", 10)]));
    drop(go);
    for _ in 0..room {
        has_begun.recv().unwrap();
    }
}

// covers: LG-02, XX-01
#[tokio::test]
async fn a_writer_that_panics_costs_one_event() {
    let records = ["a", "bad", "b", "bad", "c"].map(joined);
    let written = Mutex::new(Vec::new());
    let write = |record: &AuditRecord| {
        assert_ne!(room(record), "bad");
        written.lock().unwrap().push(room(record));
    };
    let (lines, unreported) = collected(|| write_batch(batch(records), write));
    assert_eq!(*written.lock().unwrap(), ["a", "b", "c"]);
    assert!(lines.is_empty(), "{lines:?}");
    assert_eq!(unreported.dropped.all(), [("joined", 2)]);
    // The next batch begins with them.
    let (lines, unreported) =
        collected(|| write_batch(Batch { unreported, ..Batch::default() }, write));
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert!(line.contains(r#""event":"audit.dropped","count":2,"kind":"joined""#), "{line}");
    assert!(unreported.is_empty());
}

/// Panics at every event, and counts them.
#[derive(Default)]
struct Broken(Arc<AtomicUsize>);

impl Subscriber for Broken {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("the subscriber is broken");
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

// covers: LG-02, XX-01
#[tokio::test]
async fn a_subscriber_that_always_panics_is_told_again_what_was_lost() {
    let records = ["a", "b", "c"].map(joined);
    let broken = Broken::default();
    let seen = Arc::clone(&broken.0);
    let unreported = tracing::subscriber::with_default(broken, || {
        let mut unreported = write_batch(batch(records), write);
        unreported.suppressed.add("published", 9);
        write_batch(Batch { unreported, ..Batch::default() }, write)
    });
    // Three events and two reports.
    assert_eq!(seen.load(Ordering::SeqCst), 5);
    assert_eq!(unreported.dropped.all(), [("joined", 3)], "still counted, for who can be told");
    assert_eq!(unreported.suppressed.all(), [("published", 9)]);
}

// covers: LG-02
#[tokio::test]
async fn the_worker_ends_with_the_last_clone() {
    let (ended, has_ended) = channel::<()>();
    let sink = TracingSink::with_writer(DEFAULT_RATE, move |_| {
        let _held_by_the_worker = &ended;
    });
    let clone = sink.clone();
    sink.worker.queue.push(&joined("a"));
    drop(sink);
    assert!(clone.flush(Duration::from_secs(10)));
    drop(clone);
    // The worker's end drops the writer, and with it the sender.
    assert!(has_ended.recv().is_err());
}

// covers: LG-02
#[test]
fn what_was_recorded_before_the_last_clone_went_is_written() {
    let (begun, has_begun) = channel();
    let (go, wait) = channel::<()>();
    let sink = TracingSink::with_writer(DEFAULT_RATE, move |record| {
        begun.send(room(record)).unwrap();
        let _ = wait.recv();
    });
    sink.worker.queue.push(&joined("first"));
    assert_eq!(has_begun.recv().unwrap(), "first");
    // The worker is busy; when it comes back the sink is gone.
    sink.worker.queue.push(&joined("second"));
    drop(sink);
    drop(go);
    assert_eq!(has_begun.recv().as_deref(), Ok("second"));
    assert!(has_begun.recv().is_err());
}

// covers: LG-02
#[tokio::test]
async fn flush_waits_until_everything_is_written() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let sink = TracingSink::with_writer(DEFAULT_RATE, move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    for _ in 0..100 {
        sink.worker.queue.push(&joined("a"));
    }
    assert!(sink.flush(Duration::from_secs(10)));
    assert_eq!(written.load(Ordering::SeqCst), 100);
}

// covers: LG-12, LG-10
#[tokio::test]
async fn every_event_is_one_line_with_its_name() {
    for mut record in Records::one_of_each() {
        record.user = Some("al\nice\u{1b}[31m".into());
        record.tenant = Some("ac\tme".into());
        record.node = Some("eu-1".into());
        let name = record.event.name();
        let (lines, ()) = collected(|| write(&record));
        let [line] = &lines[..] else { panic!("{name}: {lines:?}") };
        assert!(line.contains(r#""target":"tower_websocket::audit""#), "{line}");
        assert!(line.contains(&format!(r#""event":"{name}""#)), "{line}");
        let connection = record.connection.unwrap();
        assert!(line.contains(&format!(r#""connection":"{connection}""#)), "{line}");
        assert!(line.contains(r#""peer":"192.0.2.1:50000""#), "{line}");
        assert!(line.contains(r#""client":"192.0.2.1""#), "{line}");
        // One spelling in all events, and one that no subscriber has to escape.
        assert!(!line.contains('\u{1b}'), "{line}");
        assert!(line.contains(r#""user":"al\\nice\\u{1b}[31m""#), "{line}");
        assert!(line.contains(r#""tenant":"ac\\tme""#), "{line}");
        assert!(line.contains(r#""node":"eu-1""#), "{line}");
        // What is not known is not there.
        record.node = None;
        (record.tenant, record.user, record.connection) = (None, None, None);
        (record.peer, record.client) = (None, None);
        let (lines, ()) = collected(|| write(&record));
        for field in ["node", "tenant", "user", "peer", "client", "connection"] {
            assert!(!lines[0].contains(&format!(r#""{field}":"#)), "{}", lines[0]);
        }
    }
}

// covers: LG-16
#[tokio::test]
async fn a_line_has_the_time_of_the_event_however_late_it_is_written() {
    let (begun, has_begun) = channel();
    let (go, wait) = channel::<()>();
    let lines = {
        let sink = TracingSink::with_writer(DEFAULT_RATE, move |record| {
            begun.send(collected(|| write(record)).0).unwrap();
            let _ = wait.recv();
        });
        let mut first = joined("a");
        first.at = UNIX_EPOCH + Duration::from_millis(1_500);
        sink.worker.queue.push(&first);
        let first = has_begun.recv().unwrap();
        // The writer is busy: this one waits.
        let mut second = joined("b");
        second.at = UNIX_EPOCH + Duration::from_micros(86_400_000_001);
        sink.worker.queue.push(&second);
        drop(go);
        [first, has_begun.recv().unwrap()].concat()
    };
    assert!(lines[0].contains(r#""at":"1970-01-01T00:00:01.500000Z""#), "{}", lines[0]);
    assert!(lines[1].contains(r#""at":"1970-01-02T00:00:00.000001Z""#), "{}", lines[1]);
}

// covers: LG-16
#[tokio::test]
async fn a_clock_before_its_time_costs_no_record() {
    let mut record = joined("a");
    record.at = UNIX_EPOCH - Duration::from_secs(1);
    let (lines, unreported) = collected(|| write_batch(batch([record]), write));
    assert!(unreported.is_empty());
    assert!(lines[0].contains(r#""at":"1970-01-01T00:00:00.000000Z""#), "{}", lines[0]);
}

// covers: LG-02, XX-01
#[tokio::test]
async fn the_second_of_a_pair_is_told_also_if_the_first_panics() {
    struct Broken;
    impl AuditSink for Broken {
        fn record(&self, _: &AuditRecord) {
            panic!("the sink is broken");
        }
    }
    let kept = Records::new();
    assert!(!tell(&(Broken, kept.clone()), &joined("a")), "the panic is not hidden");
    assert!(!tell(&(kept.clone(), Broken), &joined("b")));
    assert!(tell(&(kept.clone(), kept.clone()), &joined("c")));
    let rooms: Vec<_> = kept.all().iter().map(room).collect();
    assert_eq!(rooms, ["a", "b", "c", "c"]);
}

// covers: LG-02, XX-04
#[tokio::test]
async fn a_sink_that_throws_what_panics_again_costs_no_more_than_its_record() {
    struct Broken;
    impl AuditSink for Broken {
        fn record(&self, _: &AuditRecord) {
            panic_any(Panics);
        }
    }
    let kept = Records::new();
    assert!(!tell(&Broken, &joined("a")));
    assert!(!tell(&(Broken, kept.clone()), &joined("b")));
    assert!(!tell(&((Broken, Broken), Broken), &joined("c")));
    assert_eq!(kept.all().len(), 1);
    let records = batch(["a", "b"].map(joined));
    assert_eq!(write_batch(records, |_| panic_any(Panics)).dropped.all(), [("joined", 2)]);
}

// covers: LG-13, LG-14
#[tokio::test]
async fn what_is_suppressed_is_told_by_kind() {
    let rate = Quota::per_second(8).burst(16);
    let queue = Queue::new(rate);
    for record in Records::one_of_each() {
        for _ in 0..100 {
            queue.push(&record);
        }
    }
    let written = Mutex::new(BTreeMap::<_, u64>::new());
    let write = |record: &AuditRecord| {
        let told = record.event.stands_for();
        *written.lock().unwrap().entry(record.event.name()).or_default() += told;
    };
    // Whoever flushes is told at once, and others within ten seconds.
    queue.close();
    let (lines, unreported) = collected(|| write_batch(queue.take_batch(), write));
    assert!(unreported.is_empty());
    for line in lines {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let fields = &line["fields"];
        assert_eq!(fields["event"], "audit.suppressed", "{line}");
        let kind = Records::one_of_each().into_iter().map(|it| it.event.name());
        let kind = kind.into_iter().find(|it| fields["kind"] == *it).unwrap();
        *written.lock().unwrap().entry(kind).or_default() += fields["count"].as_u64().unwrap();
    }
    // Each record is there, or in a count.
    let written = written.into_inner().unwrap();
    let of = |it: AuditRecord| (it.event.name(), 100 * it.event.stands_for());
    assert_eq!(written, Records::one_of_each().into_iter().map(of).collect());
}

// covers: LG-13
#[tokio::test]
async fn the_rate_of_the_default_is_below_seven_megabytes_a_minute() {
    let mut largest = [0; 3];
    for record in Records::one_of_each() {
        let class = Class::of(&record.event) as usize;
        let (lines, ()) = collected(|| write(&record));
        largest[class] = largest[class].max(lines[0].len() + 1);
    }
    let [lives, decisions, publications] = largest;
    let a_second = 100 * lives + 50 * decisions + 50 * publications;
    assert!(60 * a_second < 7_000_000, "{largest:?}");
}

#[tokio::test]
async fn what_nobody_listens_to_waits_for_nobody() {
    let (begun, has_begun) = channel();
    let sink = TracingSink::with_writer(DEFAULT_RATE, move |record| {
        begun.send(record.event.name()).unwrap();
    });
    sink.record(&joined("a"));
    let (_, ()) = collected(|| sink.record(&Records::one_of_each()[1]));
    assert!(sink.flush(Duration::from_secs(10)));
    drop(sink);
    assert_eq!(has_begun.into_iter().collect::<Vec<_>>(), ["connected"]);
}

/// The lines that `run` writes on this thread.
fn collected<T>(run: impl FnOnce() -> T) -> (Vec<String>, T) {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    let result = tracing::subscriber::with_default(subscriber, run);
    let bytes = lines.0.lock().unwrap().clone();
    let text = String::from_utf8(bytes).unwrap();
    (text.lines().map(str::to_owned).collect(), result)
}
