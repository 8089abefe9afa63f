//! The handle by itself: what it asks for, what it tells, and how refusals are throttled.

use std::thread;

use super::*;
use crate::{
    audit::{AuditRecord, AuditSink},
    testing::Records,
};

/// The rule and the suppressed count of each refusal.
fn refusals(records: &Records) -> Vec<(&'static str, u64)> {
    let refusals = records.events().into_iter().filter_map(|event| match event {
        AuditEvent::Refused(refusal) => Some((refusal.rule, refusal.suppressed)),
        _ => None,
    });
    refusals.collect()
}

/// Of a tenant, and with an id.
struct User(&'static str, &'static str);

impl Principal for User {
    fn id(&self) -> &str {
        self.1
    }

    fn tenant(&self) -> Option<&str> {
        Some(self.0)
    }
}

fn connection() -> (Connection, Records) {
    let records = Records::new();
    let limits = OutboundLimits::of(1 << 20, 100);
    (Connection::new(None, limits, None, Audit::new(records.clone())), records)
}

// covers: LG-11
#[tokio::test(start_paused = true)]
async fn refusals_are_one_record_for_a_rule_and_second_with_a_count() {
    let (connection, records) = connection();
    let refuse = |rule| connection.refuse("layer", rule, Some(9), Some(8));
    for _ in 0..1000 {
        refuse("a");
    }
    refuse("b");
    assert_eq!(refusals(&records), [("a", 0), ("b", 0)]);
    tokio::time::advance(Duration::from_millis(999)).await;
    refuse("a");
    assert_eq!(refusals(&records).len(), 2);
    tokio::time::advance(Duration::from_millis(1)).await;
    refuse("a");
    refuse("b");
    assert_eq!(refusals(&records)[2..], [("a", 1000), ("b", 0)]);
    tokio::time::advance(Duration::from_secs(3600)).await;
    refuse("a");
    assert_eq!(refusals(&records)[4..], [("a", 0)]);
}

// covers: LG-11
#[tokio::test(start_paused = true)]
async fn connections_do_not_thin_each_others_refusals() {
    let (one, records) = connection();
    let other = Connection::new(None, OutboundLimits::of(1, 1), None, Audit::new(records.clone()));
    one.refuse("layer", "a", None, None);
    one.clone().refuse("layer", "a", None, None);
    other.refuse("layer", "a", None, None);
    assert_eq!(refusals(&records).len(), 2, "a clone is the same connection");
}

#[tokio::test(start_paused = true)]
async fn the_first_reason_wins_and_is_told_once() {
    let (connection, _) = connection();
    assert!(connection.take_signals().is_none());
    connection.close(Close::FORBIDDEN);
    connection.clone().close(Close::NORMAL);
    let signals = connection.take_signals().unwrap();
    assert_eq!(signals.close, Some(Close::FORBIDDEN));
    assert!(signals.authenticated.is_none());
    assert!(connection.take_signals().is_none());
}

#[tokio::test(start_paused = true)]
async fn of_many_threads_that_close_one_gives_the_reason() {
    let (connection, _) = connection();
    let closers: Vec<_> = (0..8)
        .map(|n| {
            let connection = connection.clone();
            let reason = if n % 2 == 0 { Close::NORMAL } else { Close::FORBIDDEN };
            thread::spawn(move || connection.close(reason))
        })
        .collect();
    let mut told = Vec::new();
    for closer in closers {
        closer.join().unwrap();
        told.extend(connection.take_signals().and_then(|it| it.close));
    }
    // Each is the first since the driver last asked; the state keeps the first of all.
    assert!(!told.is_empty());
}

#[tokio::test(start_paused = true)]
async fn authentication_is_signalled_with_the_sessions_end_and_recorded() {
    let (connection, records) = connection();
    let end = Instant::now() + Duration::from_secs(60);
    connection.authenticated(&User("acme", "alice"), Some(end), Login::now()).unwrap();
    assert_eq!(connection.user_id().map(|it| &**it), Some("alice"));
    assert_eq!(connection.take_signals().unwrap().authenticated, Some(Some(end)));
    // An identity never changes.
    connection.authenticated(&User("other", "mallory"), None, Login::now()).unwrap();
    assert_eq!(connection.user_id().map(|it| &**it), Some("alice"));
    let told = records.all().into_iter().map(|it| {
        assert!(matches!(it.event, AuditEvent::Authenticated(_)));
        (it.connection == Some(connection.id()), it.tenant, it.user)
    });
    let acme: (_, Option<Arc<str>>, Option<Arc<str>>) =
        (true, Some("acme".into()), Some("alice".into()));
    assert_eq!(told.collect::<Vec<_>>(), [acme.clone(), acme]);
}

#[tokio::test(start_paused = true)]
async fn the_round_trip_is_unknown_until_it_was_measured() {
    let (connection, _) = connection();
    assert_eq!(connection.rtt(), None);
    for rtt in [Duration::ZERO, Duration::from_micros(1), Duration::from_millis(40)] {
        connection.set_rtt(rtt);
        assert_eq!(connection.clone().rtt(), Some(rtt));
    }
    connection.set_rtt(Duration::MAX);
    assert!(connection.rtt().is_some());
}

struct Broken;

impl AuditSink for Broken {
    fn record(&self, _record: &AuditRecord) {
        panic!("the sink is broken");
    }
}

// covers: XX-01
#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_asks_for_the_end_of_its_connection() {
    let limits = OutboundLimits::of(1, 1);
    let connection = Connection::new(None, limits, None, Audit::new(Broken));
    connection.refuse("layer", "a", None, None);
    let signals = connection.take_signals().unwrap();
    assert_eq!(signals.close, Some(Close::HANDLER_FAILED));
    connection.refuse("layer", "b", None, None);
    assert!(connection.take_signals().is_some(), "the list of refusals is not poisoned");
}

// covers: DL-10
#[tokio::test(start_paused = true)]
async fn a_pushed_slice_of_a_buffer_does_not_hold_the_buffer() {
    let (connection, _) = connection();
    let buffer = bytes::Bytes::from(vec![0; 16 * 1024]);
    connection.push(Message::Binary(buffer.slice(..1))).unwrap();
    assert!(buffer.is_unique());
}

// covers: LG-01
// holds: I6
#[tokio::test(start_paused = true)]
async fn a_handle_shows_its_id_and_its_peer_and_nothing_else() {
    let (connection, _) = connection();
    connection.authenticated(&"alice", None, Login::now()).unwrap();
    assert_eq!(connection.tenant(), None);
    connection.push(Message::text("secret")).unwrap();
    let shown = format!("{connection:?} {:?}", connection.outbound());
    assert!(shown.contains(&connection.id().to_string()));
    assert!(!shown.contains("alice") && !shown.contains("secret"), "{shown}");
}
