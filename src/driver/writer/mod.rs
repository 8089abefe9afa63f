//! Write frames: the rest of one under way, control frames, what the queue holds, what rooms have said.
//!
//! A frame is a header and the payload as it is, so that nothing stands between the queue and the
//! socket. Small ones are laid side by side and go out in one write (`batch.rs`); a large one
//! goes out from where it lies. A message has left the queue when its first byte is with the socket. What
//! the socket then lacks of it is the *rest*: nothing else is written before that is out, so that no frame
//! is ever torn, whatever becomes of what stands behind it.
//!
//! Control frames go before all that has not been begun; the connection's own before its rooms'.

mod retire;

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

use crate::{
    driver::{batch::Batch, transport::Transport, wire::Wire, written::Written},
    foreign,
    opaque::opaque_debug,
    outbound::{Begin, Encoded, KEPT_ENTRIES, Outlet, Pen, Queued, Step, Turn, Walked, frame},
};

/// The driver's side of the outlet.
#[derive(Default)]
pub(crate) struct Writer {
    /// At the end, when nobody else is to write any more; boxed, because it is empty until then.
    pen: Option<Box<Pen>>,
    /// Whole frames of our own: pings, pongs, at last a close frame.
    control: Vec<u8>,
    /// Taken from the queue, not yet begun.
    taken: VecDeque<Queued>,
    /// How many of them, from the front, are known to own their payload.
    owned: usize,
    /// Rooms that the connection is behind in, while it is written what they have said.
    turns: Vec<Turn>,
    /// Where our ping stands among the control frames, if it does.
    ping_at: Option<u32>,
    /// The stream was not flushed since it took something.
    unflushed: bool,
    messages: u64,
}

opaque_debug! { [] Writer; }

impl Writer {
    /// Data messages begun so far.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Walkers have written so much.
    pub(crate) fn add<Io>(&mut self, walked: Walked, wire: &mut Wire<Io>) {
        self.messages += walked.frames;
        wire.add_bytes_out(walked.bytes);
    }

    /// Whether there is room for the frames that reading can cause: a pong for every ping.
    pub(crate) fn has_headroom(&self) -> bool {
        self.control.len() < CONTROL_ROOM
    }

    /// Whether nothing is left to be begun.
    pub(crate) fn is_idle(&self) -> bool {
        self.taken.is_empty() && self.control.is_empty()
    }

    /// Sends our ping before anything that has not been begun.
    pub(crate) fn ping(&mut self, payload: [u8; 8]) {
        self.ping_at = u32::try_from(self.control.len()).ok();
        frame::put_control(&mut self.control, frame::PING, &payload);
    }

    /// Answers a ping.
    pub(crate) fn pong(&mut self, payload: &[u8]) {
        frame::put_control(&mut self.control, frame::PONG, payload);
    }

    /// Sends a close frame before anything that has not been begun; there is nothing behind it.
    pub(crate) fn close(&mut self, payload: Option<&[u8]>) {
        (self.control, self.ping_at) = (Vec::new(), None);
        if let Some(payload) = payload {
            frame::put_control(&mut self.control, frame::CLOSE, payload);
        }
    }

    /// Takes what there is and writes as much as the socket takes.
    pub(crate) fn poll<Io>(
        &mut self,
        wire: &mut Wire<Io>,
        outlet: &Outlet,
        cx: &mut Context<'_>,
    ) -> Written
    where
        Io: Transport,
    {
        for _ in 0..STEPS {
            let is_idle = self.is_idle() && !self.unflushed;
            let (begin, walked) = outlet.begin(cx, is_idle, &mut self.taken, &mut self.turns);
            self.add(walked, wire);
            let mut pen = match begin {
                Begin::Nothing => return Written::All,
                Begin::Write(pen) => pen,
                Begin::PenIsOut => return Written::PenIsOut,
                Begin::Overflowed => return Written::Overflowed,
                Begin::Evicted => return Written::Evicted,
                Begin::Broken => return Written::Lost,
            };
            let before = wire.bytes_out();
            let mut begun = Encoded::default();
            let polled = self.poll_step(&mut pen, wire, &mut begun, cx);
            if polled.is_pending() {
                self.detach();
            }
            let step = Step {
                begun,
                control: self.control.len(),
                progressed: wire.bytes_out() > before,
                is_full: polled.is_pending(),
                has_more: !self.is_idle() || self.unflushed || !pen.rest.is_empty(),
            };
            let more = outlet.finish(cx, pen, &step, &mut self.turns);
            self.turns.drain(..).for_each(|turn| turn.seat.released());
            match polled {
                Poll::Ready(Ok(())) | Poll::Pending if more => {}
                Poll::Ready(Ok(())) => return Written::All,
                Poll::Ready(Err(_)) => return Written::Lost,
                Poll::Pending => return Written::Pending,
            }
        }
        outlet.reserve(cx);
        cx.waker().wake_by_ref();
        Written::Pending
    }

