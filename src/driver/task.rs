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
    task::{Context, Poll, Waker, ready},
    thread::panicking,
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::{
    task::coop::has_budget_remaining,
    time::{Instant, Sleep, sleep_until},
};
use tokio_tungstenite::tungstenite;

use crate::{
    close::{Close, CloseReason},
    connection::Connection,
    driver::{
        calls::Calls,
        ending::Ending,
        engine::{Engine, TURN},
        output::{Output, Written},
        permit::Permit,
        ping::challenge,
        refusal,
        state::{Phase, State},
        stats::ConnectionStats,
        transport::Transport,
    },
    foreign,
    layers::{Failure, MessageStack, Reply},
    message::{Message, Utf8Bytes},
    outbound::{Dropped, SendError},
    quota::clock,
};

pin_project! {
    /// One connection.
    pub(crate) struct Driver<Io, S, P>
    where
        Io: Transport,
        S: MessageStack,
    {
        engine: Engine<Io>,
        state: State,
        output: Output,
        connection: Connection,
        stats: ConnectionStats,
        #[pin]
        calls: Calls<S>,
        // Of what the application holds for the peer, the most with which more is read.
        read_below: usize,
        // Bytes held for the peer when the last reply was queued.
        held: usize,
        // The socket took less than there was at the last try.
        blocked: bool,
        ending: Ending,
        #[pin]
        timer: Sleep,
        // Whom the timer wakes.
        armed: Option<Waker>,
        permit: P,
    }

    impl<Io, S, P> PinnedDrop for Driver<Io, S, P>
    where
        Io: Transport,
        S: MessageStack,
    {
        // A task can be dropped before its end: with its runtime.
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if this.state.phase() == Phase::Done || this.ending.has_begun() || panicking() {
                return;
            }
            let asked = this.connection.take_signals().and_then(|it| it.close);
            if this.stats.reason.is_none() {
                this.stats.reason = asked.map(CloseReason::from);
            }
            let reason = this.stats.reason.clone().unwrap_or(CloseReason::GoingAway);
            this.stats.flushed = this.ending.say_at_once(this.engine, &reason);
            this.stats.bytes_out = this.engine.wire().bytes_out();
            this.stats.last_words = Some(reason);
        }
    }
}

