//! Audit records that a test can look at.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use super::TestConnection;
use crate::{
    audit::{
        AuditEvent, AuditRecord, AuditSink, AuthFailed, Authenticated, Closed, Connected, Joined,
        Left, LeftAll, Offered, Published, Refused, Skipped, UpgradeRefused,
    },
    layers::Fault,
};

/// An [`AuditSink`] that keeps what it gets. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Records(Arc<Mutex<Vec<AuditRecord>>>);

impl AuditSink for Records {
    fn record(&self, record: &AuditRecord) {
        self.0.lock().unwrap().push(record.clone());
    }
}

impl Records {
    /// No records yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// All there are, in order.
    pub fn all(&self) -> Vec<AuditRecord> {
        self.0.lock().unwrap().clone()
    }

    /// What happened, in order.
    pub fn events(&self) -> Vec<AuditEvent> {
        self.0.lock().unwrap().iter().map(|it| it.event.clone()).collect()
    }

    /// How many connections there have been.
    pub fn connected(&self) -> usize {
        let records = self.0.lock().unwrap();
        records.iter().filter(|it| matches!(it.event, AuditEvent::Connected(_))).count()
    }

    /// How each connection that is over ended.
    pub fn all_closed(&self) -> Vec<Closed> {
        let records = self.0.lock().unwrap();
        let closed = records.iter().filter_map(|it| match &it.event {
            AuditEvent::Closed(closed) => Some(closed.clone()),
            _ => None,
        });
        closed.collect()
    }

    /// How often each room was joined more than it was left, on all connections.
    ///
    /// # Panics
    ///
    /// If a connection left more rooms at its end than it was in.
    #[track_caller]
    pub(crate) fn memberships(&self) -> BTreeMap<String, i32> {
        // For each connection; and how many it has left of which no record says the name.
        let mut rooms: BTreeMap<_, (BTreeMap<String, i32>, i32)> = BTreeMap::new();
        for record in &*self.0.lock().unwrap() {
            let (its, unnamed) = rooms.entry(record.connection).or_default();
            match &record.event {
                AuditEvent::Joined(joined) => *its.entry(joined.room.to_string()).or_default() += 1,
                AuditEvent::Left(left) => *its.entry(left.room.to_string()).or_default() -= 1,
                AuditEvent::LeftAll(left) => {
                    let (is_in, count) = (its.values().sum::<i32>() - *unnamed, left.count as i32);
                    assert!(count <= is_in, "{count} of {its:?}");
                    if count == is_in {
                        its.values_mut().for_each(|it| *it = 0);
                        *unnamed = 0;
                        continue;
                    }
                    // Those that the application has put it into are left by themselves.
                    for room in &left.rooms {
                        *its.entry(room.to_string()).or_default() -= 1;
                    }
                    *unnamed += count - left.rooms.len() as i32;
                }
                _ => {}
            }
        }
        let mut sums = BTreeMap::new();
        for (room, times) in rooms.into_values().flat_map(|(its, _)| its) {
            *sums.entry(room).or_default() += times;
        }
        sums
    }

    /// How the only connection ended.
    ///
    /// # Panics
    ///
    /// If there was more than one, or if it is not over.
    #[track_caller]
    pub fn closed(&self) -> Closed {
        assert_eq!(self.connected(), 1, "how many connections there were");
        let closed = <[Closed; 1]>::try_from(self.all_closed());
        let [closed] = closed.unwrap_or_else(|closed| panic!("it is not over: {closed:?}"));
        closed
    }

    /// A record of each kind of event, with something in every field, to try a sink on: nothing else
    /// makes them without a server. All are of one connection from `192.0.2.1`, and of the user `ada`
    /// of the tenant `acme`.
    pub fn one_of_each() -> Vec<AuditRecord> {
        let room: Arc<str> = "acme/lobby".into();
        let offered = |name| Offered { names: vec![name], others: 1 };
        let (observed, limit) = (Some(70_000), Some(65_536));
        let events = [
            AuditEvent::UpgradeRefused(UpgradeRefused {
                rule: "origin.not_trusted",
                status: 403,
                origin: Some("https://evil.example".into()),
                host: Some("app.example".into()),
                suppressed: 1,
            }),
            AuditEvent::Connected(Connected {
                upgrades: offered("h2c"),
                subprotocols: offered("graphql-ws"),
                extensions: offered("permessage-deflate"),
            }),
            AuditEvent::Authenticated(Authenticated {}),
            AuditEvent::AuthFailed(AuthFailed { rule: "auth.failed" }),
            AuditEvent::Joined(Joined { room: Arc::clone(&room), suppressed: 1 }),
            AuditEvent::Left(Left { room: Arc::clone(&room) }),
            AuditEvent::LeftAll(LeftAll {
                count: 2,
                rooms: vec!["acme/cellar".into(), Arc::clone(&room)],
            }),
            AuditEvent::Skipped(Skipped { room: Arc::clone(&room), bytes: 70_000, suppressed: 1 }),
            AuditEvent::Published(Published { room, bytes: 100, members: 2 }),
            AuditEvent::Refused(Refused {
                observed,
                limit,
                fault: Some(Fault::InvalidValue.as_str()),
                field: Some("items[3].text".into()),
                constraint: Some("longer than 64 KiB"),
                suppressed: 1,
                ..Refused::by("frames", "message.size")
            }),
            AuditEvent::Closed(Closed {
                rule: "message.size",
                intended_code: Some(1009),
                flushed: true,
                received_code: Some(1009),
                duration: Duration::from_secs(60),
                bytes_in: 70_000,
                bytes_out: 1_000,
                messages_in: 10,
                messages_out: 10,
                queued_peak: 500,
                longest_stall: Duration::from_millis(5),
                rtt: Some(Duration::from_micros(1_500)),
                last_handler_time: Some(Duration::from_micros(200)),
                suppressed: 1,
            }),
        ];
        let connection = Some(TestConnection::new().connection().id());
        let peer = Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 50_000));
        let of = |event| AuditRecord {
            connection,
            peer,
            client: peer.map(|it| it.ip()),
            tenant: Some("acme".into()),
            user: Some("ada".into()),
            ..AuditRecord::of(event)
        };
        events.map(of).into()
    }
}