    /// Writes what was begun, and then one batch; or flushes, if there is nothing to write.
    fn poll_step<Io>(
        &mut self,
        pen: &mut Pen,
        wire: &mut Wire<Io>,
        begun: &mut Encoded,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        Io: Transport,
    {
        ready!(self.poll_rest(pen, wire, cx))?;
        if self.is_idle() && self.turns.is_empty() {
            return self.poll_flush(pen, wire, cx);
        }
        let mut batch = Batch::take();
        let polled = self.poll_batch(&mut batch, pen, wire, begun, cx);
        batch.give_back();
        if self.taken.is_empty() && self.taken.capacity() > KEPT_ENTRIES {
            self.taken = VecDeque::new();
        }
        ready!(polled)?;
        if self.is_idle() && pen.rest.is_empty() {
            self.poll_flush(pen, wire, cx)
        } else {
            Poll::Ready(Ok(()))
        }
    }

    /// Writes the close frame, and what must be out before it. Nobody else writes from here on.
    pub(crate) fn poll_last<Io>(
        &mut self,
        wire: &mut Wire<Io>,
        outlet: &Outlet,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        Io: Transport,
    {
        let mut pen = ready!(self.poll_pen(outlet, cx));
        let polled = loop {
            match self.poll_step(&mut pen, wire, &mut Encoded::default(), cx) {
                Poll::Ready(Ok(())) if self.is_idle() && pen.rest.is_empty() => {
                    break Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(())) => {}
                polled => break polled,
            }
        };
        self.pen = Some(pen);
        polled
    }

    /// Shuts the write half.
    pub(crate) fn poll_shutdown<Io>(
        &mut self,
        wire: &mut Wire<Io>,
        outlet: &Outlet,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        Io: Transport,
    {
        let mut pen = ready!(self.poll_pen(outlet, cx));
        let polled = wire.poll_shutdown_by(&mut pen.socket, cx);
        self.pen = Some(pen);
        polled
    }

    /// Writes `frame`, the last of all, if it is what comes next and goes out at once.
    pub(crate) fn write_last<Io>(&self, wire: &mut Wire<Io>, outlet: &Outlet, frame: &[u8]) -> bool
    where
        Io: Transport,
    {
        let pen = outlet.take_pen_at_once().filter(|pen| self.is_idle() && pen.rest.is_empty());
        pen.is_some_and(|pen| wire.write_last_by(pen.socket.as_ref(), frame))
    }

    fn poll_pen(&mut self, outlet: &Outlet, cx: &Context<'_>) -> Poll<Box<Pen>> {
        match self.pen.take().or_else(|| outlet.take_pen(cx).map(Box::new)) {
            Some(pen) => Poll::Ready(pen),
            None => Poll::Pending,
        }
    }

    fn poll_rest<Io>(
        &mut self,
        pen: &mut Pen,
        wire: &mut Wire<Io>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        Io: Transport,
    {
        while !pen.rest.is_empty() {
            let Pen { socket, rest } = pen;
            let written = ready!(wire.poll_write_by(socket, cx, rest.as_bytes()))?;
            self.unflushed = socket.is_none();
            rest.advance(not_none(written)?);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush<Io>(
        &mut self,
        pen: &Pen,
        wire: &mut Wire<Io>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        Io: Transport,
    {
        // A TCP socket has nothing to flush.
        if self.unflushed && pen.socket.is_none() {
            ready!(wire.poll_flush(cx))?;
        }
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Writes a batch: control frames, messages up to a chunk or to a large one, what rooms have said.
    fn poll_batch<Io>(
        &mut self,
        batch: &mut Batch,
        pen: &mut Pen,
        wire: &mut Wire<Io>,
        begun: &mut Encoded,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        Io: Transport,
    {
        batch.fill(&self.control, &self.taken, &mut self.turns);
        if batch.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if let Some(at) = self.ping_at.take() {
            wire.ping_ahead(at as usize, PING_LEN);
        }
        let written = match &batch.large {
            Some(large) => {
                let slices = [IoSlice::new(&batch.bytes), IoSlice::new(large)];
                wire.poll_write_vectored_by(&mut pen.socket, cx, &slices)
            }
            None => wire.poll_write_by(&mut pen.socket, cx, &batch.bytes),
        };
        let written = match written {
            Poll::Ready(Ok(written)) => not_none(written)?,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => 0,
        };
        self.retire(written, batch, pen, begun);
        if written == 0 {
            return Poll::Pending;
        }
        self.unflushed = pen.socket.is_none();
        Poll::Ready(Ok(()))
    }

    /// Makes what must wait own its payload: a reply may be a slice of the read buffer.
    fn detach(&mut self) {
        for entry in self.taken.iter_mut().skip(self.owned).filter(|entry| entry.borrowed) {
            entry.message = std::mem::take(&mut entry.message).detached();
        }
        self.owned = self.taken.len();
    }

    /// Forgets what was not begun yet.
    pub(crate) fn discard(&mut self, outlet: &Outlet) {
        let mut discarded = Encoded::default();
        (self.control, self.ping_at) = (Vec::new(), None);
        for entry in std::mem::take(&mut self.taken) {
            discarded.add(&entry.message);
            foreign::discard([entry]);
        }
        outlet.discard(discarded);
    }
}

impl Drop for Writer {
    // A payload may be the application's own, and panic when it is dropped.
    fn drop(&mut self) {
        foreign::discard(self.taken.drain(..));
    }
}

/// A socket that takes nothing of something has failed.
fn not_none(written: usize) -> io::Result<usize> {
    if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) }
}

/// Writes in one turn. A socket that takes everything at once is not to keep its thread.
const STEPS: usize = 32;

/// Control frames that wait for the socket before no more pings are read.
const CONTROL_ROOM: usize = 4 * 1024;

/// The frame of a ping with its eight bytes.
const PING_LEN: usize = 10;