impl<Io, S, P> Driver<Io, S, P>
where
    Io: Transport,
    S: MessageStack,
    P: Permit,
{
    pub(crate) fn new(
        engine: Engine<Io>,
        state: State,
        output: Output,
        stats: ConnectionStats,
        calls: Calls<S>,
        read_below: usize,
        permit: P,
    ) -> Self {
        let connection = stats.connection().clone();
        // Without any deadline yet, one that is later than all.
        let never = connection.opened() + Duration::from_secs(365 * 24 * 60 * 60);
        let timer = sleep_until(state.poll_timeout().map_or(never, Instant::from_std));
        Self {
            engine,
            state,
            output,
            stats,
            connection,
            calls,
            read_below,
            held: 0,
            blocked: false,
            ending: Ending::default(),
            timer,
            armed: None,
            permit,
        }
    }

    /// Steps 2 and 3: answers what is in flight, reads, calls; until there is nothing to do or the
    /// turn is over.
    fn work(mut self: Pin<&mut Self>, cx: &mut Context<'_>, now: std::time::Instant) {
        let mut frames = 0;
        while matches!(self.state.phase(), Phase::Open | Phase::Finishing) {
            if self.calls.is_calling() {
                match self.as_mut().poll_call(cx, now) {
                    Poll::Ready(()) => self.as_mut().heed_signals(now),
                    Poll::Pending => break,
                }
            } else if self.state.phase() == Phase::Finishing {
                return;
            } else if self.calls.has_message() {
                if self.as_mut().poll_slot(cx, now).is_pending() {
                    break;
                }
            } else if self.held > self.read_below || !self.output.has_headroom() {
                // Answers wait for the peer to read. Output goes first; if the socket takes it, the
                // next turn reads on.
                break;
            } else if frames == TURN {
                cx.waker().wake_by_ref();
                return;
            } else {
                frames += 1;
                self.as_mut().project().state.handle_reading(true, now);
                if self.as_mut().poll_read(cx, now).is_pending() {
                    return;
                }
            }
        }
        let this = self.project();
        this.state.handle_reading(false, now);
        this.engine.wire_mut().settle();
    }

    fn poll_call(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        now: std::time::Instant,
    ) -> Poll<()> {
        let this = self.as_mut().project();
        let Poll::Ready(result) = this.calls.poll_call(cx) else {
            this.state.handle_call_pending(now);
            return Poll::Pending;
        };
        let another = result.is_ok() && this.engine.has_whole();
        this.stats.call_ended(another);
        this.state.handle_call_finished();
        self.answer(result, now);
        Poll::Ready(())
    }

    fn answer(
        self: Pin<&mut Self>,
        result: Result<Reply<Message>, Failure<Message>>,
        now: std::time::Instant,
    ) {
        let this = self.project();
        this.engine.wire_mut().set_in_call(0);
        let reply = match result {
            Ok(reply) => reply,
            Err(Failure::Reply(message)) => Reply::one(message),
            Err(Failure::Close(close)) => {
                // Before authentication the only code that can have failed is the verifier's.
                let verifier = close == Close::HANDLER_FAILED && !this.state.is_authenticated();
                let unavailable = || Close::because(CloseReason::AuthUnavailable);
                let close = if verifier { unavailable() } else { close };
                this.state.close_as_asked(close, now);
                return;
            }
        };
        let mut dropped = Dropped::default();
        let queued = reply.try_for_each(|message| {
            *this.held = this.connection.outbound().push_reply(message, &mut dropped)?;
            Ok::<_, SendError>(())
        });
        // That the queue is closed or went over its bound is what output finds out.
        if let Err(refused) = queued {
            if let SendError::TooLarge(_) = refused {
                this.state.close(CloseReason::HandlerFailed, now);
            }
            foreign::discard([refused]);
        }
    }

    /// Calls the stack with the message in the slot, once it is ready for it.
    fn poll_slot(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        now: std::time::Instant,
    ) -> Poll<()> {
        let this = self.as_mut().project();
        this.stats.call_begins(this.engine.has_whole(), now);
        match this.calls.poll_slot(cx, this.connection) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(failure)) => {
                this.state.handle_call_finished();
                self.answer(Err(failure), now);
            }
            Poll::Pending => {
                this.state.handle_call_pending(now);
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Reads one message or control frame.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        now: std::time::Instant,
    ) -> Poll<()> {
        let this = self.as_mut().project();
        let scanner = this.engine.wire_mut().scanner_mut();
        if scanner.control_spent() {
            scanner.refill_control(this.state.control().refill(now));
        } else {
            this.state.control().is_full(now);
        }
        let read = this.engine.poll_read(cx);
        this.state.handle_partial(this.engine.wire().scanner().partial(), now);
        match ready!(read) {
            Some(Ok(tungstenite::Message::Text(text))) => {
                self.take(Message::Text(Utf8Bytes::from_frame(text)), now);
            }
            Some(Ok(tungstenite::Message::Binary(bytes))) => self.take(Message::Binary(bytes), now),
            Some(Ok(tungstenite::Message::Ping(payload))) => {
                this.output.pong_is_due(payload.len());
            }
            Some(Ok(tungstenite::Message::Pong(payload))) => {
                if let Some(rtt) = this.state.handle_pong(&payload, now) {
                    this.connection.set_rtt(rtt);
                }
            }
            Some(Ok(tungstenite::Message::Close(_))) => {
                let code = this.engine.wire().scanner().close_code();
                this.stats.received_code = code;
                this.state.close(CloseReason::PeerClosed(code), now);
            }
            // Never read: the engine assembles messages.
            Some(Ok(tungstenite::Message::Frame(_))) => {}
            Some(Err(error)) => {
                let wire = this.engine.wire();
                if wire.scanner().closed() {
                    // The engine refused the reason's text; the code was whole all the same.
                    this.stats.received_code = wire.scanner().close_code();
                }
                let reason = refusal::of_read_error(&error, wire, this.connection);
                this.state.close(reason, now);
            }
            None => this.state.close(CloseReason::Lost, now),
        }
        Poll::Ready(())
    }

    #[inline]
    fn take(self: Pin<&mut Self>, message: Message, now: std::time::Instant) {
        let this = self.project();
        this.engine.wire_mut().set_in_call(message.len());
        this.calls.put(message);
        this.stats.messages_in += 1;
        this.state.handle_message(now);
    }

    /// Step 4.
    fn write(self: Pin<&mut Self>, cx: &mut Context<'_>, now: std::time::Instant) {
        let this = self.project();
        let before = this.output.accepted();
        if let Some(payload) = this.state.poll_ping(challenge) {
            this.output.ping(this.engine, payload, cx);
        }
        let written = this.output.poll(this.engine, this.connection.outbound(), cx);
        let taken = this.output.accepted() - before;
        let pending = written == Written::Pending;
        this.state.handle_output(pending, taken, now);
        this.stats.output(pending, taken > 0, now);
        let was_blocked = std::mem::replace(this.blocked, pending);
        match written {
            Written::All => {
                let full = std::mem::take(this.held) > *this.read_below;
                if full || was_blocked {
                    // Reading stopped for want of room, and there is room now.
                    cx.waker().wake_by_ref();
                }
                let in_use = this.calls.is_calling() || this.calls.has_message();
                if this.state.poll_relief(this.engine.is_grown(), now) && !in_use {
                    this.engine.give_back();
                }
                if !this.calls.is_calling() {
                    this.state.handle_drained(now);
                }
            }
            Written::Pending => {
                if *this.held > *this.read_below {
                    // The queue of a busy peer may never be empty: enough of it out is enough.
                    *this.held = this.connection.outbound().held().min(*this.held);
                    if *this.held <= *this.read_below {
                        cx.waker().wake_by_ref();
                    }
                }
            }
            Written::Overflowed => this.state.close(CloseReason::SlowConsumer, now),
            Written::Evicted => this.state.close(CloseReason::Overloaded, now),
            Written::Lost => this.state.handle_transport_end(now),
        }
    }

    /// Does what layers and the application asked for through the handle.
    fn heed_signals(self: Pin<&mut Self>, now: std::time::Instant) {
        let this = self.project();
        let Some(signals) = this.connection.take_signals() else {
            return;
        };
        if let Some(expires) = signals.authenticated {
            this.state.handle_authenticated(expires.map(Instant::into_std));
            this.permit.verdict();
        }
        if let Some(close) = signals.close {
            this.state.close_as_asked(close, now);
        }
        if signals.cut_short {
            this.state.cut_short();
        }
    }

    /// Drops everything that could act for the peer; what is queued may still go out.
    fn abandon(self: Pin<&mut Self>) {
        let this = self.project();
        if this.calls.is_abandoned() {
            return;
        }
        // It waits for credentials no more, though its socket is heard out for a while.
        this.permit.verdict();
        this.connection.outbound().seal();
        this.engine.wire_mut().abandon();
        this.engine.wire_mut().forget_ping();
        this.calls.abandon();
    }

    /// Step 4, and what layers and the application have asked for by then.
    fn put_out(mut self: Pin<&mut Self>, cx: &mut Context<'_>, now: std::time::Instant) {
        loop {
            if self.state.phase() > Phase::Finishing {
                self.as_mut().abandon();
            }
            if self.state.phase() > Phase::Flushing {
                return;
            }
            self.as_mut().write(cx, now);
            // Whoever signalled during the turn has not woken the task. Output's look at the queue
            // is where that ends; what came before it is found here.
            self.as_mut().heed_signals(now);
            if self.state.phase() <= Phase::Finishing || self.calls.is_abandoned() {
                break;
            }
        }
        if self.state.phase() == Phase::Flushing {
            let this = self.project();
            this.ending.listen(this.engine, this.state, cx, now);
        }
    }

    fn end(mut self: Pin<&mut Self>, cx: &mut Context<'_>, now: std::time::Instant) {
        self.as_mut().abandon();
        let this = self.project();
        if !this.ending.has_begun() {
            // What the end itself takes is no stall.
            this.stats.output(false, false, now);
            this.connection.outbound().close();
            this.output.discard(this.connection.outbound());
        }
        if this.state.phase() != Phase::Done {
            this.ending.poll(this.engine, this.state, this.stats, cx, now);
        }
    }

    /// Step 5: sees to it that the task wakes for the next deadline.
    ///
    /// Deadlines move with nearly every message; the timer moves only when it would come too late.
    fn arm(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let mut this = self.project();
        let Some(deadline) = this.state.poll_timeout().map(Instant::from_std) else {
            return;
        };
        if this.timer.is_elapsed() || deadline < this.timer.deadline() {
            this.timer.as_mut().reset(deadline);
            *this.armed = None;
        }
        if this.armed.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            return;
        }
        // Without budget left, tokio does not look at the timer, and asks for another turn.
        *this.armed = has_budget_remaining().then(|| cx.waker().clone());
        if this.timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}

impl<Io, S, P> Future for Driver<Io, S, P>
where
    Io: Transport,
    S: MessageStack,
    P: Permit,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let (_turn, now) = clock::Turn::begin();
        let now = now.into_std();
        self.connection.outbound().driver_is_awake();
        self.as_mut().project().state.handle_timeout(now);
        self.as_mut().heed_signals(now);
        self.as_mut().work(cx, now);
        self.as_mut().project().stats.calls_are_over();
        self.as_mut().put_out(cx, now);
        if self.state.phase() > Phase::Flushing {
            self.as_mut().end(cx, now);
        }
        let this = self.as_mut().project();
        // In every turn, because the task may be dropped before the next.
        if this.stats.reason.is_none() {
            this.stats.reason = this.state.reason().cloned();
        }
        this.stats.bytes_in = this.engine.wire().bytes_in();
        this.stats.bytes_out = this.engine.wire().bytes_out();
        this.stats.messages_out = this.output.messages();
        if this.state.phase() == Phase::Done {
            return Poll::Ready(());
        }
        self.arm(cx);
        Poll::Pending
    }
}
