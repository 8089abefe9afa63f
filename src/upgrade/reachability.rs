//! Notice an endpoint that cannot be reached.
//!
//! A layer is where its framework has put it. In axum, what `Router::layer` wraps is the routes of that
//! router and its fallback as they are at that moment: a `.fallback(..)` added later is not wrapped, and
//! `nest` and `merge` take over the routes, not the fallback. An endpoint that was to answer beside the
//! routes is then gone, and all that is seen of it is a 404 or a page where a 101 should be. The layer
//! cannot see what does not come to it; but that nothing comes, it can.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, task::AbortHandle, time::sleep};

/// Whether an endpoint was asked for anything.
#[derive(Debug, Default)]
pub(super) struct Reachability {
    /// When it was put around a service.
    applied: OnceLock<Instant>,
    /// There was a request, for whatever path.
    serves: AtomicBool,
    /// There was one for a path of the endpoint.
    asked: AtomicBool,
    warned: AtomicBool,
    /// The task that waits for a request.
    watcher: OnceLock<AbortHandle>,
}

impl Reachability {
    /// The endpoint was put around a service. From now on it should be asked.
    pub(super) fn applied(self: &Arc<Self>, paths: &[Box<str>]) {
        self.applied.get_or_init(Instant::now);
        // Frameworks apply a layer often: to each route, and again for each connection.
        if self.watcher.get().is_some() {
            return;
        }
        // Without a runtime it is a server that is being built, or none at all.
        let Ok(runtime) = Handle::try_current() else { return };
        let reachability = Arc::downgrade(self);
        let paths = paths.join(", ");
        // One task for each endpoint, until it is asked or the time is over.
        let watch = async move {
            sleep(ASKED_WITHIN).await;
            let Some(reachability) = reachability.upgrade() else { return };
            if !reachability.asked.load(Ordering::Relaxed) {
                reachability.warn(&paths);
            }
        };
        self.watcher.get_or_init(|| runtime.spawn(watch).abort_handle());
    }

    /// There is a request, for one of the endpoint's paths or another.
    pub(super) fn asked(&self, ours: bool) {
        // Looked at first: a store by each request would take the line from every other core.
        if !self.serves.load(Ordering::Relaxed) {
            self.serves.store(true, Ordering::Relaxed);
        }
        if ours && !self.asked.load(Ordering::Relaxed) {
            self.asked.store(true, Ordering::Relaxed);
            if let Some(watcher) = self.watcher.get() {
                watcher.abort();
            }
        }
    }

    fn warn(&self, paths: &str) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                paths,
                "no request has come to this WebSocket endpoint so far. If clients get 404 there: in \
                 axum, `fallback`, `nest` and `merge` after `.layer(endpoint)` take it away, and \
                 `.route_service(path, endpoint.into_service())` holds everywhere"
            );
        }
    }
}

impl Drop for Reachability {
    fn drop(&mut self) {
        // Gone as soon as it was there: what has served others, or waited for them, is a server that stops.
        let at_once = self.applied.get().is_some_and(|at| at.elapsed() < WHILE_IT_IS_BUILT);
        if at_once && !*self.serves.get_mut() && !*self.warned.get_mut() {
            tracing::warn!(
                "a WebSocket endpoint was dropped before anything was asked of it. In axum, \
                 `fallback`, `nest` and `merge` after `.layer(endpoint)` take it away, and \
                 `.route_service(path, endpoint.into_service())` holds everywhere"
            );
        }
    }
}

/// Long enough for an operator who has just started a server to look at its first page, and short enough
/// that the operator is still there.
const ASKED_WITHIN: Duration = Duration::from_secs(30);

/// More than it takes to put an application together.
const WHILE_IT_IS_BUILT: Duration = Duration::from_secs(2);
