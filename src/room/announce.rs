//! Say once that a membership has begun, and once that it is over: to the audit sink, and to hooks.

use std::{
    num::NonZeroUsize,
    sync::{Arc, atomic::Ordering},
    thread,
};

use crate::{
    audit::{AuditEvent, Left},
    close::Close,
    foreign,
    room::{hooks::Watch, state::Subscriber},
};

impl<R> Subscriber<R> {
    /// Records that the peer, who may be in `most` rooms, joined, and tells the hooks. Whoever removes it before
    /// that leaves it to this call to tell both, so that leaving never comes first and never without
    /// joining. If the record of the one is suppressed, so is that of the other.
    pub(super) fn announce(&self, most: NonZeroUsize) {
        let recorded = self.connection.record_joined(Arc::clone(&self.room.label), most);
        self.is_recorded.store(recorded, Ordering::Relaxed);
        self.tell_hooks(|watch| watch.joined(&self.room.key, &self.connection));
        let swapped =
            self.phase.compare_exchange(NEW, ANNOUNCED, Ordering::AcqRel, Ordering::Acquire);
        if swapped == Err(GONE) {
            self.announce_left();
        }
    }

    /// The same of its end.
    pub(super) fn announce_left(&self) {
        if self.is_recorded() {
            self.record_left();
        }
        self.tell_hooks_left();
    }

    /// Whether there is a record that it joined, and so is to be one that it left.
    pub(super) fn is_recorded(&self) -> bool {
        self.is_recorded.load(Ordering::Relaxed)
    }

    /// Runs in drops and where somebody else removes this user; a sink that panics stops neither,
    /// because `Connection::record` catches it.
    pub(super) fn record_left(&self) {
        let room = Arc::clone(&self.room.label);
        self.connection.record(AuditEvent::Left(Left { room }));
    }

    pub(super) fn tell_hooks_left(&self) {
        self.tell_hooks(|watch| watch.left(&self.room.key, &self.connection));
    }

    /// Runs in drops, too: a hook that panics ends the connection, and nothing else.
    fn tell_hooks(&self, tell: impl FnOnce(&dyn Watch) -> thread::Result<()>) {
        let watch = self.publisher.watch.get().and_then(Option::as_deref);
        if let Some(Err(panic)) = watch.map(tell) {
            foreign::discard([panic]);
            self.connection.close(Close::HANDLER_FAILED);
        }
    }
}

/// In the room's books; no audit record of it, or not yet.
pub(super) const NEW: u8 = 0;
/// Whoever is to know has heard that it joined.
pub(super) const ANNOUNCED: u8 = 1;
/// Not in the room any more.
pub(super) const GONE: u8 = 2;
