//! Hold what a peer is to get, bounded in bytes, and hand the right to write it around.
//!
//! Replies, pushes and notices share a queue, so that a peer gets them in the order in which they were
//! made. What its rooms say stands in their logs; here is only how much of it the peer lacks. One sum says
//! what the connection holds for its peer: plus when something is queued or a room goes on without it,
//! minus when the *socket* has taken the bytes. What passes the bound gives the queue up at once; the
//! driver then closes with 1013. There is no waiting: whoever pushes is never held up by a peer that does
//! not read, nor by whoever writes to it at the moment. A message that is larger than any may be is
//! refused before it is queued, so that it is a fault of whoever made it and not of those who would have
//! got it.
//!
//! Two write: the driver of the connection, and the walkers of its rooms (`rooms.rs`). The pen says who
//! ([`Pen`]). What either may do stands in [`Inbox`].

mod queue;

use std::{
    collections::VecDeque,
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Context,
};

use tokio::net::tcp::OwnedWriteHalf;

use crate::outbound::{
    budget::{Account, Evict},
    dropped::{Dropped, Queued},
    inbox::{Begin, End, Inbox, Step, Walked},
    lags::Turn,
    limits::{ENTRY_OVERHEAD, Encoded, OutboundLimits},
    pen::Pen,
};

/// The write side of one connection, shared by its driver, its handles and the rooms that it is in.
pub(crate) struct Outlet {
    limits: OutboundLimits,
    share: usize,
    /// Where what is held is charged, if the process has a budget.
    account: Option<Arc<Account>>,
    /// Whether the driver will look without being woken: it was woken since it last looked, or is in the
    /// middle of a turn, which ends with a look.
    awake: AtomicBool,
    inbox: Mutex<Inbox>,
}

impl Outlet {
    pub(crate) fn new(limits: OutboundLimits, account: Option<Account>) -> Self {
        Self {
            limits,
            share: limits.share(),
            account: account.map(Arc::new),
            awake: AtomicBool::new(false),
            inbox: Mutex::new(Inbox::new()),
        }
    }

    /// Within which bounds the connection holds anything for its peer.
    pub(crate) fn limits(&self) -> OutboundLimits {
        self.limits
    }

    /// Holds no more than `bytes` for the peer from now on, but two of the largest messages; without a
    /// number as much as the [limits](Self::limits) say.
    pub(crate) fn bound(&self, bytes: Option<NonZeroUsize>) {
        let two = self.limits.message_size.saturating_add(ENTRY_OVERHEAD).saturating_mul(2);
        self.lock().bound = bytes.map_or(usize::MAX, |it| it.get().max(two));
    }

    /// Whether anything is accepted.
    pub(crate) fn is_open(&self) -> bool {
        self.lock().end == End::Open
    }

    /// Where what the connection holds is charged, if the process has a budget.
    pub(crate) fn account(&self) -> Option<&Arc<Account>> {
        self.account.as_ref()
    }

    /// Walkers may write to `socket`, too.
    pub(crate) fn attach(&self, socket: OwnedWriteHalf) {
        self.lock().attach(Pen { socket: Some(socket), ..Pen::default() });
    }

    /// Whether walkers may write to the socket.
    pub(crate) fn is_direct(&self) -> bool {
        self.lock().is_direct()
    }

    /// Sheds the largest holder if the memory budget is tight. No lock of a holder may be held.
    pub(crate) fn relieve(&self, dropped: &mut Dropped) {
        if let Some(account) = &self.account {
            account.relieve(dropped);
        }
    }

    /// What is held for the peer, as a part of the bound in bytes: a message counts as no less than
    /// its share, so that tiny ones are felt before there are too many of them.
    pub(crate) fn held(&self) -> usize {
        self.lock().held(self.share)
    }

    /// Bytes that wait for the peer: of its own, and of its rooms.
    pub(crate) fn backlog(&self) -> usize {
        self.lock().bytes()
    }

    /// Whether the peer is behind by more than half of what may be held for it, although it keeps
    /// reading. One whose socket has taken nothing for a second does not count.
    pub(crate) fn is_crowded(&self) -> bool {
        self.lock().is_crowded(self.limits)
    }

    /// Looks at it, so that it is near when it is visited.
    pub(crate) fn touch(&self) {
        std::hint::black_box(self.awake.load(Ordering::Relaxed));
    }

    /// Wakes the driver without queueing anything.
    pub(crate) fn notify(&self) {
        self.wake(&self.lock());
    }

    /// A turn of the driver begins: pushes during it need not wake it.
    pub(crate) fn driver_is_awake(&self) {
        self.awake.store(true, Ordering::Relaxed);
    }

    /// The driver begins a step, as [`Inbox::begin`] says, and hears what walkers have written since the
    /// last one. If it gets no pen, the next news wakes it.
    pub(crate) fn begin(
        &self,
        cx: &Context<'_>,
        is_idle: bool,
        taken: &mut VecDeque<Queued>,
        turns: &mut Vec<Turn>,
    ) -> (Begin, Walked) {
        let mut inbox = self.lock();
        let begin = inbox.begin(is_idle, taken, turns);
        let walked = inbox.take_walked();
        if !matches!(begin, Begin::Write(_)) {
            self.rest(&mut inbox, cx);
        }
        (begin, walked)
    }

