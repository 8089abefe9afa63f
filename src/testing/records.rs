//! Audit records that a test can look at.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use crate::audit::{AuditEvent, AuditSink, Closed};

/// An [`AuditSink`] that keeps what it gets. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Records(Arc<Mutex<Vec<AuditEvent>>>);

impl AuditSink for Records {
    fn record(&self, event: AuditEvent) {
        self.0.lock().unwrap().push(event);
    }
}

impl Records {
    /// No records yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// All there are, in order.
    pub fn events(&self) -> Vec<AuditEvent> {
        self.0.lock().unwrap().clone()
    }

    /// How many connections there have been.
    pub fn connected(&self) -> usize {
        let records = self.0.lock().unwrap();
        records.iter().filter(|it| matches!(it, AuditEvent::Connected { .. })).count()
    }

    /// How each connection that is over ended.
    pub fn all_closed(&self) -> Vec<Closed> {
        let records = self.0.lock().unwrap();
        let closed = records.iter().filter_map(|it| match it {
            AuditEvent::Closed(closed) => Some(closed.clone()),
            _ => None,
        });
        closed.collect()
    }

    /// How often each room was joined more than it was left.
    pub(crate) fn memberships(&self) -> BTreeMap<String, i32> {
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
}
