//! Accept sockets, and give each a limited time to become something.

use std::{
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    pin::pin,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{Request, body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tower::ServiceExt as _;
use tower_websocket::{
    TrustedProxies,
    upgrade::{PeerSlot, PeerSlots, PeerTls},
};

use crate::{proxy, sockets::Sockets, stop::Stopping, tls::Tls};

/// What a socket passes before it is a connection, with the limits of its own.
#[derive(Clone)]
pub(crate) struct Door {
    /// To begin a request, and again to send its head; to begin with, for all that comes before.
    pub(crate) header: Duration,
    /// For everything: requests, answers, and what lies between.
    pub(crate) http: Duration,
    pub(crate) proxies: Option<TrustedProxies>,
    /// Each socket is a proxy's, and begins with whom it is for.
    pub(crate) proxy_protocol: bool,
    pub(crate) tls: Option<Tls>,
}

/// Places for sockets that are still HTTP.
#[derive(Clone)]
struct Places {
    of_clients: PeerSlots,
    /// A proxy's sockets are everybody's.
    of_proxies: PeerSlots,
}

/// Serves `app` on every socket that comes. It goes on while the server stops, so that who comes then
/// gets an answer.
pub(crate) async fn serve(
    listener: TcpListener,
    app: Router,
    door: Door,
    sockets: Sockets,
    stopping: Stopping,
) {
    let places = Places {
        of_clients: PeerSlots::new(MAX_SOCKETS, MAX_SOCKETS_PER_PEER),
        of_proxies: PeerSlots::new(MAX_SOCKETS, MAX_SOCKETS),
    };
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
        let Some(slot) = door.place(&places, addr) else {
            tracing::debug!(%addr, "no place for a socket");
            continue;
        };
        let counted = sockets.socket();
        let (app, door, stopping) = (app.clone(), door.clone(), stopping.clone());
        let places = places.clone();
        tokio::spawn(async move {
            door.answer(socket, addr, &places, app, stopping).await;
            drop((slot, counted));
        });
    }
}

impl Door {
    /// One that nothing stands in front of.
    pub(crate) fn plain(header: Duration, http: Duration) -> Self {
        Self { header, http, proxies: None, proxy_protocol: false, tls: None }
    }

    fn place(&self, places: &Places, addr: SocketAddr) -> Option<PeerSlot> {
        if self.proxies.as_ref().is_some_and(|it| it.includes(addr.ip())) {
            return places.of_proxies.acquire(addr);
        }
        // Who is no proxy could claim to be anybody.
        if self.proxy_protocol { None } else { places.of_clients.acquire(addr) }
    }

    /// Answers the requests on one socket, until it is upgraded or closed.
    async fn answer(
        &self,
        mut socket: TcpStream,
        mut addr: SocketAddr,
        places: &Places,
        app: Router,
        mut stopping: Stopping,
    ) {
        // A chat message is small and must not wait for the next one to fill a packet.
        let _ = socket.set_nodelay(true);
        // Who says nothing gets no buffers, and is not waited for when the server stops.
        let begun = async {
            socket.readable().await?;
            let of_client = if self.proxy_protocol {
                addr = proxy::client(&mut socket, addr).await?;
                let no_place = || io::Error::other("no place for a socket of this client");
                // A balancer that looks whether we are there is none.
                let is_proxy = self.proxies.as_ref().is_some_and(|it| it.includes(addr.ip()));
                match is_proxy {
                    true => None,
                    false => Some(places.of_clients.acquire(addr).ok_or_else(no_place)?),
                }
            } else {
                None
            };
            let io = match &self.tls {
                None => Io::Plain(socket),
                // Boxed, and served as it is: in the task it would be a place that each socket in the clear has, too.
                Some(tls) => Io::Tls(Box::new(Box::pin(tls.accept(bounded(socket))).await?)),
            };
            io::Result::Ok((io, of_client))
        };
        // In one time: nobody gets it twice for coming in two steps.
        let begun = tokio::select! {
            begun = timeout(self.header, begun) => begun.unwrap_or_else(|late| Err(late.into())),
            () = last_words(&mut stopping) => return,
        };
        let (io, of_client) = match begun {
            Ok(begun) => begun,
            Err(error) => return tracing::debug!(%error, "no request came"),
        };
        match io {
            Io::Plain(socket) => self.serve(socket, app, addr, None, stopping).await,
            Io::Tls(socket) => self.serve(socket, app, addr, Some(PeerTls), stopping).await,
        }
        drop(of_client);
    }

    async fn serve(
        &self,
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        app: Router,
        addr: SocketAddr,
        tls: Option<PeerTls>,
        mut stopping: Stopping,
    ) {
        let app = app.map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(addr));
            if let Some(tls) = tls {
                request.extensions_mut().insert(tls);
            }
            request.map(Body::new)
        });
        let serving = http1::Builder::new()
            // Without a timer the timeout below does nothing.
            .timer(TokioTimer::new())
            .header_read_timeout(self.header)
            // By default it keeps 400 KB for each of them, also of what is sent behind a handshake.
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(io), TowerToHyperService::new(app))
            .with_upgrades();
        let mut serving = pin!(serving);
        // hyper has no deadline for an answer that nobody reads. After this one the answer under way is
        // the last, and who does not take that in time is hung up on.
        let served = tokio::select! {
            served = serving.as_mut() => Some(served),
            () = sleep(self.http) => None,
            () = last_words(&mut stopping) => None,
        };
        let served = match served {
            Some(served) => Ok(served),
            None => {
                serving.as_mut().graceful_shutdown();
                timeout(self.header, serving).await
            }
        };
        match served {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "request not served"),
            Err(_) => tracing::debug!("answer not taken in time"),
        }
    }
}

enum Io {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

/// Bounds what the kernel holds for the peer, which the endpoint does itself where it can see the socket.
fn bounded(socket: TcpStream) -> TcpStream {
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_BYTES);
    socket
}

/// Ready when the server stops, and what was on its way by then has had time to come.
async fn last_words(stopping: &mut Stopping) {
    stopping.begun().await;
    sleep(LAST_WORDS).await;
}

/// How many sockets there may be that are no connection yet.
pub(crate) fn max_sockets(proxies: Option<&TrustedProxies>) -> usize {
    let pools = if proxies.is_some() { 2 } else { 1 };
    MAX_SOCKETS.get() * pools
}

/// Sockets that are still HTTP. An upgraded one no longer counts: the endpoint's own limits do.
const MAX_SOCKETS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// Of one address: an eighth. Eighty browsers behind it may load the page at once, each with the six
/// sockets that a browser opens; and a process with the usual 1,024 files has some left for others.
const MAX_SOCKETS_PER_PEER: NonZeroUsize = NonZeroUsize::MIN.saturating_add(511);

/// Bytes of a request's head; more is answered with 431. What browsers send with all of a site's
/// cookies fits twice.
const MAX_HEAD: usize = 16 * 1024;

/// Bytes behind what is under way to the peer: as `ConnectionConfig::unsent_bytes` unless set.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 64 * 1024;

/// A round trip, for a request that was sent before its sender could know.
const LAST_WORDS: Duration = Duration::from_millis(250);

const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