    /// The driver puts the pen back, as [`Inbox::finish`] says; says whether to go on at once. If not, the
    /// next news wakes it.
    pub(crate) fn finish(
        &self,
        cx: &Context<'_>,
        pen: Pen,
        step: &Step,
        turns: &mut Vec<Turn>,
    ) -> bool {
        let mut inbox = self.lock();
        let more = inbox.finish(pen, step, turns);
        self.settle_account(&mut inbox);
        if !more {
            self.rest(&mut inbox, cx);
        }
        more
    }

    /// The driver's turn is over before everything is written: nobody else writes until the next one.
    pub(crate) fn reserve(&self, cx: &Context<'_>) {
        let mut inbox = self.lock();
        inbox.reserve();
        self.rest(&mut inbox, cx);
    }

    /// The driver takes the pen for good. If it is out, whoever has it wakes the driver.
    pub(crate) fn take_pen(&self, cx: &Context<'_>) -> Option<Pen> {
        let mut inbox = self.lock();
        let pen = inbox.take_pen();
        self.rest(&mut inbox, cx);
        pen
    }

    /// The same when nobody will poll any more.
    pub(crate) fn take_pen_at_once(&self) -> Option<Pen> {
        self.lock().take_pen()
    }

    /// What walkers have written since the last call.
    pub(crate) fn take_walked(&self) -> Walked {
        self.lock().take_walked()
    }

    /// Nothing is left of what the driver had, but what its pen holds.
    pub(crate) fn discard(&self, discarded: Encoded) {
        let mut inbox = self.lock();
        inbox.queued = inbox.queued.saturating_sub(discarded.charge);
        inbox.messages = inbox.messages.saturating_sub(discarded.messages);
        self.settle_account(&mut inbox);
    }

    /// Takes nothing more; what is queued may still go out.
    pub(crate) fn seal(&self) {
        let mut inbox = self.lock();
        if inbox.end == End::Open {
            inbox.end = End::Sealed;
            if let Some(account) = &self.account {
                account.leave();
            }
        }
    }

    /// Takes nothing more, and drops what is queued.
    pub(crate) fn close(&self) {
        // Dropped when the lock is free again.
        let mut dropped = Dropped::default();
        self.shut(&mut self.lock(), End::Closed, &mut dropped);
    }

    /// The connection's task is over: whoever still has a handle holds nothing of it any more, neither
    /// what the socket never took nor the task itself, which a waker keeps.
    pub(crate) fn end(&self) {
        let mut dropped = Dropped::default();
        let mut inbox = self.lock();
        self.shut(&mut inbox, End::Over, &mut dropped);
        (inbox.queued, inbox.in_flight, inbox.messages) = (0, 0, 0);
        self.settle_account(&mut inbox);
        let waker = inbox.waker.take();
        let pen = inbox.take_pen();
        drop(inbox);
        drop((waker, pen, dropped));
        if let Some(account) = &self.account {
            account.close();
        }
    }

    pub(super) fn shut(&self, inbox: &mut Inbox, end: End, dropped: &mut Dropped) {
        if let Some(account) = &self.account {
            account.leave();
        }
        inbox.shut(end, dropped);
        self.settle_account(inbox);
        self.wake(inbox);
    }

    /// Charges what is held, no more and no less. What is lacked of a room is charged to the room.
    pub(super) fn settle_account(&self, inbox: &mut Inbox) {
        let Some(account) = &self.account else { return };
        let held = inbox.queued + inbox.in_flight;
        if held < inbox.charged {
            account.shrink(inbox.charged - held);
            inbox.charged = held;
        } else if held > inbox.charged && account.try_grow(held - inbox.charged) {
            // A frame header, or a pong. If even that does not fit, it goes uncharged.
            inbox.charged = held;
        }
    }

    /// The most bytes that were ever held for the peer.
    pub(crate) fn peak_bytes(&self) -> usize {
        self.lock().peak_bytes
    }

    /// What is counted: queued bytes, begun bytes, messages.
    #[cfg(test)]
    pub(crate) fn counted(&self) -> (usize, usize, usize) {
        let inbox = self.lock();
        (inbox.queued, inbox.in_flight, inbox.messages)
    }

    /// All that decides what becomes of it.
    #[cfg(test)]
    pub(crate) fn state(&self, held_from: impl Fn(&crate::outbound::Hold) -> Option<u64>) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.lock().state(held_from, &mut hasher);
        self.awake.load(Ordering::Relaxed).hash(&mut hasher);
        hasher.finish()
    }

    /// The driver looks no more by itself. Under the lock: whoever has news after this wakes it.
    fn rest(&self, inbox: &mut Inbox, cx: &Context<'_>) {
        self.awake.store(false, Ordering::Relaxed);
        match &mut inbox.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// Wakes the driver, unless it will look anyway. The lock orders this with [`rest`](Self::rest).
    pub(super) fn wake(&self, inbox: &Inbox) {
        if let Some(waker) = &inbox.waker
            && !self.awake.swap(true, Ordering::Relaxed)
        {
            waker.wake_by_ref();
        }
    }

    /// The lock is held for a push, a visit's beginning or its end: never across an await or a system
    /// call, and no other lock is taken under it. Nothing in it can be half done, so a panic elsewhere
    /// does not poison it.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Evict for Outlet {
    fn evict(&self, dropped: &mut Dropped) {
        let mut inbox = self.lock();
        if inbox.end == End::Open {
            self.shut(&mut inbox, End::Evicted, dropped);
        }
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
