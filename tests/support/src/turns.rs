//! Tests that measure their process take turns in it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::runtime::Builder;

static TURN: Mutex<()> = Mutex::new(());

/// The turn of one test, until this is dropped.
pub fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a test in its turn, on a runtime of its own, which is freed before it is another's.
///
/// # Panics
///
/// If there is no runtime to be had.
pub fn alone(test: impl Future<Output = ()>) {
    let _turn = turn();
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(test);
}
