//! Decide when: every deadline of a connection, its heartbeat, and the stages of its end.
//!
//! There is no socket here, no clock and no task. The driver says what happened (`handle_*`, with
//! the time), gives the one command ([`State::close`]), and asks what to do (`poll_*`). The order is:
//! [`handle_timeout`](State::handle_timeout) first in a turn, so that a deadline that has passed wins
//! over work that is ready in the same turn; [`poll_timeout`](State::poll_timeout) last.
//!
//! | deadline | from | when it passes |
//! |---|---|---|
//! | [`Timer::Auth`] | the accepted handshake; nothing but success ends it | 4401 |
//! | [`Timer::Session`] | what the session says | 4401 |
//! | [`Timer::Handler`] | a call that did not finish at once | 1011 |
//! | [`Timer::Message`] | the first byte of a message or control frame, to its last | 1008 |
//! | [`Timer::Ping`] | the last ping; the first is at a random moment | a ping |
//! | [`Timer::Pong`] | the last sign of life since the ping was out | 1011 |
//! | [`Timer::Idle`] | the last data message | 1001 |
//! | [`Timer::Write`] | the last byte the socket took | 1013 |
//! | [`Timer::Quiet`] | buffers that a large message made grow | they are given back |
//! | [`Timer::Close`] | each stage of the end; a close frame has more, as below | the next stage |
//!
//! While the driver does not read, because a message is being handled, the peer's pong, the rest of its
//! message or its next one may be waiting unread: those three deadlines stand still until it reads
//! again.
//!
//! # A slow peer is not a dead one
//!
//! A pong is due from when its ping was out: the socket has taken it and all that stood behind it. It
//! is due anew whenever a socket that was full takes something more, for which the peer must have
//! acknowledged what came before: a peer that reads a backlog at its own pace is alive, however late
//! it gets to the ping in it. A socket that takes everything at once shows nothing, because a kernel
//! takes it for a dead peer just as well; so a pong has more time, the [`Unread`] time, for what may lie
//! before its ping in the peer's kernel. A peer that is gone is found out within a pong timeout and a
//! write timeout of the last byte that it acknowledged, and one that was sent little within the first.
//!
//! The close frame has a close timeout from the last byte that the socket took, so that a peer that
//! reads hears why; but no more than [`CLOSE_AT_MOST`] of them. Its lingering has what is left.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    close::{Close, CloseReason, Outgoing},
    driver::{
        authentication::Authentication,
        config::ConnectionConfig,
        control::ControlBudget,
        phase::Phase,
        ping::{Challenge, Ping},
        scanner::Partial,
        timers::{Timer, Timers},
        unread::Unread,
        written::SocketRoom,
    },
};

/// When a connection must act, and on what.
#[derive(Debug)]
pub(crate) struct State {
    config: Arc<ConnectionConfig>,
    phase: Phase,
    /// The first reason given; it never changes.
    reason: Option<CloseReason>,
    authenticated: bool,
    /// Paused while the driver does not read.
    timers: Timers,
    ping: Ping,
    unread: Unread,
    /// What the peer has begun, whose time is being taken.
    partial: Option<Partial>,
    /// Grown buffers are to be given back as soon as nothing is in them.
    relief: bool,
    /// Of the socket, at the last look.
    room: SocketRoom,
    /// When the closing stage must be over, whatever the socket takes.
    close_by: Option<Instant>,
    control: ControlBudget,
}

impl State {
    /// The state of a connection whose handshake was accepted at `now`. `spread`, from 0 to 1, places
    /// the first ping in its interval.
    pub(crate) fn new(
        config: Arc<ConnectionConfig>,
        authentication: Authentication,
        spread: f64,
        now: Instant,
    ) -> Self {
        let first_ping = config.ping_interval.as_secs_f64() * spread.clamp(0.0, 1.0);
        // As a float the longest interval is longer than a duration can be.
        let first_ping = Duration::try_from_secs_f64(first_ping).unwrap_or(config.ping_interval);
        let mut state = Self {
            control: ControlBudget::new(&config, now),
            config,
            phase: Phase::Open,
            reason: None,
            authenticated: authentication == Authentication::Optional,
            timers: Timers::new(now),
            ping: Ping::None,
            unread: Unread::default(),
            partial: None,
            relief: false,
            room: SocketRoom::Free,
            close_by: None,
        };
        if !state.authenticated {
            state.timers.start(Timer::Auth, now, state.config.auth_timeout);
        }
        state.timers.start(Timer::Ping, now, first_ping);
        if let Some(idle) = state.config.idle_timeout {
            state.timers.start(Timer::Idle, now, idle);
        }
        state
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn reason(&self) -> Option<&CloseReason> {
        self.reason.as_ref()
    }

    pub(crate) fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// Begins the end for what was found. The first reason wins; a later one can only cut it short.
    pub(crate) fn close(&mut self, reason: CloseReason, now: Instant) {
        let outgoing = reason.outgoing();
        self.end(reason, outgoing, now);
    }

    /// Begins the end that the application or a layer asked for, whatever its reason: what was accepted
    /// before is not lost for it.
    pub(crate) fn close_as_asked(&mut self, close: Close, now: Instant) {
        let reason = CloseReason::from(close);
        let outgoing = reason.outgoing().max(Outgoing::Queued);
        self.end(reason, outgoing, now);
    }

    fn end(&mut self, reason: CloseReason, outgoing: Outgoing, now: Instant) {
        let next = match (self.phase, outgoing) {
            _ if self.phase >= Phase::Closing => return,
            _ if reason == CloseReason::Lost => Phase::Done,
            (_, Outgoing::Nothing) => Phase::Closing,
            (Phase::Open, Outgoing::Queued) => Phase::Flushing,
            (Phase::Open, Outgoing::Everything) => Phase::Finishing,
            (_, Outgoing::Queued) => return self.cut_short(),
            (_, Outgoing::Everything) => return,
        };
        self.reason.get_or_insert(reason);
        self.enter(next, now);
    }

    /// Waits for the call in flight no longer. The time for what goes out runs on.
    pub(crate) fn cut_short(&mut self) {
        if self.phase == Phase::Finishing {
            self.phase = Phase::Flushing;
        }
    }

    /// All has gone out that was to.
    pub(crate) fn handle_drained(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Finishing | Phase::Flushing) {
            self.enter(Phase::Closing, now);
        }
    }

