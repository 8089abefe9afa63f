//! What a client does by itself, whether anybody waits for it or not.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{
    peer::MASK,
    wire::{masked, parse},
};

/// Answers pings and the server's close frame (RFC 6455 §5.5).
#[derive(Clone, Default)]
pub(super) struct AutoReplies(Arc<Flags>);

#[derive(Default)]
struct Flags {
    /// Pings are not answered.
    lazy: AtomicBool,
    /// A close frame was sent: the server's is the answer to it.
    close_sent: AtomicBool,
}

impl AutoReplies {
    pub(super) fn ignore_pings(&self) {
        self.0.lazy.store(true, Ordering::Relaxed);
    }

    pub(super) fn close_sent(&self) {
        self.0.close_sent.store(true, Ordering::Relaxed);
    }

    /// What to send for each of the frames that a server writes behind the first `seen` bytes.
    pub(super) fn of(&self, mut seen: usize) -> impl FnMut(&[u8]) -> Vec<u8> + Send + use<> {
        let flags = Arc::clone(&self.0);
        move |written| {
            let mut sent = Vec::new();
            while let Some((opcode, payload, rest)) = parse(&written[seen..]) {
                seen = written.len() - rest.len();
                let answer = match opcode {
                    0x8 if !flags.close_sent.swap(true, Ordering::Relaxed) => 0x88,
                    0x9 if !flags.lazy.load(Ordering::Relaxed) => 0x8a,
                    _ => continue,
                };
                sent.extend(masked(answer, MASK, payload));
            }
            sent
        }
    }
}
