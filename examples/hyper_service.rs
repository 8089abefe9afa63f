//! Add a WebSocket endpoint to a plain hyper service, with state of each connection's own.
//!
//! Run with `cargo run --example hyper_service`. `/` answers as before; `/ws` is open to the public
//! and adds up the numbers it is sent: `{"add":2}` is answered with `{"total":2}`.

use std::{convert::Infallible, error::Error, net::SocketAddr, num::NonZeroUsize, time::Duration};

use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tower::{Layer as _, Service as _, ServiceBuilder, service_fn};
use tower_websocket::{
    Anonymous, DecodeLayer, Handler, HandlerResult, Inbound, PeerAddr, Quota, RateLimitLayer,
    Reply, WebSocketEndpoint, WebSocketLayer,
    upgrade::{InvalidPath, PeerSlots},
};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    add: u32,
}

#[derive(serde::Serialize)]
struct Total {
    total: u64,
}

/// One for each connection, so it needs no lock: messages come one at a time.
#[derive(Default)]
struct Sum {
    total: u64,
}

impl Handler<Add, Anonymous> for Sum {
    type Reply = Total;

    async fn handle(&mut self, inbound: Inbound<Add, Anonymous>) -> HandlerResult<Total> {
        self.total += u64::from(inbound.message.add);
        Ok(Reply::one(Total { total: self.total }))
    }
}

/// The service as it was before.
async fn existing_service(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let mut response = Response::new("an ordinary page\n".to_owned());
    if request.uri().path() != "/" {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    Ok(response)
}

/// The endpoint. That it is open to everybody is said twice: to the decoder, which otherwise takes
/// only authenticated messages, and to the endpoint, which otherwise ends what does not log in.
fn endpoint() -> Result<WebSocketLayer, InvalidPath> {
    let messages = ServiceBuilder::new()
        .layer(RateLimitLayer::per_connection(Quota::per_second(20).burst(40)))
        .layer(DecodeLayer::<Add>::json().anonymous());
    WebSocketEndpoint::with_handler(messages, |_, _| Sum::default()).allow_anonymous().layer("/ws")
}

async fn serve(socket: TcpStream, addr: SocketAddr, endpoint: WebSocketLayer) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        // Without the peer's address, the limits that go by it do not apply.
        request.extensions_mut().insert(PeerAddr(addr));
        endpoint.layer(service_fn(existing_service)).call(request)
    });
    let served = http1::Builder::new()
        // Without a timer the timeout does nothing, and a silent socket stays for ever.
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(5))
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(service))
        // Without this, hyper closes the socket after the 101.
        .with_upgrades();
    // That timeout is for heads only. A socket that asks and never reads the answers would stay for
    // ever; one that is upgraded has left by then, and has the limits of a connection.
    // How it ended is not printed: a peer that can cause a line can fill a disk.
    let _ = timeout(HTTP_TIMEOUT, served).await;
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on {}", listener.local_addr()?);
    // Clones are the same endpoint: its limits hold for all sockets together.
    let endpoint = endpoint()?;
    // The endpoint's limits begin with a handshake. These are for sockets that are still HTTP.
    let slots = PeerSlots::new(MAX_SOCKETS, MAX_SOCKETS_PER_PEER);
    loop {
        let (socket, addr) = match listener.accept().await {
            Ok(accepted) => accepted,
            // A peer that is gone again, or as many files as the process may have. With a `?` here,
            // anybody could end the process.
            Err(error) => {
                eprintln!("cannot accept: {error}");
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        // A peer that has its share is hung up on; to wait for it here would make all others wait.
        let Some(slot) = slots.acquire(addr) else { continue };
        let endpoint = endpoint.clone();
        tokio::spawn(async move {
            serve(socket, addr, endpoint).await;
            drop(slot);
        });
    }
}

/// For a socket that is still HTTP, all its requests and answers together.
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_SOCKETS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
const MAX_SOCKETS_PER_PEER: NonZeroUsize = NonZeroUsize::new(512).unwrap();
