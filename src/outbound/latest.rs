//! Keep the last value of each key until it can be written.
//!
//! The driver takes them when it has nothing else in its hands: what it has taken is not replaced any more.

use std::collections::VecDeque;

use crate::{
    message::Message,
    outbound::{
        dropped::{Dropped, Queued},
        inbox::{End, Inbox},
        limits::Encoded,
        outlet::Outlet,
        send_error::SendError,
    },
};

/// Values, in the order in which their keys came. Boxed: few connections have any.
#[derive(Debug, Default)]
pub(super) struct Latest(Option<Box<Entries>>);

type Entries = Vec<(Box<str>, Queued)>;

impl Latest {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Queued> {
        self.0.take().into_iter().flat_map(|it| *it).map(|(_, entry)| entry)
    }

    /// Takes the value of `key`, and says where it stood.
    fn take(&mut self, key: &str) -> Option<(usize, Queued)> {
        let entries = self.0.as_mut()?;
        let at = entries.iter().position(|(it, _)| **it == *key)?;
        let (_, entry) = entries.remove(at);
        self.0.take_if(|it| it.is_empty());
        Some((at, entry))
    }

    /// Puts a value where the one stood that it replaces, or behind all others; gives it back if there are too
    /// many.
    fn put(&mut self, key: &str, entry: Queued, at: usize) -> Option<Queued> {
        let entries = self.0.get_or_insert_default();
        if entries.len() >= KEYS {
            return Some(entry);
        }
        entries.insert(at.min(entries.len()), (key.into(), entry));
        None
    }
}

impl Inbox {
    /// Takes the value of `key` that waits, which is counted no more, and says where it stood.
    fn take_latest(&mut self, key: &str) -> Option<(usize, Queued)> {
        let (at, entry) = self.latest.take(key)?;
        let mut former = Encoded::default();
        former.add(&entry.message);
        self.queued = self.queued.saturating_sub(former.charge);
        self.messages = self.messages.saturating_sub(former.messages);
        Some((at, entry))
    }
}

impl Outlet {
    /// Queues `message`, or puts it in the place of what waits under the same key.
    pub(crate) fn push_latest(&self, key: &str, message: Message) -> Result<(), SendError> {
        if message.len() > self.limits().message_size {
            return Err(SendError::TooLarge(message));
        }
        // Dropped when the lock is free again.
        let mut dropped = Dropped::default();
        let mut inbox = self.lock();
        if inbox.end != End::Open {
            return Err(SendError::Closed(message));
        }
        let former = inbox.take_latest(key);
        let at = former.as_ref().map_or(usize::MAX, |(at, _)| *at);
        dropped.add(former.map(|(_, it)| it).into_iter().collect::<VecDeque<_>>());
        if let Err(refused) = self.charge_in(&mut inbox, message.len(), &mut dropped) {
            return Err(refused(message));
        }
        let spare = inbox.latest.put(key, Queued { message, borrowed: false }, at);
        inbox.own.extend(spare);
        self.settle_account(&mut inbox);
        if inbox.heeds_news() {
            self.wake(&inbox);
        }
        drop(inbox);
        self.relieve(&mut dropped);
        Ok(())
    }
}

/// What is looked through for each value. Of what has yet another key, every value goes out.
const KEYS: usize = 256;

#[cfg(test)]
#[path = "tests/latest.rs"]
mod tests;
