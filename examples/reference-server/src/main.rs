//! A chat server: rooms, authentication, limits, an audit log, and a page to try it with.
//!
//! Run with `cargo run --release -p reference-server` and open <http://localhost:8080>.
//! `--help` lists the options; each can also be set in the environment.

use std::{
    io::{self, Write as _},
    pin::pin,
    process::ExitCode,
    time::Duration,
};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};
use tokio::{runtime::Builder, time::timeout};
use tower_websocket::{Close, TracingSink, upgrade::InvalidPath};

use crate::{accept::Door, desk::Desk, options::Options, sockets::Sockets, stop::Signals};

mod accept;
mod admin;
mod asked;
mod auth;
mod desk;
mod endpoint;
mod files;
mod invalid;
mod listen;
mod local;
mod logs;
mod log_queue;
mod memory;
mod options;
mod page;
mod proxy;
#[cfg(test)]
mod reconnect;
mod session;
mod settings;
mod sockets;
mod status;
mod stop;
mod tls;
mod validity;
mod values;

fn main() -> ExitCode {
    let served = match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let served = runtime.block_on(start());
            // Drops what is left behind, which tells its peers; and does not wait for a name server.
            runtime.shutdown_timeout(FAREWELL);
            served
        }
        Err(error) => Err(format!("there is no runtime: {error}")),
    };
    served.unwrap_or_else(|error| {
        // Not `eprintln`: it panics where stderr is closed.
        let _ = writeln!(io::stderr(), "error: {error}");
        ExitCode::FAILURE
    })
}

async fn start() -> Result<ExitCode, String> {
    // First of all: until then each of these signals ends the process by itself.
    let signals = Signals::listen()?;
    let options = Options::read();
    let log = logs::init()?;
    let served = run(&options, signals).await;
    TracingSink::shared().flush(FAREWELL);
    log.flush(FAREWELL);
    served
}

/// Serves until Ctrl-C or SIGTERM; then refuses what comes and closes every connection with 1001.
async fn run(options: &Options, mut signals: Signals) -> Result<ExitCode, String> {
    // Like the other signals, before anything that takes its time.
    let hangup = options.tls_cert.is_some().then(stop::hangup).transpose()?;
    let host = options.host();
    let mut address = tokio::select! {
        address = host.address() => address?,
        () = signals.stop.next() => return Ok(ExitCode::SUCCESS),
    };
    address.set_port(options.port);
    let proxies = options.proxies()?;
    let token = options.token(address.ip())?;
    let admin = options.admin()?;
    options.warn_of_defaults();
    let tls = options.tls()?.zip(hangup).map(|((tls, reload), hangup)| (tls, reload, hangup));
    options.warn_of_files(accept::max_sockets(proxies.as_ref()));
    let (stop, stopping) = stop::channel();

    let (connections, sockets) = (options.connections(), Sockets::new());
    let rooms = options.rooms();
    let budget = options.memory_budget();
    let tickets = auth::tickets();
    let by_name = options.lets_in_by_name(address.ip()).then(|| tickets.clone());
    let over_tls = tls.is_some() || options.require_tls;
    let desk = Desk::new(by_name, connections.clone(), over_tls);
    let endpoint = endpoint::endpoint(options, token, tickets, rooms.clone(), budget.clone())?
        .connections(connections.clone());
    // What the page's own requests are counted by is what the endpoint goes by.
    let clients = Options::clients(proxies.clone());
    let paths = |error: InvalidPath| error.to_string();
    let endpoint = endpoint.layer("/ws").and_then(|it| it.also("/")).map_err(paths)?;
    let app = Router::new()
        .route("/", get(page::index))
        .route("/{file}", get(page::file))
        .route("/ticket", post(desk::issue).with_state(desk.clone()))
        .route("/logout", post(desk::log_out).with_state(desk))
        .layer(DefaultBodyLimit::max(1024))
        // Who asks for it without an upgrade is told what it is.
        .route_service("/ws", endpoint.clone().into_service())
        // In front of the page, since both are at `/`. What is added below a layer is not behind it.
        .layer(endpoint)
        .layer(clients)
        .layer(middleware::from_fn_with_state(options.local(), local::refuse_others))
        .layer(middleware::from_fn_with_state(stopping.clone(), stop::refuse_when_stopping));

    let listener = listen::listen(address)?;
    let listening = listener.local_addr().map_err(|error| error.to_string())?;
    tracing::info!(addr = %listening, tls = tls.is_some(), "listening");
    let tls = tls.map(|(tls, reload, hangup)| {
        tokio::spawn(reload.forever(hangup));
        tls
    });
    let status =
        status::log_on_signal(signals.status, connections.clone(), rooms, budget, tls.clone());
    tokio::spawn(status);
    if let Some((addr, token)) = admin {
        let listener = listen::listen(addr).map_err(|error| format!("--admin-addr: {error}"))?;
        let listening = listener.local_addr().map_err(|error| error.to_string())?;
        tracing::info!(addr = %listening, token = token.is_some(), "listening for operators");
        let app = admin::router(connections.clone(), token);
        let door = Door::plain(options.header_timeout_ms, options.http_timeout_ms);
        tokio::spawn(accept::serve(listener, app, door, sockets.clone(), stopping.clone()));
    }
    let door = Door {
        header: options.header_timeout_ms,
        http: options.http_timeout_ms,
        proxies,
        proxy_protocol: options.proxy_protocol,
        tls,
    };
    let mut serving = pin!(accept::serve(listener, app, door, sockets.clone(), stopping));
    tokio::select! {
        () = serving.as_mut() => {}
        () = signals.stop.next() => {}
    }

    stop.begin();
    let closing = connections.shut_down(Close::GOING_AWAY);
    tracing::info!(connections = closing, "closing");
    let ended = async {
        // In this order: each of them is a connection before it is no socket any more.
        sockets.ended().await;
        connections.ended().await;
    };
    let code = tokio::select! {
        () = serving => ExitCode::FAILURE,
        ended = timeout(STOP_TIMEOUT, ended) => {
            if ended.is_err() {
                tracing::info!(connections = connections.len(), "left behind");
            }
            ExitCode::SUCCESS
        }
        () = signals.stop.next() => {
            tracing::info!(connections = connections.len(), "asked twice; left behind");
            ExitCode::FAILURE
        }
    };
    Ok(code)
}

/// Above the close timeout of a connection, so that it is a connection that gives up first.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// For the log, and then for connections that are left behind.
const FAREWELL: Duration = Duration::from_secs(1);
