//! Count what a connection did, and record it exactly once.

use std::time::{Duration, Instant};

use crate::{
    audit::{AuditEvent, Closed, Connected},
    close::CloseReason,
    connection::Connection,
    driver::written::SocketRoom,
};

/// What a connection did, for its close event.
///
/// The event is recorded when this is dropped, however the connection ends: also with the runtime.
#[derive(Debug)]
pub(crate) struct ConnectionStats {
    connection: Connection,
    pub(crate) reason: Option<CloseReason>,
    /// The rule that ended it before there was a socket.
    pub(crate) never_opened: Option<&'static str>,
    /// What the peer was to be told when the task was dropped.
    pub(crate) last_words: Option<CloseReason>,
    pub(crate) flushed: bool,
    pub(crate) received_code: Option<u16>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) messages_in: u64,
    pub(crate) messages_out: u64,
    pub(crate) last_handler_time: Option<Duration>,
    /// When the last call began; the turn did, if there were several in it that nobody asks about.
    call_began: Instant,
    /// There was a call in this turn.
    called: bool,
    /// The last call has ended, and how long it took is still to be found out.
    untimed: bool,
    longest_stall: Duration,
    stalled: Option<Instant>,
}

impl ConnectionStats {
    /// `connection` begins, with what its handshake said.
    pub(crate) fn new(connection: Connection, connected: Connected) -> Self {
        connection.record(AuditEvent::Connected(connected));
        let call_began = connection.opened().into_std();
        Self {
            connection,
            reason: None,
            never_opened: None,
            last_words: None,
            flushed: false,
            received_code: None,
            bytes_in: 0,
            bytes_out: 0,
            messages_in: 0,
            messages_out: 0,
            last_handler_time: None,
            call_began,
            called: false,
            untimed: false,
            longest_stall: Duration::ZERO,
            stalled: None,
        }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// A call begins in the turn that began at `now`, and there is `another` message behind it.
    ///
    /// Only the last call counts, and the clock is not read for the others. The turn's time will do for
    /// the first.
    pub(crate) fn call_begins(&mut self, another: bool, now: Instant) {
        self.call_began = if self.called && !another { clock() } else { now };
    }

    /// A call has ended. What it took is found out now, if it may be the last.
    pub(crate) fn call_ended(&mut self, another: bool) {
        self.called = true;
        self.untimed = true;
        if !another {
            self.time_call();
        }
    }

    /// Nothing more is called in this turn: what was taken for `another` message was none.
    pub(crate) fn calls_are_over(&mut self) {
        self.called = false;
        if self.untimed {
            self.time_call();
        }
    }

    /// Not by the turn's clock, which stands still while a handler works.
    fn time_call(&mut self) {
        self.untimed = false;
        self.last_handler_time = Some(clock().saturating_duration_since(self.call_began));
    }

    /// The socket has room or not, and has taken so many bytes since it was last asked.
    pub(crate) fn output(&mut self, room: SocketRoom, taken: u64, now: Instant) {
        if let Some(since) = self.stalled {
            self.longest_stall = self.longest_stall.max(now.saturating_duration_since(since));
        }
        self.stalled = match self.stalled {
            _ if room == SocketRoom::Free => None,
            Some(since) if taken == 0 => Some(since),
            _ => Some(now),
        };
    }
}

/// What tokio's clock says, which is not the turn's.
fn clock() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Drop for ConnectionStats {
    fn drop(&mut self) {
        let connection = &self.connection;
        // A task that is dropped has ended nothing by itself.
        connection.attached().drop_all();
        connection.record_closed(Closed {
            rule: self
                .reason
                .as_ref()
                .map(CloseReason::rule)
                .or(self.never_opened)
                .unwrap_or("aborted"),
            intended_code: self
                .reason
                .as_ref()
                .or(self.last_words.as_ref())
                .and_then(CloseReason::code)
                .map(u16::from),
            flushed: self.flushed,
            received_code: self.received_code,
            duration: connection.opened().elapsed(),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            messages_in: self.messages_in,
            messages_out: self.messages_out,
            queued_peak: connection.outbound().peak_bytes(),
            longest_stall: self.longest_stall,
            rtt: connection.rtt(),
            last_handler_time: self.last_handler_time,
            suppressed: connection.take_suppressed(),
        });
    }
}
