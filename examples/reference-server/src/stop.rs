//! Know when the server is to stop, and refuse what begins after that.

use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

/// What the process is told from outside.
pub(crate) struct Signals {
    pub(crate) stop: StopSignals,
    /// SIGUSR1.
    pub(crate) status: Signal,
}

/// Ctrl-C and SIGTERM.
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

/// Says that the server is stopping.
pub(crate) struct Stop(watch::Sender<bool>);

/// Hears that the server is stopping.
#[derive(Clone)]
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Signals {
    /// From here on they do not end the process by themselves.
    ///
    /// # Errors
    ///
    /// That the system does not let us hear them.
    pub(crate) fn listen() -> Result<Self, String> {
        let listen = |kind| signal(kind).map_err(|error| format!("cannot hear signals: {error}"));
        Ok(Self {
            status: listen(SignalKind::user_defined1())?,
            stop: StopSignals {
                interrupt: listen(SignalKind::interrupt())?,
                terminate: listen(SignalKind::terminate())?,
            },
        })
    }
}

impl StopSignals {
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// SIGHUP. Only a server with something to read anew hears it: everywhere else it is the end of a terminal.
///
/// # Errors
///
/// That the system does not let us hear it.
pub(crate) fn hangup() -> Result<Signal, String> {
    signal(SignalKind::hangup()).map_err(|error| format!("cannot hear signals: {error}"))
}

pub(crate) fn channel() -> (Stop, Stopping) {
    let (stop, stopping) = watch::channel(false);
    (Stop(stop), Stopping(stopping))
}

impl Stop {
    pub(crate) fn begin(&self) {
        self.0.send_replace(true);
    }
}

impl Stopping {
    pub(crate) fn is_now(&self) -> bool {
        *self.0.borrow()
    }

    /// Ready once the server is stopping.
    pub(crate) async fn begun(&mut self) {
        // The sender lives as long as the server does.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}

/// Answers 503 once the server is stopping: a connection that began now would only be closed again.
pub(crate) async fn refuse_when_stopping(
    State(stopping): State<Stopping>,
    request: Request,
    next: Next,
) -> Response {
    if !stopping.is_now() {
        return next.run(request).await;
    }
    let mut response =
        (StatusCode::SERVICE_UNAVAILABLE, "the server is stopping\n").into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}

/// Seconds. What it takes to close all connections, and then to start again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("10");
