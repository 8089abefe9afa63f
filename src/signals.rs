//! What layers and the application ask of a connection's driver.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::time::Instant;

use crate::close::{Close, Outgoing};

/// What was asked since the driver looked last. It looks after each turn.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// The first reason to close that was given.
    pub(crate) close: Option<Close>,
    /// A later reason leaves no time for the call in flight.
    pub(crate) cut_short: bool,
    /// The peer was authenticated; the inner value is when its session expires.
    pub(crate) authenticated: Option<Option<Instant>>,
}

/// Where signals wait for the driver.
#[derive(Debug, Default)]
pub(crate) struct SignalSlot {
    /// Whether there is anything in `waiting`: spares the driver the lock in nearly every turn.
    any: AtomicBool,
    waiting: Mutex<Signals>,
}

impl SignalSlot {
    /// The connection is to close. The first reason wins.
    pub(crate) fn close(&self, close: Close) {
        let mut waiting = self.waiting();
        waiting.cut_short |=
            waiting.close.is_some() && close.reason().outgoing() != Outgoing::Everything;
        waiting.close.get_or_insert(close);
        self.any.store(true, Ordering::Release);
    }

    /// The peer was authenticated, until its session expires.
    pub(crate) fn authenticated(&self, expires: Option<Instant>) {
        self.waiting().authenticated = Some(expires);
        self.any.store(true, Ordering::Release);
    }

    /// What was asked since the last call, if anything.
    pub(crate) fn take(&self) -> Option<Signals> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut waiting = self.waiting();
        // Before they are taken: a signal that comes after is found by the next look.
        self.any.store(false, Ordering::Release);
        Some(std::mem::take(&mut *waiting))
    }

    /// Held to read or write two small options, never across an await or another lock.
    fn waiting(&self) -> MutexGuard<'_, Signals> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
