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
//! Two write: the driver of the connection, and the walkers of its rooms
//! ([`visit`](Outlet::visit)). The pen says who ([`Pen`]). What either may do stands in [`Inbox`].

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Context,
};

use tokio::net::tcp::OwnedWriteHalf;

use crate::{
    message::Message,
    outbound::{
        budget::{Account, Evict},
        dropped::{Dropped, Queued},
        inbox::{Begin, End, Inbox, Step, Visit, Walked},
        lags::Turn,
        limits::{ENTRY_OVERHEAD, Encoded, OutboundLimits},
        pen::Pen,
        seat::{Hold, Seat},
        send_error::SendError,
        view::View,
    },
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

/// What a log has for somebody who comes back.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Keeps it.
    pub(crate) hold: Option<Hold>,
}

/// A pen that a walker has. If the walk ends in the middle of a write, nobody knows what is on the wire.
struct Lent<'a> {
    outlet: &'a Outlet,
    /// There until it is put back.
    pen: Option<Pen>,
    walked: Walked,
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

    /// Queues what a joiner is told, and behind that what it has missed, in one hold of the lock: if that is
    /// no more than half of what is free, so that coming back never is what closes a connection for being
    /// behind. Says whether it is.
    pub(crate) fn welcome(
        &self,
        seat: &Arc<dyn Seat>,
        replay: Option<Replay>,
        notice: impl FnOnce(bool) -> Message,
        dropped: &mut Dropped,
    ) -> Result<bool, SendError> {
        let mut inbox = self.lock();
        let free = self.limits.bytes.saturating_sub(inbox.bytes());
        let replay = replay.filter(|it| it.end - it.start <= free as u64 / 2);
        let message = notice(replay.is_some());
        self.queue_in(&mut inbox, Queued { message, borrowed: false }, dropped)?;
        if let Some(Replay { end, hold, .. }) = &replay {
            inbox.recover(seat, *end, hold.clone());
        }
        Ok(replay.is_some())
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
        if let Some(account) = &self.account {
            account.relieve(dropped);
        }
        Ok(held)
    }

    fn queue_in(
        &self,
        inbox: &mut Inbox,
        entry: Queued,
        dropped: &mut Dropped,
    ) -> Result<usize, SendError> {
        let size = entry.message.len();
        if size > self.limits.message_size {
            return Err(SendError::TooLarge(entry.message));
        }
        let charge = size + ENTRY_OVERHEAD;
        if inbox.end != End::Open {
            return Err(SendError::Closed(entry.message));
        }
        let held = inbox.bytes() + charge;
        if held > self.limits.bytes || inbox.messages >= self.limits.messages {
            self.shut(inbox, End::Overflowed, dropped);
            return Err(SendError::Full(entry.message));
        }
        if let Some(account) = &self.account {
            if !account.try_grow(charge) {
                self.shut(inbox, End::Evicted, dropped);
                return Err(SendError::Full(entry.message));
            }
            inbox.charged += charge;
        }
        inbox.queued += charge;
        inbox.messages += 1;
        inbox.peak_bytes = inbox.peak_bytes.max(held);
        inbox.own.push_back(entry);
        if inbox.heeds_news() {
            self.wake(inbox);
        }
        Ok(inbox.held(self.share))
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

    /// A walker comes by with a view of the log of `seat`'s room: it writes what the peer lacks, if it
    /// may, or leaves it to the driver. Says whether the peer is [crowded](Self::is_crowded).
    pub(crate) fn visit<S: Seat + 'static>(
        &self,
        seat: &Arc<S>,
        view: &View,
        dropped: &mut Dropped,
    ) -> bool {
        let mut inbox = self.lock();
        let pen = match inbox.visit(seat, view, self.limits, dropped) {
            Visit::Write(pen) => pen,
            Visit::Over => return false,
            Visit::Left { wake } => {
                if wake {
                    self.wake(&inbox);
                }
                return inbox.is_crowded(self.limits);
            }
        };
        drop(inbox);
        let mut lent = Lent { outlet: self, pen: Some(pen), walked: Walked::default() };
        let Some(is_full) = lent.write(&**seat, view) else { return false };
        let mut inbox = self.lock();
        let mut wake = match lent.pen.take() {
            Some(pen) => inbox.put_back(pen, lent.walked, is_full),
            None => false,
        };
        wake |= inbox.leave(seat, view, self.limits, dropped);
        self.settle_account(&mut inbox);
        if wake {
            self.wake(&inbox);
        }
        inbox.is_crowded(self.limits)
    }

    /// The same, without writing.
    pub(crate) fn leave<S: Seat + 'static>(
        &self,
        seat: &Arc<S>,
        view: &View,
        dropped: &mut Dropped,
    ) -> bool {
        let mut inbox = self.lock();
        if inbox.leave(seat, view, self.limits, dropped) {
            self.wake(&inbox);
        }
        inbox.is_crowded(self.limits)
    }

    /// `seat` hears nothing of its room any more; says whether it held something of the log. If the
    /// connection ends in good order, the seat hears what there is up to `end` first, which `hold` keeps.
    pub(crate) fn leave_room(&self, seat: &Arc<dyn Seat>, end: u64, hold: Option<Hold>) -> bool {
        let mut inbox = self.lock();
        !inbox.let_finish(seat, end, hold) && inbox.forget(&**seat)
    }

    /// `seat` hears nothing more of its room, whatever it lacks.
    pub(crate) fn forget(&self, seat: &dyn Seat) {
        self.lock().forget(seat);
    }

    /// What `seat` lacks is gone: its connection is closed for it, if the seat is behind.
    pub(crate) fn lose(&self, seat: &dyn Seat, dropped: &mut Dropped) {
        let mut inbox = self.lock();
        if inbox.end == End::Open && inbox.forget(seat) {
            self.shut(&mut inbox, End::Overflowed, dropped);
        }
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

    fn shut(&self, inbox: &mut Inbox, end: End, dropped: &mut Dropped) {
        if let Some(account) = &self.account {
            account.leave();
        }
        inbox.shut(end, dropped);
        self.settle_account(inbox);
        self.wake(inbox);
    }

    /// Charges what is held, no more and no less. What is lacked of a room is charged to the room.
    fn settle_account(&self, inbox: &mut Inbox) {
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

    /// The driver looks no more by itself. Under the lock: whoever has news after this wakes it.
    fn rest(&self, inbox: &mut Inbox, cx: &Context<'_>) {
        self.awake.store(false, Ordering::Relaxed);
        match &mut inbox.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// Wakes the driver, unless it will look anyway. The lock orders this with [`rest`](Self::rest).
    fn wake(&self, inbox: &Inbox) {
        if let Some(waker) = &inbox.waker
            && !self.awake.swap(true, Ordering::Relaxed)
        {
            waker.wake_by_ref();
        }
    }

    /// The lock is held for a push, a visit's beginning or its end: never across an await or a system
    /// call, and no other lock is taken under it. Nothing in it can be half done, so a panic elsewhere
    /// does not poison it.
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent<'_> {
    /// Writes what of `view` the seat lacks, as much as the socket takes at once. Says whether that was
    /// less than there was; nothing if the socket failed.
    fn write(&mut self, seat: &impl Seat, view: &View) -> Option<bool> {
        let (position, until) = seat.cursor().span();
        let bytes = view.part(position, until);
        // After the view was taken, with the pen: who is gone by now hears nothing of it.
        let Some(pen) = self.pen.as_mut().filter(|_| !bytes.is_empty() && !seat.is_gone()) else {
            return Some(false);
        };
        let socket = pen.socket.as_ref()?;
        let written = match socket.try_write(bytes) {
            Ok(0) => return None,
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(true),
            Err(_) => return None,
        };
        let is_full = written < bytes.len();
        let cut = view.cut(position, until, written);
        pen.rest = cut.rest;
        seat.cursor().set_position(cut.end);
        self.walked.bytes += written as u64;
        self.walked.frames += cut.frames;
        if is_full || cut.end < until {
            return Some(is_full);
        }
        // Behind what it said itself there may be something else.
        self.write(seat, view)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let Some(pen) = self.pen.take() else { return };
        // Dropped when the lock is free again.
        let mut dropped = Dropped::default();
        let mut inbox = self.outlet.lock();
        inbox.put_back(pen, self.walked, false);
        if inbox.end == End::Open {
            inbox.break_off(&mut dropped);
        }
        self.outlet.wake(&inbox);
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
#[path = "tests/outlet.rs"]
mod tests;
