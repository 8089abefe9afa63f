//! WebSockets for the users whom a plain hyper service knows by cookie already.
//!
//! Run with `cargo run --example hyper_session`: `POST /login` with a name as its body sets a cookie, `/ws` takes
//! handshakes that have it, `POST /logout` ends their sockets. There is no framework and no session crate; what
//! makes sockets of the service's logins stands between two marks.

use std::{
    collections::HashMap,
    convert::Infallible,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tower::{Layer as _, Service as _, service_fn};
use tower_websocket::{
    Authenticated, Connections, HandlerResult, HandshakeIdentity, Inbound, Message, PeerAddr,
    Reply, RequireAuthLayer, Session, WebSocketEndpoint, WebSocketLayer,
};

/// The service as it was: its users, by the cookie that each has.
#[derive(Clone, Default)]
struct Site {
    sessions: Arc<Mutex<HashMap<String, String>>>,
    connections: Connections,
}

impl Site {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<String>, Infallible> {
        let answer = match (request.method(), request.uri().path()) {
            (&Method::GET, "/") => Response::new("an ordinary page\n".to_owned()),
            (&Method::POST, "/login") => self.log_in(request).await,
            (&Method::POST, "/logout") => self.log_out(&request),
            _ => status(StatusCode::NOT_FOUND),
        };
        Ok(answer)
    }

    /// Whoever says a name has it. A real one asks for more.
    async fn log_in(&self, request: Request<Incoming>) -> Response<String> {
        let former = self.session(&request).map(|(id, _)| id);
        let Ok(name) = Limited::new(request.into_body(), 100).collect().await else {
            return status(StatusCode::PAYLOAD_TOO_LARGE);
        };
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= MAX_SESSIONS {
            return status(StatusCode::SERVICE_UNAVAILABLE);
        }
        let id = uuid::Uuid::new_v4().to_string();
        let mut answer = status(StatusCode::NO_CONTENT);
        let cookie = format!("session={id}; HttpOnly; SameSite=Lax; Path=/");
        if let Ok(cookie) = cookie.parse() {
            answer.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        sessions.insert(id, String::from_utf8_lossy(&name.to_bytes()).into_owned());
        // What was opened by the former one ends with it: no log-out would find it any more.
        if let Some(former) = former {
            sessions.remove(&former);
            drop(sessions);
            self.connections.session(former).revoke();
        }
        answer
    }

    /// Ends the session first, so that no socket can be opened by it any more. New is `revoke`.
    fn log_out<B>(&self, request: &Request<B>) -> Response<String> {
        if let Some((id, _)) = self.session(request) {
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            self.connections.session(id).revoke();
        }
        status(StatusCode::NO_CONTENT)
    }

    /// The session of a request, and its user.
    fn session<B>(&self, request: &Request<B>) -> Option<(String, String)> {
        let cookies = request.headers().get(header::COOKIE)?.to_str().ok()?;
        let id = cookies.split("; ").find_map(|it| it.strip_prefix("session="))?;
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        Some((id.to_owned(), sessions.get(id)?.clone()))
    }
}

fn status(status: StatusCode) -> Response<String> {
    let mut response = Response::new(String::new());
    *response.status_mut() = status;
    response
}

// --- From here ...

impl Site {
    /// Tells the endpoint whom the service knows, and until when.
    fn identify<B>(&self, request: &mut Request<B>) {
        if let Some((id, user)) = self.session(request) {
            let known = Session::new(user).expires_in(HOUR).session_id(id);
            request.extensions_mut().insert(HandshakeIdentity::new(known));
        }
    }

    fn endpoint(&self) -> Result<WebSocketLayer, Box<dyn Error>> {
        let door = RequireAuthLayer::handshake();
        let endpoint =
            WebSocketEndpoint::new(door, service_fn(echo)).handshake_identity::<String>()?;
        Ok(endpoint.connections(self.connections.clone()).layer("/ws")?)
    }
}

async fn echo(said: Inbound<Message, Authenticated<String>>) -> HandlerResult {
    let text = said.message.as_text().unwrap_or_default();
    Ok(Reply::one(Message::text(format!("{}: {text}", said.proof().user()))))
}

// --- ... to here.

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on {}", listener.local_addr()?);
    let site = Site::default();
    let endpoint = site.endpoint()?;
    loop {
        // `examples/hyper_service.rs` shows what a server that is open to others has to bound here.
        let Ok((socket, addr)) = listener.accept().await else {
            sleep(Duration::from_secs(1)).await;
            continue;
        };
        tokio::spawn(timeout(
            HTTP_TIMEOUT,
            serve(socket, PeerAddr(addr), site.clone(), endpoint.clone()),
        ));
    }
}

async fn serve(socket: TcpStream, peer: PeerAddr, site: Site, endpoint: WebSocketLayer) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        site.identify(&mut request);
        let site = site.clone();
        endpoint.layer(service_fn(move |request| site.clone().answer(request))).call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(5))
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(service))
        .with_upgrades();
    let _ = served.await;
}

/// A table that anybody can fill has an end.
const MAX_SESSIONS: usize = 10_000;

const HOUR: Duration = Duration::from_secs(3600);

/// For a socket that is still HTTP, all its requests and answers together.
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);
