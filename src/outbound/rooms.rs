//! Be told by rooms: what they say, who joins them, and who leaves.

use std::{io, sync::Arc};

use crate::{
    message::Message,
    outbound::{
        dropped::{Dropped, Queued},
        inbox::{End, Inbox, Visit, Walked},
        outlet::Outlet,
        pen::Pen,
        seat::{Hold, Seat},
        send_error::SendError,
        slow_member::SlowMember,
        view::View,
    },
};

/// What a log has for somebody who comes back, or a keyed room for somebody who comes.
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
    /// Queues what a joiner is told, and behind that what it has missed, in one hold of the lock: if that is
    /// no more than half of what is free, so that coming back never is what closes a connection for being
    /// behind. Says whether it is; if not, and it `waits`, it hears nothing before it [begins](Self::begin_seat).
    /// The room's lock is held: [`relieve`](Self::relieve) is to be called when it is free again.
    pub(crate) fn welcome(
        &self,
        seat: &Arc<dyn Seat>,
        replay: Option<Replay>,
        waits: bool,
        notice: impl FnOnce(bool) -> Message,
        dropped: &mut Dropped,
    ) -> Result<bool, SendError> {
        let mut inbox = self.lock();
        let free = self.limits().bytes.min(inbox.bound).saturating_sub(inbox.bytes());
        // What the keys of a room have takes nothing of it.
        let is_keyed = seat.cursor().is_keyed();
        let replay = replay.filter(|it| is_keyed || it.end - it.start <= free as u64 / 2);
        let message = notice(replay.is_some());
        self.queue_in(&mut inbox, Queued { message, borrowed: false }, dropped)?;
        if let Some(Replay { end, hold, .. }) = &replay {
            inbox.recover(seat, *end, hold.clone());
        } else if waits {
            seat.cursor().wait();
        }
        Ok(replay.is_some())
    }

    /// Queues what a room tells its member by itself. The room's lock is held: [`relieve`](Self::relieve) is to
    /// be called when it is free again.
    pub(crate) fn tell(&self, message: Message, dropped: &mut Dropped) -> Result<(), SendError> {
        let entry = Queued { message, borrowed: false };
        self.queue_in(&mut self.lock(), entry, dropped).map(|_held| ())
    }

    /// Queues what `seat` is told first, and lets it hear its log from `position` on, in one hold of the lock. The
    /// room's lock is held, as for [`welcome`](Self::welcome).
    pub(crate) fn begin_seat(
        &self,
        seat: &dyn Seat,
        position: u64,
        first: Vec<Message>,
        dropped: &mut Dropped,
    ) -> Result<(), SendError> {
        let mut inbox = self.lock();
        for message in first {
            self.queue_in(&mut inbox, Queued { message, borrowed: false }, dropped)?;
        }
        if inbox.end == End::Open {
            inbox.begin_seat(seat, position);
            if inbox.heeds_news() {
                self.wake(&inbox);
            }
        }
        Ok(())
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
        let pen = match inbox.visit(seat, view, self.limits(), dropped) {
            Visit::Write(pen) => pen,
            Visit::Over => return false,
            Visit::Left { wake } => {
                if wake {
                    self.wake(&inbox);
                }
                return self.crowds(&inbox, &**seat);
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
        wake |= inbox.leave(seat, view, self.limits(), dropped);
        self.settle_account(&mut inbox);
        if wake {
            self.wake(&inbox);
        }
        self.crowds(&inbox, &**seat)
    }

    /// The same, without writing.
    pub(crate) fn leave<S: Seat + 'static>(
        &self,
        seat: &Arc<S>,
        view: &View,
        dropped: &mut Dropped,
    ) -> bool {
        let mut inbox = self.lock();
        if inbox.leave(seat, view, self.limits(), dropped) {
            self.wake(&inbox);
        }
        self.crowds(&inbox, &**seat)
    }

    /// Whether `seat`'s room is to wait for this peer.
    fn crowds(&self, inbox: &Inbox, seat: &dyn Seat) -> bool {
        inbox.is_crowded(self.limits()) && seat.when_slow() == SlowMember::Close
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

    /// What `seat` lacks is gone: if the seat is behind and its room does not go on without it, its connection
    /// is closed for it.
    pub(crate) fn lose(&self, seat: &dyn Seat, dropped: &mut Dropped) {
        let mut inbox = self.lock();
        if inbox.end == End::Open && !inbox.lose(seat) {
            self.shut(&mut inbox, End::Overflowed, dropped);
        }
    }
}

impl Inbox {
    /// `seat` hears nothing any more; says whether that was news to its room's log.
    fn forget(&mut self, seat: &dyn Seat) -> bool {
        self.lags.forget(seat)
    }

    /// `seat` comes back: it lacks its log up to `end`, which `hold` keeps.
    fn recover(&mut self, seat: &Arc<dyn Seat>, end: u64, hold: Option<Hold>) {
        if seat.cursor().position() < end {
            if !seat.cursor().is_keyed() {
                seat.cursor().replays(end);
            }
            self.lags.list(seat.cursor(), || Arc::clone(seat), end, |_| hold);
            self.peak_bytes = self.peak_bytes.max(self.bytes());
        }
    }

    /// `seat` has left, and its log ends at `end` for it; says whether what there is may still go out.
    fn let_finish(&mut self, seat: &Arc<dyn Seat>, end: u64, hold: Option<Hold>) -> bool {
        let lacks = self.end == End::Sealed && seat.cursor().position() < end;
        if lacks {
            seat.cursor().ends_at(end);
            self.lags.list(seat.cursor(), || Arc::clone(seat), end, |_| hold);
        }
        lacks
    }

    /// Makes room for `more` bytes of the connection's own, by what it lacks of rooms that go on without it;
    /// says whether there is. The room that it lacks most of is asked, and not the one that says something at
    /// the moment: a quiet one does not pay for a loud one.
    pub(super) fn make_room(&mut self, more: usize, bound: usize, dropped: &mut Dropped) -> bool {
        while self.bytes().saturating_add(more) > bound {
            if !self.lags.leap_largest(self.queued.saturating_add(more), dropped) {
                return false;
            }
        }
        true
    }

    /// What `seat` lacks is gone; says whether it can go on without.
    fn lose(&mut self, seat: &dyn Seat) -> bool {
        match seat.when_slow() {
            SlowMember::Skip => {
                self.lags.leap(seat);
                true
            }
            SlowMember::Close => !self.lags.forget(seat),
        }
    }

    /// `seat`, which has waited, hears its log from `position` on.
    fn begin_seat(&mut self, seat: &dyn Seat, position: u64) {
        seat.cursor().begin(position);
        self.lags.begin(seat);
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
        // What stands behind something that it said itself is left to the driver.
        Some(is_full)
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
            inbox.shut(End::Broken, &mut dropped);
        }
        self.outlet.wake(&inbox);
    }
}
