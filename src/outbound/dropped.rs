//! Drop what is not to be sent any more where nobody waits for it.

use std::{collections::VecDeque, sync::Arc};

use crate::{foreign, message::Message, outbound::seat::Seat};

/// A message in a queue.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) message: Message,
    /// The payload may be a slice of the connection's read buffer.
    pub(crate) borrowed: bool,
}

/// Messages that are not to be sent any more, until nobody waits for whoever found that out: there may be
/// thousands, and the destructor of a payload of the application's may do anything, as to ask for the
/// members of the room whose lock is held. And seats that hold nothing of their rooms any more, which is
/// told with no lock held, too.
#[derive(Default)]
pub(crate) struct Dropped {
    messages: Vec<VecDeque<Queued>>,
    seats: Vec<Arc<dyn Seat>>,
}

impl Dropped {
    pub(super) fn add(&mut self, entries: VecDeque<Queued>) {
        if !entries.is_empty() {
            self.messages.push(entries);
        }
    }

    pub(super) fn release(&mut self, seats: Vec<Arc<dyn Seat>>) {
        self.seats.extend(seats);
    }

    #[cold]
    fn discard(&mut self) {
        self.messages.drain(..).for_each(foreign::discard);
        self.seats.drain(..).for_each(|seat| seat.released());
    }
}

impl Drop for Dropped {
    // Once for each message, and nearly always of nothing.
    #[inline]
    fn drop(&mut self) {
        if !self.messages.is_empty() || !self.seats.is_empty() {
            self.discard();
        }
    }
}
