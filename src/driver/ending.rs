//! End a connection: close frame, shutdown of the write half, and *lingering*.
//!
//! While it lingers, what the peer still sends is read and thrown away beneath scanner and engine,
//! because a socket dropped with unread bytes is reset, and a reset destroys the close frame on its
//! way.

use std::{
    task::{Context, Poll},
    time::Instant,
};

use tokio::task::coop::has_budget_remaining;

use crate::{
    close::CloseReason,
    driver::{
        engine::{Engine, TURN},
        phase::Phase,
        state::State,
        stats::ConnectionStats,
        transport::Transport,
        writer::Writer,
    },
    outbound::{Outlet, frame},
};

/// How far the end of a connection is.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    close_sent: bool,
    shut_down: bool,
    /// Bytes thrown away.
    lingered: usize,
}

impl Ending {
    /// Whether the close frame was made.
    pub(crate) fn has_begun(&self) -> bool {
        self.close_sent
    }

    /// Goes on with the end, once everything that could act for the peer is gone.
    pub(crate) fn poll<Io>(
        &mut self,
        engine: &mut Engine<Io>,
        writer: &mut Writer,
        state: &mut State,
        stats: &mut ConnectionStats,
        cx: &mut Context<'_>,
        now: Instant,
    ) where
        Io: Transport,
    {
        let connection = stats.connection().clone();
        let outlet = connection.outbound();
        if !std::mem::replace(&mut self.close_sent, true) {
            engine.stop_reading();
            writer.close(close_payload(state.reason()).as_deref());
        }
        if state.phase() == Phase::Closing {
            let before = engine.bytes_out();
            let flushed = writer.poll_last(engine.wire(), outlet, cx);
            if engine.bytes_out() > before {
                state.handle_close_progress(now);
            }
            match flushed {
                Poll::Ready(Ok(())) => {
                    stats.flushed = true;
                    state.handle_close_flushed();
                }
                Poll::Ready(Err(_)) => return state.handle_transport_end(now),
                Poll::Pending => {}
            }
        }
        if state.phase() == Phase::Lingering && !self.shut_down {
            match writer.poll_shutdown(engine.wire(), outlet, cx) {
                Poll::Ready(Ok(())) => self.shut_down = true,
                Poll::Ready(Err(_)) => return state.handle_transport_end(now),
                Poll::Pending => {}
            }
        }
        self.listen(engine, state, cx, now);
    }

    /// Tries to say `reason` when nobody will poll any more; says whether the socket has the close frame.
    ///
    /// It can only be what comes next: half a frame that is in the way stays half.
    pub(crate) fn say_at_once<Io: Transport>(
        engine: &mut Engine<Io>,
        writer: &Writer,
        outlet: &Outlet,
        reason: &CloseReason,
    ) -> bool {
        let mut close = Vec::new();
        let Some(payload) = close_payload(Some(reason)) else { return false };
        frame::put_control(&mut close, frame::CLOSE, &payload);
        writer.write_last(engine.wire(), outlet, &close)
    }

    /// Reads and throws away. Also before the close frame is out: a peer that is itself blocked on
    /// writing reads nothing.
    pub(crate) fn listen<Io: Transport>(
        &mut self,
        engine: &mut Engine<Io>,
        state: &mut State,
        cx: &mut Context<'_>,
        now: Instant,
    ) {
        let by_peer = matches!(state.reason(), Some(CloseReason::PeerClosed(_)));
        for _ in 0..TURN {
            match engine.poll_discard(cx) {
                Poll::Ready(Ok(0)) => {
                    // The peer is done. What is not flushed yet may still be: TCP half-closes.
                    if state.phase() == Phase::Lingering {
                        state.handle_transport_end(now);
                    }
                    return;
                }
                Poll::Ready(Ok(read)) => {
                    self.lingered += read;
                    if self.lingered > LINGER_BYTES {
                        return state.handle_transport_end(now);
                    }
                }
                Poll::Ready(Err(_)) => return state.handle_transport_end(now),
                Poll::Pending => {
                    // A peer that has closed sends nothing more: but for what has come already, there
                    // is nobody to hear out. Without budget left, tokio says nothing has come.
                    if by_peer && self.shut_down && has_budget_remaining() {
                        state.handle_transport_end(now);
                    }
                    return;
                }
            }
        }
        cx.waker().wake_by_ref();
    }
}

/// What a close frame says for `reason`, a code and words or nothing; none if there is nobody to tell.
fn close_payload(reason: Option<&CloseReason>) -> Option<Vec<u8>> {
    let reason = reason.filter(|it| **it != CloseReason::Lost)?;
    let said = |code| [&u16::from(code).to_be_bytes(), reason.text().as_bytes()].concat();
    Some(reason.code().map_or_else(Vec::new, said))
}

/// What is read and thrown away while lingering: as much as a kernel may hold for a fast peer.
const LINGER_BYTES: usize = 16 * 1024 * 1024;
