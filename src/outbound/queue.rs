//! Queue what a peer is to get: one queue per connection, bounded in bytes.
//!
//! Replies, pushes and broadcasts share the queue, so that a peer gets them in the order in which
//! they were made. One counter says what the connection holds for its peer: plus at [`push`], minus
//! when the *socket* has taken the bytes, so that what waits in the protocol engine's buffer counts
//! as well. A push over the bound drops the queue at once; the driver then closes with 1013. There is
//! no waiting: whoever pushes is never held up by a peer that does not read. A message that is larger
//! than any may be is refused before it is queued, so that it is a fault of whoever made it and not of
//! those who would have got it.
//!
//! [`push`]: crate::Connection::push

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
};

use tokio::time::Instant;

use crate::{
    message::Message,
    outbound::{
        budget::{Account, Evict},
        dropped::{Dropped, Queued},
        limits::{ENTRY_OVERHEAD, Encoded, OutboundLimits, STALLED},
        send_error::SendError,
    },
    quota::clock,
};

/// Puts into a connection's queue what was made for all members of a room. Cheap to clone.
#[derive(Clone)]
pub(crate) struct OutboundSender {
    queue: Arc<OutboundQueue>,
}

/// The queue. Only the driver takes from it.
pub(crate) struct OutboundQueue {
    limits: OutboundLimits,
    share: usize,
    /// Where what the queue holds is charged, if the process has a budget.
    account: Option<Arc<Account>>,
    /// Whether the driver will look at the queue without being woken: it was woken since it last
    /// looked, or is in the middle of a turn, which ends with a look.
    awake: AtomicBool,
    inner: Mutex<Inner>,
}

struct Inner {
    entries: VecDeque<Queued>,
    /// Payload and overhead of what is queued here, or taken by the driver and not yet encoded.
    queued: usize,
    /// Bytes encoded and not yet taken by the socket.
    in_flight: usize,
    /// Messages queued here or taken and not yet encoded.
    messages: usize,
    peak_bytes: usize,
    /// When the socket last took something, if there is anything left that it has not taken.
    moved: Option<Instant>,
    /// What of it the account is charged.
    charged: usize,
    phase: Phase,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Open,
    /// A push went over the bound; the driver has not acted on it yet.
    Overflowed,
    /// The process's budget is used up; the driver has not acted on it yet.
    Evicted,
    /// Nothing is accepted any more.
    Closed,
}

/// What the driver found in the queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Taken {
    /// Whatever there was is in the driver's hands.
    All,
    /// The bound was passed: the queue is gone.
    Overflowed,
    /// The process needs the memory: the queue is gone.
    Evicted,
}

impl OutboundSender {
    pub(crate) fn new(queue: Arc<OutboundQueue>) -> Self {
        Self { queue }
    }

    /// Queues a message that is known to own its payload, because it was made here. Says whether the
    /// peer is now [crowded](Self::is_crowded). What is not to be sent any more goes to `dropped`.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::push`](crate::Connection::push).
    pub(crate) fn push_own(
        &self,
        message: Message,
        dropped: &mut Dropped,
    ) -> Result<bool, SendError> {
        let held = self.queue.queue(Queued { message, borrowed: false }, dropped)?;
        Ok(held > self.queue.limits.bytes / 2 && self.is_crowded())
    }

    /// Whether the peer is behind by more than half of what may be held for it, although it keeps
    /// reading. One whose socket has taken nothing for a second does not count.
    pub(crate) fn is_crowded(&self) -> bool {
        let inner = self.queue.lock();
        let moving = |at| clock::now().saturating_duration_since(at) < STALLED;
        inner.held(self.queue.share) > self.queue.limits.bytes / 2
            && inner.phase == Phase::Open
            && inner.moved.is_none_or(moving)
    }

    /// Within which bounds the connection holds anything for its peer.
    pub(crate) fn limits(&self) -> OutboundLimits {
        self.queue.limits
    }
}

