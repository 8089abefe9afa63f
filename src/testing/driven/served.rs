//! A connection served in memory turn by turn, so that a test sees each.

use std::{
    future::Future,
    num::NonZeroUsize,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use crate::{
    audit::{Audit, Connected},
    connection::Connection,
    driver::{
        self, Authentication, ConnectionConfig, Permit, calls::Calls, stats::ConnectionStats,
    },
    layers::MessageStack,
    outbound::budget::MemoryBudget,
    testing::{records::Records, socket::Peer},
};

/// A connection that is served, as long as the test lets it.
pub struct Served {
    future: Pin<Box<dyn Future<Output = ()>>>,
    woken: Arc<Woken>,
    pub peer: Peer,
    pub connection: Connection,
    pub records: Records,
    pub config: Arc<ConnectionConfig>,
    /// The connection's own: what is charged to it is what the connection holds.
    pub budget: MemoryBudget,
    permit: Weak<()>,
    pub done: bool,
}

/// Gives back what the handle would keep, as the task of an upgraded connection does.
struct End(Connection);

impl Drop for End {
    fn drop(&mut self) {
        self.0.outbound().end();
    }
}

impl Permit for Arc<()> {
    fn verdict(&mut self) {}
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Served {
    /// Anonymous, so that nothing ends it by itself; the first ping comes within its interval.
    pub fn new<S>(config: ConnectionConfig, stack: S) -> Self
    where
        S: MessageStack + Send + 'static,
        S::Future: Send,
    {
        Self::with(config, Authentication::Optional, stack)
    }

    pub fn with<S>(config: ConnectionConfig, authentication: Authentication, stack: S) -> Self
    where
        S: MessageStack + Send + 'static,
        S::Future: Send,
    {
        let (peer, records) = (Peer::default(), Records::default());
        let (config, budget) = (Arc::new(config), MemoryBudget::new(NonZeroUsize::MAX));
        let audit = Audit::new(records.clone());
        let limits = config.outbound_limits();
        let connection = Connection::new(None, limits, Some(&budget), audit);
        let held = Arc::new(());
        let permit = Arc::downgrade(&held);
        let held = Box::new(held);
        let (io, handle, settings) = (peer.server(), connection.clone(), Arc::clone(&config));
        let end = End(connection.clone());
        let stack = Calls::new(stack);
        let future = Box::pin(async move {
            let _end = end;
            let stats = ConnectionStats::new(handle, Connected::default());
            driver::serve(io, Box::default(), stats, settings, authentication, stack, held).await;
        });
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        Self { future, woken, peer, connection, records, config, budget, permit, done: false }
    }

    /// Whether the place under the caps on connections is free again.
    pub fn permit_is_back(&self) -> bool {
        self.permit.strong_count() == 0
    }

    /// What is left of that place.
    #[cfg(test)]
    pub(crate) fn permit(&self) -> Weak<()> {
        Weak::clone(&self.permit)
    }

    /// One turn, whether something woke it or not.
    pub async fn turn(&mut self) {
        // Gives the timers of this test a budget of their own, and a look at the clock.
        tokio::task::yield_now().await;
        self.woken.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self.woken));
        if !self.done {
            self.done = self.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        }
    }

    /// Turns until nothing wakes it any more; says how many there were.
    pub async fn settle(&mut self) -> usize {
        for turns in 0..SETTLES {
            if self.done || !self.woken.0.load(Ordering::SeqCst) {
                return turns;
            }
            self.turn().await;
        }
        panic!("wakes itself for ever");
    }

    /// So many milliseconds pass, one by one where anything happens in them.
    pub async fn wait(&mut self, millis: u64) {
        for _ in 0..millis {
            self.settle().await;
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        self.settle().await;
    }

    /// So many milliseconds pass at once: for as long, the task was not run.
    pub async fn sleep(&mut self, millis: u64) {
        self.settle().await;
        tokio::time::advance(Duration::from_millis(millis)).await;
        self.settle().await;
    }

    pub async fn send(&mut self, bytes: impl Into<Vec<u8>>) {
        self.peer.send(bytes);
        self.settle().await;
    }

    /// The task is dropped, as at the end of a runtime.
    pub fn abort(self) -> (Peer, Records) {
        (self.peer, self.records)
    }
}

/// More turns than anything here can use, with everything ready.
const SETTLES: usize = 2000;
