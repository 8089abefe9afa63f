//! Audit records that a test can look at.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use crate::audit::{AuditEvent, AuditSink, Closed};

/// Audit records, kept.
#[derive(Clone, Debug, Default)]
pub struct Records(Arc<Mutex<Vec<AuditEvent>>>);

impl AuditSink for Records {
    fn record(&self, event: AuditEvent) {
        self.0.lock().unwrap().push(event);
    }
}

impl Records {
    pub fn connected(&self) -> usize {
        let records = self.0.lock().unwrap();
        records.iter().filter(|it| matches!(it, AuditEvent::Connected { .. })).count()
    }

    pub fn all_closed(&self) -> Vec<Closed> {
        let records = self.0.lock().unwrap();
        let closed = records.iter().filter_map(|it| match it {
            AuditEvent::Closed(closed) => Some(closed.clone()),
            _ => None,
        });
        closed.collect()
    }

    /// How often each room was joined more than it was left.
    pub fn memberships(&self) -> BTreeMap<String, i32> {
        let mut rooms = BTreeMap::new();
        for record in &*self.0.lock().unwrap() {
            let (room, times) = match record {
                AuditEvent::Joined { room, .. } => (room, 1),
                AuditEvent::Left { room, .. } => (room, -1),
                _ => continue,
            };
            *rooms.entry(room.to_string()).or_default() += times;
        }
        rooms
    }

    /// The one record of the end.
    pub fn closed(&self) -> Closed {
        assert_eq!(self.connected(), 1);
        let [closed] = <[Closed; 1]>::try_from(self.all_closed()).unwrap();
        closed
    }
}
