//! Keep a few read buffers for the connections of a thread.

use std::cell::RefCell;

/// The thread's spare read buffers.
///
/// A buffer keeps the bytes of the connection that had it last. Nobody sees them: only what a read
/// has just filled is ever looked at.
pub(super) struct Pool;

impl Pool {
    pub(super) fn take() -> Box<[u8]> {
        SPARE
            .with(|spare| spare.try_borrow_mut().ok()?.pop())
            .unwrap_or_else(|| vec![0; READ_SIZE].into())
    }

    pub(super) fn give_back(buffer: Box<[u8]>) {
        SPARE.with(|spare| {
            if let Ok(mut spare) = spare.try_borrow_mut()
                && spare.len() < SPARE_BUFFERS
                && buffer.len() == READ_SIZE
            {
                spare.push(buffer);
            }
        });
    }
}

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// One connection of a thread reads at a time; a few more have been read and wait for their handler.
const SPARE_BUFFERS: usize = 4;

/// The most that is read at once. A larger piece would let one connection hold its thread for longer.
pub(super) const READ_SIZE: usize = 16 * 1024;
