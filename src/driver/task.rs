//! Drive one connection: the only place that reads its socket and the only one that writes it. It is
//! long because it is one loop, whose parts nobody else may touch.
//!
//! The driver is one future in one task. Each poll is a turn: (1) what is due, (2) the call in flight,
//! (3) reading, (4) output with one flush last, (5) the timer. Messages go through one slot: one is
//! read, then the stack is made ready *for it*, then called; until it is answered nothing more is
//! read, and TCP carries the pressure to the peer. Readiness is never held for a message that has not
//! come, because a shared concurrency limit would be starved by connections that say nothing.
//!
//! A turn ends after [`TURN`] frames even if more are ready: handlers that never wait bypass the
//! runtime's own budget.
//!
//! A task that is dropped in the middle, as the runtime's end does, has one write left, which may not
//! wait: the close frame, unless part of another is still to be written.
//!
//! When the connection must end, everything that could act for the peer is dropped at once (an end in
//! good order first lets the call in flight finish), and what is queued goes out where that may. What
//! follows is in `ending.rs`.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    thread::panicking,
    time::{Duration, Instant},
};

use tokio_tungstenite::tungstenite;

use crate::{
    close::{Close, CloseReason},
    driver::{
        alarm::Alarm,
        calls::Calls,
        ending::Ending,
        engine::{Engine, TURN},
        permit::Permit,
        phase::Phase,
        ping::challenge,
        refusal,
        state::State,
        stats::ConnectionStats,
        transport::Transport,
        writer::Writer,
        written::{SocketRoom, Written},
    },
    foreign,
    layers::{Failure, Reply},
    message::{Message, Utf8Bytes},
    outbound::{Dropped, SendError},
    quota::clock,
};

/// One connection.
pub(crate) struct Driver<Io: Transport> {
    engine: Engine<Io>,
    state: State,
    writer: Writer,
    stats: ConnectionStats,
    calls: Calls,
    /// Of what the application holds for the peer, the most with which more is read.
    read_below: usize,
    /// Bytes held for the peer when the last reply was queued.
    held: usize,
    /// Of the socket, at the last try.
    room: SocketRoom,
    ending: Ending,
    alarm: Alarm,
    permit: Box<dyn Permit>,
}

impl<Io: Transport> Driver<Io> {
    pub(crate) fn new(
        engine: Engine<Io>,
        state: State,
        writer: Writer,
        stats: ConnectionStats,
        calls: Calls,
        read_below: usize,
        permit: Box<dyn Permit>,
    ) -> Self {
        let connection = stats.connection();
        // Without any deadline yet, one that is later than all.
        let never = connection.opened().into_std() + Duration::from_secs(365 * 24 * 60 * 60);
        let alarm = Alarm::new(state.poll_timeout().unwrap_or(never));
        Self {
            engine,
            state,
            writer,
            stats,
            calls,
            read_below,
            held: 0,
            room: SocketRoom::Free,
            ending: Ending::default(),
            alarm,
            permit,
        }
    }

    /// Steps 2 and 3: answers what is in flight, reads, calls; until there is nothing to do or the
    /// turn is over.
    fn work(&mut self, cx: &mut Context<'_>, now: Instant) {
        let mut frames = 0;
        while matches!(self.state.phase(), Phase::Open | Phase::Finishing) {
            let open = self.state.phase() == Phase::Open;
            if self.calls.is_calling() || open && self.calls.has_message() {
                match self.poll_call(cx, now) {
                    Poll::Ready(()) => self.take_signals(now),
                    Poll::Pending => break,
                }
            } else if !open {
                return;
            } else if self.held > self.read_below || !self.writer.has_headroom() {
                // Answers wait for the peer to read. Output goes first; if the socket takes it, the
                // next turn reads on.
                break;
            } else if frames == TURN {
                cx.waker().wake_by_ref();
                return;
            } else {
                frames += 1;
                self.state.handle_reading(now);
                if self.poll_read(cx, now).is_pending() {
                    return;
                }
            }
        }
        self.state.handle_reading_paused(now);
        self.engine.release_spare();
    }

    /// Calls the stack with the message that was read, and answers what the call ends in.
    fn poll_call(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        if !self.calls.is_calling() {
            self.stats.call_begins(self.engine.has_whole(), now);
        }
        let Poll::Ready(result) = self.calls.poll(cx, self.stats.connection()) else {
            self.state.handle_call_pending(now);
            return Poll::Pending;
        };
        // A stack that fails before it is ready was not called.
        if self.calls.take_called() {
            self.stats.call_ended(result.is_ok() && self.engine.has_whole());
        }
        self.state.handle_call_finished();
        self.answer(result, now);
        Poll::Ready(())
    }

