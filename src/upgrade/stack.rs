//! Join the two halves: an accepted upgrade and the stack that its messages go through.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::request::Parts;
use hyper::upgrade::Upgraded;
use tokio::time::{error::Elapsed, timeout};
use tower_layer::Layer;

use super::{
    gate::ConnectionPermit,
    rejection::UpgradeRejectionKind,
    socket::Socket,
    switch::{Accepted, OnClose, Settings, SpawnConnection},
};
use crate::{
    close::Close,
    connection::Connection,
    driver::{
        self, Authentication, ConnectionConfig, Permit, calls::Calls, stats::ConnectionStats,
    },
    foreign,
    hooks::Hooks,
    layers::{MessageStack, opening},
    opaque::opaque_debug,
};

/// Makes a stack for each connection: `F` is given the connection and its handshake, the layers `L` go around what it
/// returns.
pub(super) struct StackEndpoint<L, F> {
    pub(super) layers: L,
    pub(super) make: F,
}

impl<L, F, H, S> SpawnConnection for StackEndpoint<L, F>
where
    L: Layer<H, Service = S> + Send + Sync + 'static,
    F: Fn(&Connection, &mut Parts) -> H + Send + Sync + 'static,
    S: MessageStack + Send + 'static,
    S::Future: Send,
{
    fn spawn(
        &self,
        accepted: Accepted,
        request: &mut Parts,
        settings: &Settings,
    ) -> Result<(), UpgradeRejectionKind> {
        spawn(accepted, settings, &mut |connection| {
            Calls::new(self.layers.layer((self.make)(connection, request)))
        })
    }
}

/// Spawns the connection's task, with what `make` makes for it.
fn spawn(
    accepted: Accepted,
    settings: &Settings,
    make: &mut dyn FnMut(&Connection) -> Calls,
) -> Result<(), UpgradeRejectionKind> {
    let Accepted { upgrade, client, identity, protocol, token, offers, mut permit } = accepted;
    settings.identity.expect(identity.is_some())?;
    let config = Arc::clone(&settings.connection);
    let limits = config.outbound_limits();
    let connection =
        Connection::new(client, limits, settings.budget.as_ref(), settings.audit.clone())
            .with_failed_logins(permit.failed_logins());
    if let Some(protocol) = protocol {
        connection.set_protocol(protocol);
    }
    // Code of the application, on the server's task: if it panics, there is no answer and no
    // connection, but a record of one.
    let made =
        catch_unwind(AssertUnwindSafe(|| opening::during(identity.clone(), || make(&connection))));
    if let Ok((_, opening)) = &made {
        let judged = settings.identity.judge(identity.as_ref(), token.as_ref(), opening);
        // The code that made the handler may have kept a handle on what never comes to be.
        judged.inspect_err(|_| {
            connection.outbound().end();
            connection.attached().drop_all();
        })?;
    }
    let authentication = settings.authentication;
    if authentication == Authentication::Optional {
        // There is no verdict to wait for: all that counts is the cap on connections.
        permit.verdict();
    }
    // The end comes first: a hook that heard of the beginning hears of it, too. Before the record, so
    // that it is dropped after it.
    let end = End { hooks: settings.on_close.clone(), connection: connection.clone() };
    if let Some(connections) = &settings.connections {
        connections.register(&connection);
    }
    // From here on it has a record of its end, however it ends.
    let stats = ConnectionStats::new(connection.clone(), offers);
    let warned = Arc::clone(&settings.warned);
    if let Err(panic) = settings.on_connect.call(|hook| hook(&connection)) {
        resume_unwind(panic);
    }
    let (mut calls, opening) = match made {
        Ok(made) => made,
        Err(panic) => resume_unwind(panic),
    };
    // Its hooks are the application's, too; by then there is a connection to tell.
    if let Some(enter) = opening.enter
        && foreign::run(|| enter(&connection)).is_none()
    {
        connection.close(Close::HANDLER_FAILED);
    }
    // Whom the handshake has told of needs no other login.
    if let Some(token) = token.filter(|_| identity.is_none()) {
        calls.put(token);
    }
    let waiting =
        Box::new(Waiting { stats, config, authentication, calls, permit: Box::new(permit) });
    let parts = (waiting, end);
    tokio::spawn(async move {
        // In one piece until it runs: a task that never does drops them in this order.
        let (waiting, end) = { parts };
        let _end = end;
        let mut waiting = waiting;
        // The answer is in hyper's hands; a peer that does not take it is not waited for longer
        // than it would have had to authenticate.
        let io = match timeout(waiting.config.auth_timeout, upgrade).await {
            Ok(Ok(io)) => io,
            failed => {
                waiting.stats.never_opened = Some(why_not_opened(failed, &warned));
                // Its record comes before the hook is called.
                drop(waiting);
                return;
            }
        };
        waiting.open(io).await;
    });
    Ok(())
}

/// A connection that has no socket yet. Boxed, and opened by a function: a task keeps the place of whatever
/// was moved within it for as long as it lives.
struct Waiting {
    stats: ConnectionStats,
    config: Arc<ConnectionConfig>,
    authentication: Authentication,
    calls: Calls,
    permit: Box<dyn Permit>,
}

impl Waiting {
    fn open(self: Box<Self>, io: Upgraded) -> impl Future<Output = ()> {
        let Self { stats, config, authentication, calls, permit } = *self;
        let (socket, ahead, writer) = Socket::open(io);
        if let Some(writer) = writer {
            stats.connection().outbound().attach(writer);
        }
        driver::serve(socket, ahead, stats, config, authentication, calls, permit)
    }
}

/// The rule by which a connection that was accepted never opened.
fn why_not_opened<T>(
    failed: Result<hyper::Result<T>, Elapsed>,
    warned: &AtomicBool,
) -> &'static str {
    match failed {
        // Of all its errors, this one does not come from the wire: the server has the socket, and
        // does not give it away.
        Ok(Err(error)) if error.is_user() => {
            if !warned.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    %error,
                    "no WebSocket can open here: the HTTP server hands out no sockets. With hyper, it \
                     has to be served by `serve_connection(..).with_upgrades()`"
                );
            }
            "upgrade.unsupported"
        }
        Ok(_) => "upgrade.lost",
        Err(_) => "upgrade.timeout",
    }
}

/// Gives back what handles would keep, and calls the hooks, when the connection's task ends: also if
/// it panics or the runtime stops. It is dropped after what records the end, on every path: the hooks
/// are told what the record says.
struct End {
    hooks: Hooks<OnClose>,
    connection: Connection,
}

impl Drop for End {
    fn drop(&mut self) {
        self.connection.outbound().end();
        // From here on nothing can be attached that stays: who does looks whether it is open.
        self.connection.attached().drop_all();
        if let Some(closed) = self.connection.closed() {
            // A panic here, while the task unwinds from another, would end the process.
            let told = || self.hooks.call(|hook| hook(&self.connection, closed));
            let _ = foreign::run(|| drop(told()));
        }
        // Last: a server that waits for the end of all waits for the hooks, too.
        self.connection.leave_registry();
    }
}

impl Permit for ConnectionPermit {
    fn verdict(&mut self) {
        Self::verdict(self);
    }
}

opaque_debug! { [L, F] StackEndpoint<L, F>; }
