//! A runtime that ends while peers are connected, as after the graceful shutdown of axum, which waits for
//! nobody who has upgraded.

use std::{sync::Arc, sync::mpsc, thread};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::oneshot,
};
use tower_websocket::AuditEvent;

use test_support::{echo::endpoint, recorder::Recorder};

use super::support_client::TestClient;

/// Runs an axum application on a `runtime` of its own until it is told to stop; says whether the peer was
/// told, and what the record says of it.
fn shut_down_gracefully(runtime: Runtime) {
    let audit = Arc::new(Recorder::default());
    let app = axum::Router::new()
        .route_service("/ws", endpoint(Arc::<Recorder>::clone(&audit)).into_service());
    let (stop, stopped) = oneshot::channel::<()>();
    let (told, addr) = mpsc::channel();
    let server = thread::spawn(move || {
        runtime.block_on(async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            let stopped = async { stopped.await.unwrap() };
            axum::serve(listener, app).with_graceful_shutdown(stopped).await.unwrap();
        });
    });
    let ours = Builder::new_current_thread().enable_all().build().unwrap();
    ours.block_on(async {
        let stream = TcpStream::connect(addr.recv().unwrap()).await.unwrap();
        let mut client = TestClient::open(stream).await;
        client.send_text("hello").await;
        client.assert_text("hello").await;
        stop.send(()).unwrap();
        assert_eq!(client.assert_closed(1001).await, "going away");
    });
    server.join().unwrap();
    let closed: Vec<_> = (audit.records().into_iter())
        .filter_map(|it| match it.event {
            AuditEvent::Closed(closed) => Some((closed.rule, closed.intended_code, closed.flushed)),
            _ => None,
        })
        .collect();
    assert_eq!(closed, [("aborted", Some(1001), true)]);
}

// covers: HS-28
#[test]
fn a_peer_is_told_when_the_runtime_ends_under_it() {
    shut_down_gracefully(Builder::new_current_thread().enable_all().build().unwrap());
    shut_down_gracefully(Builder::new_multi_thread().enable_all().build().unwrap());
}
