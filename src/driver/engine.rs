//! Read the protocol: tungstenite, and the socket beneath it.
//!
//! tungstenite keeps the two apart: its context holds a buffer and the state of the protocol, and is
//! lent a stream for each call. So a connection has a context only while it has begun a message, and
//! between messages the thread's ([`contexts`]). One whose buffer a large message made grow is kept for a
//! while, and then dropped, which is the only way to get the memory back from it.
//!
//! It only reads. What it would answer by itself is thrown away (`lent.rs`); frames are written by the
//! [`Writer`](crate::driver::writer::Writer).

use std::{
    io,
    task::{Context, Poll},
};

use tokio_tungstenite::tungstenite::{Error, Message};

use crate::driver::{
    contexts::{self, Context as Protocol},
    lent::{Lent, would_block},
    scanner::{Partial, Violation},
    transport::Transport,
    wire::{Filled, Wire},
};

/// The protocol engine on a socket.
#[derive(Debug)]
pub(crate) struct Engine<Io> {
    wire: Wire<Io>,
    /// None between messages.
    context: Option<Protocol>,
    /// The most payload of a message.
    max_message: usize,
    /// Reading ended, in whatever way.
    ended: bool,
    /// Messages and control frames the context has returned, as the scanner counts them.
    returned: u32,
    /// What a large frame made the context's buffer grow to, if more than [`KEPT`].
    grown: usize,
}

impl<Io: Transport> Engine<Io> {
    /// Reads messages of up to `max_message` bytes of payload from `wire`.
    pub(crate) fn new(wire: Wire<Io>, max_message: usize) -> Self {
        Self { wire, context: None, max_message, ended: false, returned: 0, grown: 0 }
    }

    /// Bytes read from the socket.
    pub(crate) fn bytes_in(&self) -> u64 {
        self.wire.bytes_in()
    }

    /// Bytes the socket has taken.
    pub(crate) fn bytes_out(&self) -> u64 {
        self.wire.bytes_out()
    }

    /// What the peer has begun and not finished.
    pub(crate) fn message_in_progress(&self) -> Option<Partial> {
        self.wire.scanner().partial()
    }

    /// Whether the peer sent a close frame, if only one that is refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.wire.scanner().closed()
    }

    /// The code of the peer's close frame.
    pub(crate) fn close_code(&self) -> Option<u16> {
        self.wire.scanner().close_code()
    }

    /// What the peer sent that it may not. It counts when the context gets there.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.wire.scanner().violation()
    }

    /// Whether the budget had no room for what was read.
    pub(crate) fn is_over_budget(&self) -> bool {
        self.wire.is_over_budget()
    }

    /// Whether the peer has spent anything of what it may send of control frames.
    pub(crate) fn control_spent(&self) -> bool {
        self.wire.scanner().control_spent()
    }

    /// The peer may send so many control frames more.
    pub(crate) fn refill_control(&mut self, frames: u32) {
        self.wire.scanner_mut().refill_control(frames);
    }

    /// A message of `payload` bytes is being handled; or none, with zero.
    pub(crate) fn set_in_call(&mut self, payload: usize) {
        self.wire.set_in_call(payload);
    }

    /// Keeps no more of what was read than is waiting: called when nothing more is read for a while.
    pub(crate) fn release_spare(&mut self) {
        self.wire.release_spare();
    }

    /// Reads a message or control frame; `None` is the end of the stream. Never again after an error:
    /// tungstenite would splice what came before it with what comes after.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            // The context is asked only if it can answer: it has a whole frame, or is given more.
            if self.is_dry() && !self.wire.has_verdict() {
                match self.wire.poll_fill(cx) {
                    Poll::Ready(Ok(Filled::Bytes)) => {}
                    Poll::Ready(Ok(Filled::End) | Err(_)) => {
                        self.ended = true;
                        return Poll::Ready(None);
                    }
                    Poll::Pending => {
                        self.rest();
                        return Poll::Pending;
                    }
                }
            }
            let context = self
                .context
                .get_or_insert_with(|| contexts::take(contexts::config(self.max_message)));
            match context.read(&mut Lent { wire: &mut self.wire, cx }) {
                Ok(message) => {
                    self.returned = self.returned.wrapping_add(1);
                    match &message {
                        Message::Text(text) => self.count_read(text.len()),
                        Message::Binary(bytes) => self.count_read(bytes.len()),
                        Message::Close(_) => self.ended = true,
                        _ => {}
                    }
                    return Poll::Ready(Some(Ok(message)));
                }
                // All that was read is part of a frame: there may be more of it.
                Err(error) if would_block(&error) => {}
                Err(error) => {
                    self.ended = true;
                    let closed = matches!(error, Error::AlreadyClosed | Error::ConnectionClosed);
                    return Poll::Ready((!closed).then_some(Err(error)));
                }
            }
        }
    }

    /// Whether the context holds no whole frame that nobody has seen, and the wire nothing for it.
    fn is_dry(&self) -> bool {
        !self.has_whole() && !self.wire.has_ahead()
    }

    /// Whether the context holds a whole message or control frame that nobody has seen.
    pub(crate) fn has_whole(&self) -> bool {
        self.returned != self.wire.scanner().surfaced()
    }

    /// The socket, to write to.
    pub(crate) fn wire(&mut self) -> &mut Wire<Io> {
        &mut self.wire
    }

    /// Whether the buffer is larger than what is kept.
    pub(crate) fn is_grown(&self) -> bool {
        self.grown > 0
    }

    /// Gives back what large messages made the buffer grow to, if nothing is in it.
    ///
    /// Only for a connection that is not closing, and while no message is handled or waits to be: that is
    /// a slice of the buffer, and would hold it without its being charged.
    pub(crate) fn give_back(&mut self) {
        if self.is_dry() && self.wire.scanner().at_boundary() && !self.ended {
            self.drop_context();
        }
    }

    /// Nothing is read any more but to be thrown away, so that what was read takes no memory.
    pub(crate) fn stop_reading(&mut self) {
        self.ended = true;
        self.drop_context();
    }

    /// Nothing that was read is handled any more, and no pong is waited for.
    pub(crate) fn abort(&mut self) {
        self.wire.abort();
        self.wire.forget_ping();
    }

    /// Reads and throws away. Ready with the number of bytes; zero is the end of the stream.
    pub(crate) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.wire.poll_discard(cx)
    }

    /// Nothing is there to be read: between messages somebody else may have the context.
    fn rest(&mut self) {
        if !self.is_grown()
            && self.wire.scanner().at_boundary()
            && let Some(context) = self.context.take()
        {
            contexts::give_back(context);
        }
    }

    /// Whether it has a context of its own at the moment.
    #[cfg(test)]
    pub(crate) fn has_context(&self) -> bool {
        self.context.is_some()
    }

    fn drop_context(&mut self) {
        self.context = None;
        if self.is_grown() {
            self.grown = 0;
            self.wire.set_grown(self.grown);
        }
    }

    /// A message of so many bytes was read.
    fn count_read(&mut self, bytes: usize) {
        if bytes > KEPT.max(self.grown) {
            self.grown = bytes;
            self.wire.set_grown(self.grown);
        }
    }
}

/// Frames read in one turn, or pieces thrown away. tokio's own budget for a task is 128 operations.
pub(super) const TURN: usize = 32;

/// A buffer up to this size is kept: most messages fit, and growing again costs more than it saves.
const KEPT: usize = 2 * 1024;