    fn answer(&mut self, result: Result<Reply<Message>, Failure<Message>>, now: Instant) {
        self.engine.set_in_call(0);
        let reply = match result {
            Ok(reply) => reply,
            Err(Failure::Reply(message)) => Reply::one(message),
            Err(Failure::Close(close)) => {
                // Before authentication the only code that can have failed is the verifier's. A login is
                // known to the connection first.
                let known = self.stats.connection().user_id().is_some();
                let verified = known || self.state.is_authenticated();
                let verifier = close == Close::HANDLER_FAILED && !verified;
                let unavailable = || Close::because(CloseReason::AuthUnavailable);
                let close = if verifier { unavailable() } else { close };
                self.state.close_as_asked(close, now);
                return;
            }
        };
        let mut dropped = Dropped::default();
        let queued = reply.try_for_each(|message| {
            self.held = self.stats.connection().outbound().push_reply(message, &mut dropped)?;
            Ok::<_, SendError>(())
        });
        // That the queue is closed or went over its bound is what output finds out.
        if let Err(refused) = queued {
            if let SendError::TooLarge(_) = refused {
                self.state.close(CloseReason::HandlerFailed, now);
            }
            foreign::discard([refused]);
        }
    }

    /// Reads one message or control frame.
    fn poll_read(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        if self.engine.control_spent() {
            self.engine.refill_control(self.state.control().refill(now));
        } else {
            self.state.control().is_full(now);
        }
        let read = self.engine.poll_read(cx);
        self.state.handle_partial(self.engine.message_in_progress(), now);
        match ready!(read) {
            Some(Ok(tungstenite::Message::Text(text))) => {
                self.take(Message::Text(Utf8Bytes::from_frame(text)), now);
            }
            Some(Ok(tungstenite::Message::Binary(bytes))) => self.take(Message::Binary(bytes), now),
            Some(Ok(tungstenite::Message::Ping(payload))) => {
                self.writer.pong(&payload);
            }
            Some(Ok(tungstenite::Message::Pong(payload))) => {
                if let Some(rtt) = self.state.handle_pong(&payload, now) {
                    self.stats.connection().set_rtt(rtt);
                }
            }
            Some(Ok(tungstenite::Message::Close(_))) => {
                let code = self.engine.close_code();
                self.stats.received_code = code;
                self.state.close(CloseReason::PeerClosed(code), now);
            }
            // Never read: the engine assembles messages.
            Some(Ok(tungstenite::Message::Frame(_))) => {}
            Some(Err(error)) => {
                if self.engine.is_closed() {
                    // The engine refused the reason's text; the code was whole all the same.
                    self.stats.received_code = self.engine.close_code();
                }
                let connection = self.stats.connection();
                let reason = refusal::reason_of_read_error(&error, &self.engine, connection);
                self.state.close(reason, now);
            }
            None => self.state.close(CloseReason::Lost, now),
        }
        Poll::Ready(())
    }

    #[inline]
    fn take(&mut self, message: Message, now: Instant) {
        self.engine.set_in_call(message.len());
        self.calls.put(message);
        self.stats.messages_in += 1;
        self.state.handle_message(now);
    }

    /// Step 4.
    fn write(&mut self, cx: &mut Context<'_>, now: Instant) {
        if let Some(payload) = self.state.poll_ping(challenge) {
            self.writer.ping(payload);
        }
        let wire = self.engine.wire();
        let before = wire.bytes_out();
        let outlet = self.stats.connection().outbound();
        let written = self.writer.poll(wire, outlet, cx);
        let taken = wire.bytes_out() - before;
        // A walker that is writing wakes this task if there is anything left to say of the socket.
        let room = written.room().unwrap_or(self.room);
        self.state.handle_output(room, taken, now);
        self.stats.output(room, taken, now);
        let before = std::mem::replace(&mut self.room, room);
        match written {
            Written::All => {
                let full = std::mem::take(&mut self.held) > self.read_below;
                if full || before == SocketRoom::Full {
                    // Reading stopped for want of room, and there is room now.
                    cx.waker().wake_by_ref();
                }
                let in_use = self.calls.is_calling() || self.calls.has_message();
                if self.state.poll_relief(self.engine.is_grown(), now) && !in_use {
                    self.engine.give_back();
                }
                if !self.calls.is_calling() {
                    self.state.handle_drained(now);
                }
            }
            Written::Pending => {
                if self.held > self.read_below {
                    // The queue of a busy peer may never be empty: enough of it out is enough.
                    self.held = self.stats.connection().outbound().held().min(self.held);
                    if self.held <= self.read_below {
                        cx.waker().wake_by_ref();
                    }
                }
            }
            Written::PenIsOut => {}
            Written::Overflowed => self.state.close(CloseReason::SlowConsumer, now),
            Written::Evicted => self.state.close(CloseReason::Overloaded, now),
            Written::Lost => self.state.handle_transport_end(now),
        }
    }

