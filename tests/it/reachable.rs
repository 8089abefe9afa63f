//! An endpoint that is not where its author thinks, and a server that cannot upgrade.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{Router, body::Body, http::StatusCode, routing::get};
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::sleep,
};
use tower::ServiceExt;
use tower_layer::Layer;
use tower_websocket::{AuditEvent, PeerAddr, WebSocketEndpoint, WebSocketLayer};

use test_support::{
    echo::endpoint,
    http::{HttpServer, handshake},
    recorder::Recorder,
};

use super::log::Log;

fn layer() -> WebSocketLayer {
    endpoint(Arc::new(Recorder::default())).layer("/ws").unwrap()
}

fn application() -> Router {
    Router::new().route("/", get(async || "page"))
}

async fn status(app: &Router, path: &str) -> StatusCode {
    let request = Request::get(path).body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap().status()
}

fn module() -> Router {
    Router::new().route("/history", get(async || "")).layer(layer())
}

// covers: HS-35
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_nobody_asks_says_so_once() {
    // Each takes away what `.layer(endpoint)` has put around the fallback.
    type Build = fn() -> Router;
    let builds: [(&str, Build, &str); 3] = [
        ("fallback", || application().layer(layer()).fallback(async || "index.html"), "/ws"),
        ("nest", || application().nest("/chat", module()), "/chat/ws"),
        ("merge", || module().merge(application()), "/ws"),
    ];
    for (name, build, path) in builds {
        let (log, _guard) = Log::keep();
        let app = build();
        for _ in 0..3 {
            assert_eq!(status(&app, "/").await, StatusCode::OK, "{name}");
            status(&app, path).await;
            sleep(Duration::from_secs(29)).await;
        }
        assert_eq!(log.lines("no request has come to this WebSocket endpoint"), 1, "{name}");
        drop(app);
        assert_eq!(log.lines("WebSocket endpoint"), 1, "{name}");
    }
}

// covers: HS-35
#[test]
fn an_endpoint_that_was_put_together_before_there_was_a_runtime_says_so_too() {
    let (log, _guard) = Log::keep();
    let (layer, inner) = (layer(), application());
    // For a look at it; it is served within the runtime.
    drop(layer.layer(inner.clone()));
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(async {
        let app = layer.layer(inner);
        sleep(Duration::from_secs(100)).await;
        drop(app);
    });
    assert_eq!(log.lines("no request has come to this WebSocket endpoint"), 1);
}

// covers: HS-35
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_asked_says_nothing() {
    let (log, _guard) = Log::keep();
    let app = application().layer(layer());
    assert_eq!(status(&app, "/ws").await, StatusCode::NOT_FOUND);
    sleep(Duration::from_secs(100)).await;
    // Nor does one that is where it was put.
    let leaf = application().route_service("/ws", layer().into_service());
    sleep(Duration::from_secs(100)).await;
    drop((app, leaf));
    assert_eq!(log.lines("WebSocket endpoint"), 0);
}

// covers: HS-35
#[tokio::test]
async fn an_endpoint_that_is_dropped_before_anything_was_asked_of_it_says_so() {
    let (log, _guard) = Log::keep();
    let app = Router::new().layer(layer()).fallback(async || "index.html");
    assert_eq!(status(&app, "/ws").await, StatusCode::OK);
    drop(app);
    assert_eq!(log.lines("dropped before anything was asked of it"), 1);
}

// covers: HS-35
#[tokio::test]
async fn an_endpoint_at_a_route_of_its_own_is_there_whatever_comes_after() {
    let route =
        |endpoint: WebSocketEndpoint| Router::new().route_service("/ws", endpoint.into_service());
    type Build = fn(Router) -> Router;
    let builds: [(&str, Build, &str); 5] = [
        ("alone", |it| it, "/ws"),
        ("with a fallback", |it| it.fallback(async || "index.html"), "/ws"),
        ("nested", |it| application().nest("/chat", it), "/chat/ws"),
        ("merged", |it| application().merge(it), "/ws"),
        ("merged into", |it| it.merge(application()).fallback(async || ""), "/ws"),
    ];
    for (name, build, path) in builds {
        let server = HttpServer::start_axum(|endpoint| build(route(endpoint))).await;
        let (head, mut client) = server.send(handshake().replace("/ws", path)).await;
        assert_eq!(head.status, 101, "{name}");
        client.assert_echo().await;
    }
}

/// A server around the endpoint on a line in memory, by hyper's plain `serve_connection`.
async fn served_without_upgrades(audit: Arc<Recorder>) -> Vec<u8> {
    let service = endpoint(audit).into_service();
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(PeerAddr(([192, 0, 2, 1], 1).into()));
        service.clone().oneshot(request)
    });
    let (mut ours, theirs) = duplex(4096);
    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(theirs), service));
    ours.write_all(handshake().as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    ours.read_to_end(&mut answer).await.unwrap();
    answer
}

/// The rules by which connections ended, once there are `count`.
async fn closed(audit: &Recorder, count: usize) -> Vec<&'static str> {
    let mut seen = 0;
    loop {
        let events = audit.records();
        let closed = events.iter().filter_map(|it| match &it.event {
            AuditEvent::Closed(closed) => Some(closed.rule),
            _ => None,
        });
        let closed: Vec<_> = closed.collect();
        if closed.len() >= count {
            assert_eq!(audit.connected(), closed.len());
            return closed;
        }
        audit.more_than(seen).await;
        seen = events.len();
    }
}

// covers: HS-35, LG-12
#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_upgrade_says_so_once_and_each_connection_has_its_record() {
    let (log, _guard) = Log::keep();
    let audit = Arc::new(Recorder::default());
    for _ in 0..2 {
        let answer = served_without_upgrades(Arc::clone(&audit)).await;
        assert!(answer.starts_with(b"HTTP/1.1 101 "));
    }
    assert_eq!(closed(&audit, 2).await, ["upgrade.unsupported"; 2]);
    // Each has an endpoint of its own.
    assert_eq!(log.lines("with_upgrades"), 2);
}

// covers: HS-35, LG-12
#[tokio::test(start_paused = true)]
async fn a_101_that_never_reaches_its_peer_is_recorded_and_no_warning() {
    let (log, _guard) = Log::keep();
    let audit = Arc::new(Recorder::default());
    let service = endpoint(Arc::<Recorder>::clone(&audit)).into_service();

    // The answer is thrown away, as a layer outside may do; the connection stays.
    let (mut ours, theirs) = duplex(4096);
    let replaced = service.clone();
    let replace = hyper::service::service_fn(move |request: Request<Incoming>| {
        let service = replaced.clone();
        async move {
            drop(service.oneshot(request).await);
            Ok::<_, Infallible>(Response::new(String::from("instead")))
        }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(theirs), replace);
    tokio::spawn(connection.with_upgrades());
    ours.write_all(handshake().as_bytes()).await.unwrap();
    assert_eq!(closed(&audit, 1).await, ["upgrade.timeout"]);
    drop(ours);

    // The peer is gone before the answer is written.
    let (mut ours, theirs) = duplex(4096);
    let late = hyper::service::service_fn(move |request: Request<Incoming>| {
        let service = service.clone();
        async move {
            let answer = service.oneshot(request).await;
            sleep(Duration::from_secs(1)).await;
            answer
        }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(theirs), late);
    tokio::spawn(connection.with_upgrades());
    ours.write_all(handshake().as_bytes()).await.unwrap();
    tokio::task::yield_now().await;
    drop(ours);
    assert_eq!(closed(&audit, 2).await[1], "upgrade.lost");
    assert_eq!(log.lines("WebSocket"), 0);
}
