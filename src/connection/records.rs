//! Record what happens to a connection, and no more of it than is worth reading.

use std::{num::NonZeroUsize, sync::Arc};

use super::Connection;
use crate::{
    audit::{AuditEvent, AuditRecord, Closed, Joined, Refused, Skipped},
    close::{Close, CloseReason},
    quota::Failure,
};

impl Connection {
    /// Hands an event to the audit sink, with the time and with whose it is. If the sink panics, the
    /// connection ends.
    pub(crate) fn record(&self, event: AuditEvent) {
        let record = AuditRecord {
            connection: Some(self.id()),
            peer: self.peer_addr(),
            client: self.client_ip(),
            tenant: self.tenant().cloned(),
            user: self.user_id().cloned(),
            ..AuditRecord::of(event)
        };
        if !self.shared.audit.tell(record) {
            self.close(Close::HANDLER_FAILED);
        }
    }

    /// Records that the peer joined `room`, on a connection that may be in `most`; says whether it did,
    /// and so whether its leaving is recorded, too.
    pub(crate) fn record_joined(&self, room: Arc<str>, most: NonZeroUsize) -> bool {
        let Some(suppressed) = self.shared.joined.pass(most) else {
            return false;
        };
        self.record(AuditEvent::Joined(Joined { room, suppressed }));
        true
    }

    /// Records that the peer does not hear so many bytes of `room`, unless that is suppressed.
    pub(crate) fn record_skipped(&self, room: Arc<str>, bytes: u64) {
        if let Some(suppressed) = self.shared.refused.pass("room.skipped") {
            self.record(AuditEvent::Skipped(Skipped { room, bytes, suppressed }));
        }
    }

    /// Records how it ended, and keeps that for [`closed`](Self::closed).
    pub(crate) fn record_closed(&self, closed: Closed) {
        if closed.rule == CloseReason::AuthTimeout.rule() {
            self.count_login(Failure::Waited);
        }
        let closed = self.shared.closed.get_or_init(|| Box::new(closed));
        self.record(AuditEvent::Closed((**closed).clone()));
    }

    /// How it ended, once that is recorded.
    pub(crate) fn closed(&self) -> Option<&Closed> {
        self.shared.closed.get().map(|it| &**it)
    }

    /// How many of its records were left out and not told of; forgets them.
    pub(crate) fn take_suppressed(&self) -> u64 {
        self.shared.refused.take_suppressed().saturating_add(self.shared.joined.take_suppressed())
    }

    /// Records that `layer` refused something by `rule`, unless that is suppressed.
    pub(crate) fn refuse(
        &self,
        layer: &'static str,
        rule: &'static str,
        observed: Option<u64>,
        limit: Option<u64>,
    ) {
        self.refuse_as(rule, || Refused { observed, limit, ..Refused::by(layer, rule) });
    }

    /// The same, with what `describe` has to say of it, which is asked only if there is a record.
    pub(crate) fn refuse_as(&self, rule: &'static str, describe: impl FnOnce() -> Refused) {
        if let Some(suppressed) = self.shared.refused.pass(rule) {
            self.record(AuditEvent::Refused(Refused { suppressed, ..describe() }));
        }
    }
}
