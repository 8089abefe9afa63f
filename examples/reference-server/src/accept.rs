//! Accept sockets, and give each a limited time to become something.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    pin::pin,
    time::{Duration, Instant},
};

use axum::{Router, extract::ConnectInfo};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tower::ServiceExt as _;
use tower_websocket::upgrade::PeerSlots;

use crate::{sockets::Sockets, stop::Stopping};

/// What a socket may take before it is a connection, with the limits of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// To begin a request, and again to send its head.
    pub(crate) header: Duration,
    /// For everything: requests, answers, and what lies between.
    pub(crate) http: Duration,
}

/// Serves `app` on every socket that comes. It goes on while the server stops, so that who comes then
/// gets an answer.
pub(crate) async fn serve(
    listener: TcpListener,
    app: Router,
    times: Times,
    sockets: Sockets,
    stopping: Stopping,
) {
    let slots = PeerSlots::new(MAX_SOCKETS, MAX_SOCKETS_PER_PEER);
    let mut complained: Option<Instant> = None;
    loop {
        let (socket, addr) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // The peer is gone again, or the process has no file descriptor left: time gives
                // some back. It is no reason to end, nor for a line each time.
                if complained.is_none_or(|at| at.elapsed() > COMPLAIN_EVERY) {
                    complained = Some(Instant::now());
                    tracing::warn!(%error, "cannot accept");
                }
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Who has its share is hung up on, and everybody else goes on being accepted: waiting for a
        // place here would be waiting for those who have taken them.
        let Some(slot) = slots.acquire(addr) else {
            tracing::debug!(%addr, "no place for a socket");
            continue;
        };
        let counted = sockets.socket();
        let (app, stopping) = (app.clone(), stopping.clone());
        tokio::spawn(async move {
            answer(socket, addr, app, times, stopping).await;
            drop((slot, counted));
        });
    }
}

/// Answers the requests on one socket, until it is upgraded or closed.
async fn answer(
    socket: TcpStream,
    addr: SocketAddr,
    app: Router,
    times: Times,
    mut stopping: Stopping,
) {
    // A chat message is small and must not wait for the next one to fill a packet.
    let _ = socket.set_nodelay(true);
    // Who says nothing gets no buffers, and is not waited for when the server stops.
    tokio::select! {
        begun = timeout(times.header, socket.readable()) => {
            let Ok(Ok(())) = begun else { return };
        }
        () = last_words(&mut stopping) => return,
    }
    let app = app.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(addr));
        request.map(axum::body::Body::new)
    });
    let serving = http1::Builder::new()
        // Without a timer the timeout below does nothing.
        .timer(TokioTimer::new())
        .header_read_timeout(times.header)
        // By default it keeps 400 KB for each of them, also of what is sent behind a handshake.
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(app))
        .with_upgrades();
    let mut serving = pin!(serving);
    // hyper has no deadline for an answer that is not read. After this one the answer under way is
    // the last, and who does not take that in time is hung up on.
    let served = tokio::select! {
        served = serving.as_mut() => Some(served),
        () = sleep(times.http) => None,
        () = last_words(&mut stopping) => None,
    };
    let served = match served {
        Some(served) => Ok(served),
        None => {
            serving.as_mut().graceful_shutdown();
            timeout(times.header, serving).await
        }
    };
    match served {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "request not served"),
        Err(_) => tracing::debug!("answer not taken in time"),
    }
}

/// Ready when the server stops, and what was on its way by then has had time to come.
async fn last_words(stopping: &mut Stopping) {
    stopping.begun().await;
    sleep(LAST_WORDS).await;
}

/// Sockets that are still HTTP. An upgraded one no longer counts: the endpoint's own limits do.
pub(crate) const MAX_SOCKETS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// Of one address: an eighth. Eighty browsers behind it may load the page at once, each with the six
/// sockets that a browser opens; and a process with the usual 1,024 files has some left for others.
const MAX_SOCKETS_PER_PEER: NonZeroUsize = NonZeroUsize::MIN.saturating_add(511);

/// Bytes of a request's head; more is answered with 431. What browsers send with all of a site's
/// cookies fits twice.
const MAX_HEAD: usize = 16 * 1024;

/// A round trip, for a request that was sent before its sender could know.
const LAST_WORDS: Duration = Duration::from_millis(250);

const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
