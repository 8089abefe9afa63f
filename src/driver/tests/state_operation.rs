//! What can happen to a [`State`], as a value: for tables, for properties, for a fuzz target.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    close::{Close, CloseReason},
    driver::{
        Authentication, config::ConnectionConfig, phase::Phase, ping::Challenge, scanner,
        state::State, written::SocketRoom,
    },
};

/// One thing the driver tells the state, or time that passes.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    /// So many milliseconds pass, with a turn at each deadline on the way and one at the end.
    Wait(u64),
    /// So many milliseconds pass unseen, as on a thread that is held up; then there is a turn.
    Late(u64),
    /// The peer is authenticated; the session ends in so many milliseconds, or ended before.
    Authenticated(Option<i64>),
    Close(CloseReason),
    /// The application asks for it.
    Asked(Close),
    CallPending,
    CallFinished,
    Message,
    /// The number of the message that has begun, if one has.
    Partial(Option<u32>),
    /// The number of the control frame that has begun.
    PartialControl(u32),
    /// The ping that is due, if one is, goes into the write buffer.
    Ping,
    /// A pong for the last ping but so many.
    Pong(usize),
    /// A pong with a payload that no ping had.
    StrayPong,
    Reads(bool),
    Output {
        pending: bool,
        taken: u64,
    },
    Finished,
    /// The socket takes something while the connection ends.
    CloseMoves,
    CloseFlushed,
    TransportEnd,
    Refill,
}

/// A state, its clock, and what it asked for.
pub(super) struct Run {
    pub(super) state: State,
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) pings: Vec<Challenge>,
    pub(super) rtt: Option<Duration>,
    pub(super) refilled: u64,
}

impl Run {
    /// The first ping comes a whole interval after the start.
    pub(super) fn new(config: ConnectionConfig) -> Self {
        Self::with(config, Authentication::Required, 1.0)
    }

    pub(super) fn with(
        config: ConnectionConfig,
        authentication: Authentication,
        spread: f64,
    ) -> Self {
        let start = Instant::now();
        let state = State::new(Arc::new(config), authentication, spread, start);
        Self { state, start, now: start, pings: Vec::new(), rtt: None, refilled: 0 }
    }

    pub(super) fn apply_all(mut self, operations: &[Operation]) -> Self {
        for operation in operations {
            self.apply(operation);
        }
        self
    }

    pub(super) fn apply(&mut self, operation: &Operation) {
        let now = self.now;
        match operation {
            Operation::Wait(millis) => {
                let end = now + Duration::from_millis(*millis);
                while let Some(deadline) = self.state.poll_timeout().filter(|it| *it <= end) {
                    self.now = deadline.max(self.now);
                    self.state.handle_timeout(self.now);
                    let again = self.state.poll_timeout();
                    assert!(again.is_none_or(|it| it > self.now), "due for ever: {again:?}");
                }
                self.now = end;
                self.state.handle_timeout(end);
            }
            Operation::Late(millis) => {
                self.now += Duration::from_millis(*millis);
                self.state.handle_timeout(self.now);
            }
            Operation::Authenticated(expires) => {
                let expires = expires.map(|millis| match u64::try_from(millis) {
                    Ok(millis) => now + Duration::from_millis(millis),
                    Err(_) => now - Duration::from_millis(millis.unsigned_abs()),
                });
                self.state.handle_authenticated(expires);
            }
            Operation::Close(reason) => self.state.close(reason.clone(), now),
            Operation::Asked(close) => self.state.close_as_asked(close.clone(), now),
            Operation::CallPending => self.state.handle_call_pending(now),
            Operation::CallFinished => self.state.handle_call_finished(),
            Operation::Message => self.state.handle_message(now),
            Operation::Partial(message) => {
                self.state.handle_partial(message.map(scanner::Partial::Message), now);
            }
            Operation::PartialControl(number) => {
                self.state.handle_partial(Some(scanner::Partial::Control(*number)), now);
            }
            Operation::Ping => {
                let count = self.pings.len() as u64;
                self.pings.extend(self.state.poll_ping(|| count.to_be_bytes()));
            }
            Operation::Pong(back) => {
                let ping = self.pings.len().checked_sub(back + 1).map(|at| self.pings[at]);
                if let Some(ping) = ping {
                    self.rtt = self.state.handle_pong(&ping, now);
                }
            }
            Operation::StrayPong => self.rtt = self.state.handle_pong(b"stray", now),
            Operation::Reads(true) => self.state.handle_reading(now),
            Operation::Reads(false) => self.state.handle_reading_paused(now),
            Operation::Output { pending, taken } => {
                let room = if *pending { SocketRoom::Full } else { SocketRoom::Free };
                self.state.handle_output(room, *taken, now);
            }
            Operation::Finished => self.state.handle_drained(now),
            Operation::CloseMoves => self.state.handle_close_progress(now),
            Operation::CloseFlushed => self.state.handle_close_flushed(),
            Operation::TransportEnd => self.state.handle_transport_end(now),
            Operation::Refill => self.refilled += u64::from(self.state.control().refill(now)),
        }
    }

    pub(super) fn rule(&self) -> Option<&'static str> {
        self.state.reason().map(CloseReason::rule)
    }

    /// When the next turn is due, in milliseconds since the start.
    pub(super) fn next(&self) -> Option<u128> {
        let next = self.state.poll_timeout()?;
        Some(next.saturating_duration_since(self.start).as_millis())
    }

    /// Where in the life of a connection the state is; never goes down.
    pub(super) fn stage(&self) -> u8 {
        match self.state.phase() {
            Phase::Open => 0,
            Phase::Finishing => 1,
            Phase::Flushing => 2,
            Phase::Closing => 3,
            Phase::Lingering => 4,
            Phase::Done => 5,
        }
    }
}