    /// Does what layers and the application asked for through the handle.
    fn take_signals(&mut self, now: Instant) {
        let Some(signals) = self.stats.connection().take_signals() else {
            return;
        };
        if let Some(expires) = signals.authenticated {
            self.state.handle_authenticated(expires.map(tokio::time::Instant::into_std));
            self.permit.verdict();
        }
        if let Some(close) = signals.close {
            self.state.close_as_asked(close, now);
        }
        if signals.cut_short {
            self.state.cut_short();
        }
    }

    /// Drops everything that could act for the peer; what is queued may still go out.
    fn abort(&mut self) {
        if self.calls.is_aborted() {
            return;
        }
        // It waits for credentials no more, though its socket is heard out for a while.
        self.permit.verdict();
        self.stats.connection().outbound().seal();
        self.engine.abort();
        self.calls.abort();
        self.stats.connection().attached().drop_all();
    }

    /// Step 4, and what layers and the application have asked for by then.
    fn put_out(&mut self, cx: &mut Context<'_>, now: Instant) {
        loop {
            if self.state.phase() > Phase::Finishing {
                self.abort();
            }
            if self.state.phase() > Phase::Flushing {
                return;
            }
            self.write(cx, now);
            // Whoever signalled during the turn has not woken the task. Output's look at the queue
            // is where that ends; what came before it is found here.
            self.take_signals(now);
            if self.state.phase() <= Phase::Finishing || self.calls.is_aborted() {
                break;
            }
        }
        if self.state.phase() == Phase::Flushing {
            self.ending.listen(&mut self.engine, &mut self.state, cx, now);
        }
    }

    fn end(&mut self, cx: &mut Context<'_>, now: Instant) {
        self.abort();
        if !self.ending.has_begun() {
            // What the end itself takes is no stall.
            self.stats.output(SocketRoom::Free, 0, now);
            self.stats.connection().outbound().close();
            self.writer.discard(self.stats.connection().outbound());
        }
        let walked = self.stats.connection().outbound().take_walked();
        self.writer.add(walked, self.engine.wire());
        if self.state.phase() != Phase::Done {
            let (engine, writer) = (&mut self.engine, &mut self.writer);
            self.ending.poll(engine, writer, &mut self.state, &mut self.stats, cx, now);
        }
    }
}

impl<Io: Transport> Future for Driver<Io> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let (_turn, now) = clock::Turn::begin();
        let now = now.into_std();
        this.stats.connection().outbound().driver_is_awake();
        this.state.handle_timeout(now);
        this.take_signals(now);
        this.work(cx, now);
        this.stats.calls_are_over();
        this.put_out(cx, now);
        if this.state.phase() > Phase::Flushing {
            this.end(cx, now);
        }
        // In every turn, because the task may be dropped before the next.
        if this.stats.reason.is_none() {
            this.stats.reason = this.state.reason().cloned();
        }
        this.stats.bytes_in = this.engine.bytes_in();
        this.stats.bytes_out = this.engine.bytes_out();
        this.stats.messages_out = this.writer.messages();
        if this.state.phase() == Phase::Done {
            return Poll::Ready(());
        }
        if let Some(deadline) = this.state.poll_timeout() {
            this.alarm.set(deadline, cx);
        }
        this.calls.rest();
        Poll::Pending
    }
}

impl<Io: Transport> Drop for Driver<Io> {
    // A task can be dropped before its end: with its runtime.
    fn drop(&mut self) {
        if self.state.phase() == Phase::Done || self.ending.has_begun() || panicking() {
            return;
        }
        let asked = self.stats.connection().take_signals().and_then(|it| it.close);
        if self.stats.reason.is_none() {
            self.stats.reason = asked.map(CloseReason::from);
        }
        let reason = self.stats.reason.clone().unwrap_or(CloseReason::GoingAway);
        self.stats.flushed = {
            let outlet = self.stats.connection().outbound();
            Ending::say_at_once(&mut self.engine, &self.writer, outlet, &reason)
        };
        self.stats.bytes_out = self.engine.bytes_out();
        self.stats.last_words = Some(reason);
    }
}