impl fmt::Debug for OutboundSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundSender").finish_non_exhaustive()
    }
}

impl OutboundQueue {
    pub(crate) fn new(limits: OutboundLimits, account: Option<Account>) -> Self {
        Self {
            limits,
            share: limits.share(),
            account: account.map(Arc::new),
            awake: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                entries: VecDeque::new(),
                queued: 0,
                in_flight: 0,
                messages: 0,
                peak_bytes: 0,
                moved: None,
                charged: 0,
                phase: Phase::Open,
                waker: None,
            }),
        }
    }

    /// Where what the connection holds is charged, if the process has a budget.
    pub(crate) fn account(&self) -> Option<&Arc<Account>> {
        self.account.as_ref()
    }

    /// Queues `message`, as [`queue`](Self::queue) does.
    pub(crate) fn push(&self, message: Message) -> Result<usize, SendError> {
        self.queue(Queued { message, borrowed: false }, &mut Dropped::default())
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
        let size = entry.message.len();
        if size > self.limits.message_size {
            return Err(SendError::TooLarge(entry.message));
        }
        let charge = size + ENTRY_OVERHEAD;
        let mut inner = self.lock();
        if inner.phase != Phase::Open {
            return Err(SendError::Closed(entry.message));
        }
        let held = inner.queued + inner.in_flight + charge;
        if held > self.limits.bytes || inner.messages >= self.limits.messages {
            dropped.add(self.drop_queue(inner, Phase::Overflowed));
            return Err(SendError::Full(entry.message));
        }
        if let Some(account) = &self.account {
            if !account.try_grow(charge) {
                dropped.add(self.drop_queue(inner, Phase::Evicted));
                return Err(SendError::Full(entry.message));
            }
            inner.charged += charge;
        }
        inner.queued += charge;
        inner.messages += 1;
        inner.peak_bytes = inner.peak_bytes.max(held);
        inner.entries.push_back(entry);
        self.wake(&inner);
        let held = inner.held(self.share);
        drop(inner);
        if let Some(account) = &self.account {
            account.relieve(dropped);
        }
        Ok(held)
    }

    /// What is held for the peer, as a part of the bound in bytes: a message counts as no less than
    /// its share, so that tiny ones are felt before there are too many of them.
    pub(crate) fn held(&self) -> usize {
        self.lock().held(self.share)
    }

    /// Wakes the driver without queueing anything.
    pub(crate) fn notify(&self) {
        let inner = self.lock();
        self.wake(&inner);
    }

    /// A turn of the driver begins: pushes during it need not wake it.
    pub(crate) fn driver_is_awake(&self) {
        self.awake.store(true, Ordering::Relaxed);
    }

    /// Hands everything queued to the driver, behind what `taken` still holds, and sees to it that
    /// the next push wakes the driver's task.
    pub(crate) fn take(&self, cx: &Context<'_>, taken: &mut VecDeque<Queued>) -> Taken {
        let mut inner = self.lock();
        // Under the lock: whoever pushes after this finds it false, and wakes.
        self.awake.store(false, Ordering::Relaxed);
        match &mut inner.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        match inner.phase {
            Phase::Open | Phase::Closed => {}
            Phase::Overflowed => return Taken::Overflowed,
            Phase::Evicted => return Taken::Evicted,
        }
        if taken.is_empty() {
            std::mem::swap(&mut inner.entries, taken);
        } else {
            taken.append(&mut inner.entries);
        }
        if inner.entries.capacity() > KEPT_ENTRIES && inner.entries.is_empty() {
            inner.entries = VecDeque::new();
        }
        Taken::All
    }

    /// Tells what the driver encoded since the last call, how many encoded bytes the socket has not
    /// taken yet, and whether it has taken any.
    pub(crate) fn settle(&self, encoded: Encoded, in_flight: usize, progressed: bool) {
        let mut inner = self.lock();
        inner.queued = inner.queued.saturating_sub(encoded.charge);
        inner.messages = inner.messages.saturating_sub(encoded.messages);
        inner.in_flight = in_flight;
        if inner.queued + inner.in_flight == 0 {
            inner.moved = None;
        } else if progressed || inner.moved.is_none() {
            inner.moved = Some(clock::now());
        }
        self.settle_account(&mut inner);
    }

    /// Takes nothing more; what is queued may still go out.
    pub(crate) fn seal(&self) {
        let mut inner = self.lock();
        if inner.phase == Phase::Open {
            inner.phase = Phase::Closed;
            if let Some(account) = &self.account {
                account.leave();
            }
        }
    }

    /// Takes nothing more, and drops what is queued.
    pub(crate) fn close(&self) {
        Dropped::default().add(self.drop_queue(self.lock(), Phase::Closed));
    }

    /// The connection's task is over: whoever still has a handle holds nothing of it any more, neither
    /// what the socket never took nor the task itself, which a waker keeps.
    pub(crate) fn end(&self) {
        self.close();
        let mut inner = self.lock();
        (inner.queued, inner.in_flight, inner.messages) = (0, 0, 0);
        self.settle_account(&mut inner);
        let waker = inner.waker.take();
        drop(inner);
        drop(waker);
        if let Some(account) = &self.account {
            account.close();
        }
    }

    fn drop_queue(&self, mut inner: MutexGuard<'_, Inner>, phase: Phase) -> VecDeque<Queued> {
        inner.phase = phase;
        if let Some(account) = &self.account {
            account.leave();
        }
        let dropped = std::mem::take(&mut inner.entries);
        let mut uncharged = Encoded::default();
        dropped.iter().for_each(|entry| uncharged.add(&entry.message));
        inner.queued = inner.queued.saturating_sub(uncharged.charge);
        inner.messages = inner.messages.saturating_sub(uncharged.messages);
        self.settle_account(&mut inner);
        self.wake(&inner);
        dropped
    }

    /// Charges what is held, no more and no less.
    fn settle_account(&self, inner: &mut Inner) {
        let Some(account) = &self.account else { return };
        let held = inner.queued + inner.in_flight;
        if held < inner.charged {
            account.shrink(inner.charged - held);
            inner.charged = held;
        } else if account.try_grow(held - inner.charged) {
            // A frame header, or a pong. If even that does not fit, it goes uncharged.
            inner.charged = held;
        }
    }

    /// The most bytes that were ever held for the peer.
    pub(crate) fn peak_bytes(&self) -> usize {
        self.lock().peak_bytes
    }

    /// What is counted: queued bytes, encoded bytes, messages.
    #[cfg(test)]
    pub(crate) fn counted(&self) -> (usize, usize, usize) {
        let inner = self.lock();
        (inner.queued, inner.in_flight, inner.messages)
    }

    /// Wakes the driver, unless it will look anyway. The lock orders this with [`take`](Self::take).
    fn wake(&self, inner: &Inner) {
        if let Some(waker) = &inner.waker
            && !self.awake.swap(true, Ordering::Relaxed)
        {
            waker.wake_by_ref();
        }
    }

    /// The lock is held for a push or a swap, never across an await, and no other lock of this crate
    /// is taken under it. Nothing in it can be half done, so a panic elsewhere does not poison it.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Evict for OutboundQueue {
    fn evict(&self, dropped: &mut Dropped) {
        let inner = self.lock();
        if inner.phase == Phase::Open {
            dropped.add(self.drop_queue(inner, Phase::Evicted));
        }
    }
}

impl fmt::Debug for OutboundQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundQueue").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Inner {
    fn held(&self, share: usize) -> usize {
        (self.queued + self.in_flight).max(self.messages.saturating_mul(share))
    }
}

/// Room for this many messages is kept when the queue has been emptied: a broadcast to a member
/// then allocates nothing. More is given back.
pub(crate) const KEPT_ENTRIES: usize = 16;

#[cfg(test)]
#[path = "tests/queue.rs"]
mod tests;