    /// Acts on every deadline that has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if !self.timers.any_is_due(now) {
            return;
        }
        for timer in Timer::ALL {
            if !self.timers.take_due(timer, now) {
                continue;
            }
            match timer {
                Timer::Auth => self.close(CloseReason::AuthTimeout, now),
                Timer::Session => self.close(CloseReason::SessionExpired, now),
                Timer::Handler => self.close(CloseReason::HandlerTimeout, now),
                Timer::Message => self.close(CloseReason::MessageTooSlow, now),
                // Behind the rest of a message the pong cannot come; that has a deadline of its own,
                // and its end is a sign of life. The end of a control frame is none.
                Timer::Pong if matches!(self.partial, Some(Partial::Message(_))) => {
                    self.timers.set(Timer::Pong, self.timers.get(Timer::Message));
                }
                Timer::Pong => self.close(CloseReason::DeadPeer, now),
                Timer::Idle => self.close(CloseReason::Idle, now),
                Timer::Write => self.close(CloseReason::WriteTimeout, now),
                Timer::Quiet => self.relief = true,
                Timer::Ping => {
                    // While one is under way its own deadline decides; a second would hide it.
                    if !self.awaits_pong() {
                        self.ping = Ping::Due;
                    }
                    self.timers.start(Timer::Ping, now, self.config.ping_interval);
                }
                Timer::Close => match self.phase {
                    Phase::Open | Phase::Done => {}
                    Phase::Finishing | Phase::Flushing => self.enter(Phase::Closing, now),
                    Phase::Closing | Phase::Lingering => self.enter(Phase::Done, now),
                },
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first()
    }

    /// The payload of a ping to send now: `challenge`, which must be asked for anew each time and
    /// which nobody can guess.
    pub(crate) fn poll_ping(&mut self, challenge: impl FnOnce() -> Challenge) -> Option<Challenge> {
        if self.ping != Ping::Due {
            return None;
        }
        let challenge = challenge();
        self.ping = Ping::Sent(challenge);
        Some(challenge)
    }

    /// The engine's buffers are larger than what is kept, or not; whether they are to be given back.
    pub(crate) fn poll_relief(&mut self, grown: bool, now: Instant) -> bool {
        if grown && !self.relief && !self.timers.is_set(Timer::Quiet) && self.phase == Phase::Open {
            self.timers.start(Timer::Quiet, now, RELIEF);
        }
        std::mem::take(&mut self.relief) && grown
    }

    /// The peer was authenticated, for a session that ends at `expires`.
    pub(crate) fn handle_authenticated(&mut self, expires: Option<Instant>) {
        self.authenticated = true;
        self.timers.stop(Timer::Auth);
        if self.phase == Phase::Open {
            self.timers.set(Timer::Session, expires);
        }
    }

    /// A call did not finish in the turn it began, or could not begin.
    pub(crate) fn handle_call_pending(&mut self, now: Instant) {
        if !self.timers.is_set(Timer::Handler) && self.phase == Phase::Open {
            self.timers.start(Timer::Handler, now, self.config.handler_timeout);
        }
    }

    /// The call in flight has finished.
    pub(crate) fn handle_call_finished(&mut self) {
        self.timers.stop(Timer::Handler);
    }

    /// A whole data message came: the peer lives.
    pub(crate) fn handle_message(&mut self, now: Instant) {
        self.timers.stop(Timer::Pong);
        if let Some(idle) = self.config.idle_timeout.filter(|_| self.phase == Phase::Open) {
            self.timers.start(Timer::Idle, now, idle);
        }
    }

    /// This is what the peer has begun and not finished.
    pub(crate) fn handle_partial(&mut self, partial: Option<Partial>, now: Instant) {
        if partial == self.partial {
            return;
        }
        self.partial = partial;
        if partial.is_some() && self.phase == Phase::Open {
            self.timers.start(Timer::Message, now, self.config.message_timeout);
        } else {
            self.timers.stop(Timer::Message);
        }
    }

    /// A pong came. If it answers our ping, the peer lives; and this is the round trip, if the ping
    /// was not answered before all that was written behind it was out, and the pong was read at once.
    pub(crate) fn handle_pong(&mut self, payload: &[u8], now: Instant) -> Option<Duration> {
        let (challenge, flushed) = match self.ping {
            Ping::None | Ping::Due => return None,
            // It went out, but never were all the bytes behind it out as well: no round trip then.
            Ping::Sent(challenge) => (challenge, None),
            Ping::Flushed(challenge, flushed) => (challenge, flushed),
        };
        if payload != challenge {
            return None;
        }
        self.ping = Ping::None;
        self.unread.ping_is_answered();
        self.timers.stop(Timer::Pong);
        flushed.map(|flushed| now.saturating_duration_since(flushed))
    }

    /// The driver does not read for a while.
    pub(crate) fn handle_reading_paused(&mut self, now: Instant) {
        self.timers.pause(now);
    }

    /// The driver reads.
    pub(crate) fn handle_reading(&mut self, now: Instant) {
        if !self.timers.resume(now).is_zero()
            && let Ping::Flushed(_, time) = &mut self.ping
        {
            *time = None;
        }
    }

    /// Output was tried, and the socket took so many bytes.
    pub(crate) fn handle_output(&mut self, room: SocketRoom, taken: u64, now: Instant) {
        let progressed = taken > 0;
        self.unread.add(taken);
        let before = std::mem::replace(&mut self.room, room);
        if self.phase != Phase::Open {
            return;
        }
        if before == SocketRoom::Full && progressed && self.timers.is_set(Timer::Pong) {
            self.restart_pong(now);
        }
        if room == SocketRoom::Free {
            self.timers.stop(Timer::Write);
            if let Ping::Sent(challenge) = self.ping {
                self.unread.ping_is_out();
                self.restart_pong(now);
                self.ping = Ping::Flushed(challenge, Some(now));
            }
        } else if progressed || !self.timers.is_set(Timer::Write) {
            self.timers.start(Timer::Write, now, self.config.write_timeout);
        }
    }

    /// The socket took something of what stands before the close frame, or of that.
    pub(crate) fn handle_close_progress(&mut self, now: Instant) {
        if self.phase == Phase::Closing {
            let next = now.checked_add(self.config.close_timeout);
            let latest = [next, self.close_by].into_iter().flatten().min();
            self.timers.set(Timer::Close, latest);
        }
    }

    /// The close frame is with the socket. The deadline of this stage goes on.
    pub(crate) fn handle_close_flushed(&mut self) {
        if self.phase == Phase::Closing {
            self.phase = Phase::Lingering;
        }
    }

    /// The transport is gone, or the peer has been heard out.
    pub(crate) fn handle_transport_end(&mut self, now: Instant) {
        self.reason.get_or_insert(CloseReason::Lost);
        self.enter(Phase::Done, now);
    }

    /// What the peer may send of control frames.
    pub(crate) fn control(&mut self) -> &mut ControlBudget {
        &mut self.control
    }

    fn restart_pong(&mut self, now: Instant) {
        let paused = self.timers.is_paused();
        // What has stood still so far is paid out first: the pong's time begins only now.
        self.handle_reading(now);
        let unread = self.unread.time(self.config.write_timeout);
        self.timers.start(Timer::Pong, now, self.config.pong_timeout.saturating_add(unread));
        if paused {
            self.handle_reading_paused(now);
        }
    }

    fn awaits_pong(&self) -> bool {
        match self.ping {
            Ping::None => false,
            Ping::Due | Ping::Sent(_) => true,
            // Data since the ping has shown that the peer lives: the next ping may go out.
            Ping::Flushed(..) => self.timers.is_set(Timer::Pong),
        }
    }

    /// Only the end's own deadline runs from here on.
    fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.timers.clear();
        self.ping = Ping::None;
        if phase != Phase::Done {
            self.timers.start(Timer::Close, now, self.config.close_timeout);
        }
        if phase == Phase::Closing {
            let most = self.config.close_timeout.checked_mul(CLOSE_AT_MOST);
            self.close_by = most.and_then(|most| now.checked_add(most));
        }
    }
}

/// How long grown buffers are kept: a peer that goes on uses them again, and they cost an allocation; a
/// peer that is quiet, or wants them to be held, has them no longer.
const RELIEF: Duration = Duration::from_secs(1);

/// Close timeouts that a close frame may take while the socket takes what is before it.
const CLOSE_AT_MOST: u32 = 4;
