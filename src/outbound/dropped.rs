//! Drop what is not to be sent any more where nobody waits for it.

use std::collections::VecDeque;

use crate::{foreign, message::Message};

/// A message in a queue.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) message: Message,
    /// The payload may be a slice of the connection's read buffer.
    pub(crate) borrowed: bool,
}

/// Messages that are not to be sent any more, until nobody waits for whoever found that out: there may be
/// thousands, and the destructor of a payload of the application's may do anything, as to ask for the
/// members of the room whose lock is held.
#[derive(Debug, Default)]
pub(crate) struct Dropped(Vec<VecDeque<Queued>>);

impl Dropped {
    pub(super) fn add(&mut self, entries: VecDeque<Queued>) {
        if !entries.is_empty() {
            self.0.push(entries);
        }
    }

    #[cold]
    fn discard(&mut self) {
        self.0.drain(..).for_each(foreign::discard);
    }
}

impl Drop for Dropped {
    // Once for each message, and nearly always of nothing.
    #[inline]
    fn drop(&mut self) {
        if !self.0.is_empty() {
            self.discard();
        }
    }
}
