//! Accept sockets, and give each a limited time to become something.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tower::ServiceExt as _;

use crate::connections::Connections;

/// Listens on `addr`, also right after a server there has ended.
pub(crate) fn listen(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // For sockets that are not upgraded; a connection has its own heartbeat, which is faster.
    socket.set_keepalive(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Serves `app` until Ctrl-C or SIGTERM; then closes every connection with 1001.
pub(crate) async fn serve(
    listener: TcpListener,
    app: Router,
    header_timeout: Duration,
    connections: Connections,
) {
    let requests = Arc::new(Semaphore::new(MAX_REQUESTS));
    let accept = async {
        loop {
            // Past the cap, new sockets wait in the kernel's backlog.
            let Ok(permit) = Arc::clone(&requests).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((socket, addr)) => {
                    tokio::spawn(answer(socket, addr, app.clone(), header_timeout, permit));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: time gives some back.
                    tracing::warn!(%error, "cannot accept");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = stopped() => {}
    }
    drop(listener);
    connections.close_all(STOP_TIMEOUT).await;
}

/// Answers the requests on one socket, until it is upgraded or closed.
async fn answer(
    socket: TcpStream,
    addr: SocketAddr,
    app: Router,
    header_timeout: Duration,
    _permit: OwnedSemaphorePermit,
) {
    // A chat message is small and must not wait for the next one to fill a packet.
    let _ = socket.set_nodelay(true);
    let app = app.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(addr));
        request.map(axum::body::Body::new)
    });
    let served = http1::Builder::new()
        // Without a timer the timeout below does nothing; with it, it also ends a client that
        // connects and says nothing.
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        // By default it keeps 400 KB for each of them, also of what is sent behind a handshake.
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(app))
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "request not served");
    }
}

/// Ready at Ctrl-C or SIGTERM.
async fn stopped() {
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(error) => {
            tracing::warn!(%error, "cannot listen for SIGTERM");
            let _ = tokio::signal::ctrl_c().await;
            return;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// What the kernel queues for us; it caps this itself.
const BACKLOG: u32 = 4096;

/// Sockets that are still HTTP. An upgraded one no longer counts: the endpoint's own limits do.
const MAX_REQUESTS: usize = 4096;

/// Bytes of a request's head; more is answered with 431. What browsers send with all of a site's
/// cookies fits twice.
const MAX_HEAD: usize = 16 * 1024;

/// Above the close timeout of a connection, so that it is a connection that gives up first.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);
