//! The tracing sink: it never holds up a connection, and never loses an event unsaid.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::channel,
    },
};

use tracing::{Event, Metadata, Subscriber, span};

use super::*;
use crate::{
    audit::{Closed, Refusal},
    handle::Connection,
    outbound::OutboundLimits,
};

fn connection() -> Connection {
    struct Nowhere;
    impl AuditSink for Nowhere {
        fn record(&self, _event: AuditEvent) {}
    }
    Connection::new(None, OutboundLimits { bytes: 1, messages: 1 }, None, Arc::new(Nowhere))
}

fn joined(room: &str) -> AuditEvent {
    AuditEvent::Joined { connection: connection().id(), user: "alice".into(), room: room.into() }
}

fn room(event: &AuditEvent) -> String {
    match event {
        AuditEvent::Joined { room, .. } => room.to_string(),
        other => panic!("{other:?}"),
    }
}

// covers: LG-02
#[tokio::test]
async fn a_writer_that_stalls_holds_nobody_up_and_losses_are_counted() {
    let (begun, has_begun) = channel();
    let (go, wait) = channel::<()>();
    let sink = TracingSink::with_writer(move |_| {
        begun.send(()).unwrap();
        let _ = wait.recv();
    });
    sink.record(joined("first"));
    has_begun.recv().unwrap();
    // The worker has one in its hands; so many wait, and the rest is lost.
    for _ in 0..QUEUED_EVENTS + 10 {
        sink.record(joined("more"));
    }
    assert_eq!(sink.worker.queue.lock().lost, 10);
    drop(go);
    for _ in 0..QUEUED_EVENTS {
        has_begun.recv().unwrap();
    }
}

// covers: LG-02, XX-01
#[tokio::test]
async fn a_writer_that_panics_costs_one_event() {
    let events = ["a", "bad", "b", "bad", "c"].map(joined);
    let written = Mutex::new(Vec::new());
    let write = |event: &AuditEvent| {
        assert_ne!(room(event), "bad");
        written.lock().unwrap().push(room(event));
    };
    let (lines, lost) = collected(|| write_batch(&events, 0, write));
    assert_eq!(*written.lock().unwrap(), ["a", "b", "c"]);
    assert!(lines.is_empty(), "{lines:?}");
    assert_eq!(lost, 2);
    // The next batch begins with them.
    let (lines, lost) = collected(|| write_batch(&[], lost, write));
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("audit.dropped") && lines[0].contains(r#""count":2"#), "{lines:?}");
    assert_eq!(lost, 0);
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
    let events = ["a", "b", "c"].map(joined);
    let broken = Broken::default();
    let seen = Arc::clone(&broken.0);
    let lost = tracing::subscriber::with_default(broken, || {
        let lost = write_batch(&events, 0, write);
        write_batch(&[], lost, write)
    });
    // Three events and a report.
    assert_eq!(seen.load(Ordering::SeqCst), 4);
    assert_eq!(lost, 3, "still counted, for who can be told");
}

// covers: LG-02
#[tokio::test]
async fn the_worker_ends_with_the_last_clone() {
    let (ended, has_ended) = channel::<()>();
    let sink = TracingSink::with_writer(move |_| {
        let _held_by_the_worker = &ended;
    });
    let clone = sink.clone();
    sink.record(joined("a"));
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
    let sink = TracingSink::with_writer(move |event| {
        begun.send(room(event)).unwrap();
        let _ = wait.recv();
    });
    sink.record(joined("first"));
    assert_eq!(has_begun.recv().unwrap(), "first");
    // The worker is busy; when it comes back the sink is gone.
    sink.record(joined("second"));
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
    let sink = TracingSink::with_writer(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    for _ in 0..100 {
        sink.record(joined("a"));
    }
    assert!(sink.flush(Duration::from_secs(10)));
    assert_eq!(written.load(Ordering::SeqCst), 100);
}

// covers: LG-12, LG-10
#[tokio::test]
async fn every_event_is_one_line_with_its_name() {
    let id = connection().id();
    let peer = Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1));
    let (user, room): (Arc<str>, Arc<str>) = ("al\nice\u{1b}[31m".into(), "room".into());
    let closed = Closed {
        connection: id,
        peer,
        user: Some(Arc::clone(&user)),
        rule: "forbidden",
        intended_code: Some(4403),
        flushed: true,
        received_code: None,
        duration: Duration::from_secs(1),
        bytes_in: 1,
        bytes_out: 2,
        messages_in: 3,
        messages_out: 4,
        queued_peak: 5,
        longest_stall: Duration::ZERO,
        rtt: None,
        last_handler_time: None,
    };
    let refused = Refusal {
        connection: id,
        user: Some(Arc::clone(&user)),
        layer: "frames",
        rule: "message.size",
        observed: Some(9),
        limit: Some(8),
        suppressed: 7,
    };
    let (joined, left) = ((user.clone(), room.clone()), (user.clone(), room.clone()));
    let events = [
        (
            "handshake.rejected",
            AuditEvent::UpgradeRefused { peer, rule: "origin", status: 403, suppressed: 1 },
        ),
        ("connected", AuditEvent::Connected { connection: id, peer: None }),
        ("authenticated", AuditEvent::Authenticated { connection: id, user }),
        ("auth.failed", AuditEvent::AuthFailed { connection: id, rule: "auth.failed" }),
        ("joined", AuditEvent::Joined { connection: id, user: joined.0, room: joined.1 }),
        ("left", AuditEvent::Left { connection: id, user: left.0, room: left.1 }),
        ("published", AuditEvent::Published { connection: None, room, bytes: 1, members: 2 }),
        ("refused", AuditEvent::Refused(refused)),
        ("closed", AuditEvent::Closed(closed)),
    ];
    for (name, event) in events {
        let (lines, ()) = collected(|| write(&event));
        assert_eq!(lines.len(), 1, "{name}");
        assert!(lines[0].contains(&format!(r#""event":"{name}""#)), "{name}: {}", lines[0]);
        assert!(lines[0].contains(r#""target":"tower_websocket::audit""#), "{name}");
        assert!(!lines[0].contains('\u{1b}'), "{name}");
        // One spelling in all events, and one that no subscriber has to escape.
        let spelled = lines[0].contains(r#""user":"al\\nice\\u{1b}[31m""#);
        assert_eq!(spelled, lines[0].contains(r#""user""#), "{name}: {}", lines[0]);
    }
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
