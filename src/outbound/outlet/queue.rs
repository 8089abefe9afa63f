//! Queue what a peer is to get of its own: within its bounds, or not at all.

use super::Outlet;
use crate::{
    message::Message,
    outbound::{
        dropped::{Dropped, Queued},
        inbox::{End, Inbox},
        limits::ENTRY_OVERHEAD,
        send_error::SendError,
    },
};

impl Outlet {
    /// Queues `message`, which owns its payload.
    pub(crate) fn push(&self, message: Message) -> Result<usize, SendError> {
        self.queue(Queued { message, borrowed: false }, &mut Dropped::default())
    }

    /// The same. What is not to be sent any more goes to `dropped`.
    #[cfg(test)]
    pub(crate) fn push_own(
        &self,
        message: Message,
        dropped: &mut Dropped,
    ) -> Result<usize, SendError> {
        self.queue(Queued { message, borrowed: false }, dropped)
    }

    /// The same for a reply, which may be what the peer has just sent. It is copied if it has to wait.
    pub(crate) fn push_reply(
        &self,
        message: Message,
        dropped: &mut Dropped,
    ) -> Result<usize, SendError> {
        self.queue(Queued { message, borrowed: true }, dropped)
    }

    /// Queues `entry`, or gives the queue up if that would pass the bound. Returns what is now
    /// [`held`](Self::held) for the peer.
    fn queue(&self, entry: Queued, dropped: &mut Dropped) -> Result<usize, SendError> {
        let mut inbox = self.lock();
        let held = self.queue_in(&mut inbox, entry, dropped)?;
        drop(inbox);
        self.relieve(dropped);
        Ok(held)
    }

    pub(in crate::outbound) fn queue_in(
        &self,
        inbox: &mut Inbox,
        entry: Queued,
        dropped: &mut Dropped,
    ) -> Result<usize, SendError> {
        if let Err(refused) = self.charge_in(inbox, entry.message.len(), dropped) {
            return Err(refused(entry.message));
        }
        if inbox.own.capacity() == 0 {
            // One at a time is what most connections have.
            inbox.own.reserve_exact(1);
        }
        inbox.own.push_back(entry);
        if inbox.heeds_news() {
            self.wake(inbox);
        }
        Ok(inbox.held(self.share))
    }

    /// Charges a message of this size that is to be queued, or gives the queue up if that would pass the bound.
    #[inline]
    pub(in crate::outbound) fn charge_in(
        &self,
        inbox: &mut Inbox,
        size: usize,
        dropped: &mut Dropped,
    ) -> Result<(), fn(Message) -> SendError> {
        if size > self.limits.message_size {
            return Err(SendError::TooLarge);
        }
        let charge = size + ENTRY_OVERHEAD;
        if inbox.end != End::Open {
            return Err(SendError::Closed);
        }
        let (most, mut held) = (self.limits.bytes.min(inbox.bound), inbox.bytes() + charge);
        if held > most && inbox.make_room(charge, most, dropped) {
            held = inbox.bytes() + charge;
        }
        if held > most || inbox.messages >= self.limits.messages {
            self.shut(inbox, End::Overflowed, dropped);
            return Err(SendError::Full);
        }
        if let Some(account) = &self.account {
            if !account.try_grow(charge) {
                self.shut(inbox, End::Evicted, dropped);
                return Err(SendError::Full);
            }
            inbox.charged += charge;
        }
        inbox.queued += charge;
        inbox.messages += 1;
        inbox.peak_bytes = inbox.peak_bytes.max(held);
        Ok(())
    }
}
