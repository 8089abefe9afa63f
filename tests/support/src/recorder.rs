//! An audit sink that a test can look at, and wait for.

use std::sync::Mutex;

use tokio::{sync::Notify, time::timeout};
use tower_websocket::{
    AuditEvent, AuditRecord, AuditSink, ConnectionId,
    audit::{Closed, Refused},
};

use crate::slow_peer::PATIENCE;

/// Keeps every audit record.
#[derive(Debug, Default)]
pub struct Recorder {
    records: Mutex<Vec<AuditRecord>>,
    /// Told of each.
    told: Notify,
}

impl Recorder {
    /// What was recorded so far.
    pub fn records(&self) -> Vec<AuditRecord> {
        self.records.lock().unwrap().clone()
    }

    /// Waits until there are more records than `seen`.
    pub async fn more_than(&self, seen: usize) -> Vec<AuditRecord> {
        loop {
            let told = self.told.notified();
            let mut told = std::pin::pin!(told);
            told.as_mut().enable();
            let records = self.records();
            if records.len() > seen {
                return records;
            }
            told.await;
        }
    }

    fn all<T>(&self, of: impl Fn(&AuditRecord) -> Option<T>) -> Vec<T> {
        self.records.lock().unwrap().iter().filter_map(of).collect()
    }

    /// How many connections were opened.
    pub fn connected(&self) -> usize {
        let records = self.records.lock().unwrap();
        records.iter().filter(|it| matches!(it.event, AuditEvent::Connected(_))).count()
    }

    /// The rules of the handshakes that were refused, in order.
    pub fn refused(&self) -> Vec<&'static str> {
        self.all(|it| match &it.event {
            AuditEvent::UpgradeRefused(refused) => Some(refused.rule),
            _ => None,
        })
    }

    /// What layers refused, in order.
    pub fn refusals(&self) -> Vec<Refused> {
        self.all(|it| match &it.event {
            AuditEvent::Refused(refused) => Some(refused.clone()),
            _ => None,
        })
    }

    /// The id of the connection that was the last to end.
    pub fn last_closed(&self) -> ConnectionId {
        let closed = |it: &AuditRecord| matches!(it.event, AuditEvent::Closed(_));
        let ids = self.all(|it| it.connection.filter(|_| closed(it)));
        *ids.last().unwrap()
    }

    /// The flight records of the first `count` connections to end, waited for.
    pub async fn closed(&self, count: usize) -> Vec<Closed> {
        let mut seen = 0;
        loop {
            let closed = self.all(|it| match &it.event {
                AuditEvent::Closed(closed) => Some(closed.clone()),
                _ => None,
            });
            if closed.len() >= count {
                return closed;
            }
            let records = timeout(PATIENCE, self.more_than(seen)).await;
            seen = records.expect("the connection does not end").len();
        }
    }
}

impl AuditSink for Recorder {
    fn record(&self, record: &AuditRecord) {
        self.records.lock().unwrap().push(record.clone());
        self.told.notify_waiters();
    }
}
