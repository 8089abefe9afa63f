//! Hooks of the application: each is called, in the order in which they were given.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicIsize, Ordering},
};

use tokio::time::timeout;
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    AuditEvent, Authenticated, Close, Inbound, Message, Reply, RequireAuthLayer, WebSocketEndpoint,
};

use test_support::{
    http::handshake,
    slow::{Server, Tokens, User, frame, quiet},
    slow_peer::PATIENCE,
};

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<&'static str>>>);

impl Told {
    fn of(&self, what: &'static str) -> impl Fn() + Send + Sync + 'static + use<> {
        let told = self.clone();
        move || told.0.lock().unwrap().push(what)
    }
}

/// What is told when a connection's task ends comes after the peer has seen the end.
async fn eventually(is: impl Fn() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !is() {
            tokio::task::yield_now().await;
        }
    });
    waited.await.expect("it never comes");
}

async fn echo(inbound: Inbound<Message, Authenticated<User>>) -> Result<Reply<Message>, Close> {
    Ok(Reply::one(inbound.message))
}

#[tokio::test]
async fn a_second_hook_is_called_after_the_first_and_not_instead_of_it() {
    let told = Told::default();
    let [connect_1, connect_2, open_1] = ["connect 1", "connect 2", "open 1"].map(|it| told.of(it));
    let [open_2, close_1, close_2] = ["open 2", "close 1", "close 2"].map(|it| told.of(it));
    let auth =
        RequireAuthLayer::new(Tokens).on_open(move |_, _| open_1()).on_open(move |_, _| open_2());
    let layer = WebSocketEndpoint::new(ServiceBuilder::new().layer(auth), service_fn(echo))
        .connection(quiet())
        .unwrap()
        .on_connect(move |_| connect_1())
        .on_close(move |_, _| close_1())
        .on_connect(move |_| connect_2())
        .on_close(move |_, _| close_2());
    let server = Server::start(layer);
    let mut peer = server.user("ada").await;
    peer.send(frame(0x88, [3, 232])).await;
    peer.assert_closed(1000).await;
    drop(peer);
    let all = ["connect 1", "connect 2", "open 1", "open 2", "close 1", "close 2"];
    eventually(|| told.0.lock().unwrap().len() == all.len()).await;
    assert_eq!(*told.0.lock().unwrap(), all);
}

// covers: XX-01, LG-12
#[tokio::test]
async fn a_hook_that_panics_after_the_login_is_no_failure_of_the_verifiers() {
    let auth = RequireAuthLayer::new(Tokens).on_open(|_, _| panic!("the hook's own"));
    let layer = WebSocketEndpoint::new(auth, service_fn(echo)).connection(quiet()).unwrap();
    let server = Server::start(layer);
    let mut peer = server.connect().await;
    peer.text(r#"{"type":"auth","token":"ada"}"#).await;
    peer.assert_closed(1011).await;
    drop(peer);
    assert_eq!(server.audit.closed(1).await[0].rule, "handler.failed");
    let logins = server.audit.records();
    let logins = logins.iter().filter(|it| matches!(it.event, AuditEvent::Authenticated(_)));
    assert_eq!(logins.count(), 1);
}

/// Counts what is open, as the application would.
// covers: XX-01
#[tokio::test]
async fn whoever_was_told_of_a_beginning_is_told_of_the_end_also_if_another_hook_panics() {
    let (open, most) = (Arc::new(AtomicIsize::new(0)), Arc::new(AtomicIsize::new(0)));
    let [up, seen, down] = [&open, &most, &open].map(Arc::clone);
    let counted = Arc::clone(&open);
    let layer = WebSocketEndpoint::new(RequireAuthLayer::new(Tokens), service_fn(echo))
        .connection(quiet())
        .unwrap()
        .on_connect(|_| panic!("the first hook"))
        .on_connect(move |_| {
            seen.fetch_max(up.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        })
        .on_close(|_, _| panic!("the other first hook"))
        .on_close(move |_, _| _ = down.fetch_sub(1, Ordering::SeqCst));
    let server = Server::start(layer);
    for _ in 0..3 {
        let mut refused = server.connect_raw().await;
        refused.send(handshake()).await;
        refused.ended().await;
    }
    eventually(|| counted.load(Ordering::SeqCst) == 0).await;
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

/// Also of one whose beginning was not told to everybody.
#[tokio::test]
async fn the_hooks_of_the_end_are_told_what_the_record_says() {
    let told: Arc<Mutex<Vec<(&'static str, u64)>>> = Arc::default();
    let (heard, mut first) = (Arc::clone(&told), true);
    let fails = Mutex::new(move || std::mem::take(&mut first));
    let layer = WebSocketEndpoint::new(RequireAuthLayer::new(Tokens), service_fn(echo))
        .connection(quiet())
        .unwrap()
        .on_connect(move |_| assert!(!fails.lock().unwrap()(), "the first is lost"))
        .on_close(move |_, closed| {
            heard.lock().unwrap().push((closed.rule, closed.messages_in));
        });
    let server = Server::start(layer);
    let mut refused = server.connect_raw().await;
    refused.send(handshake()).await;
    refused.ended().await;
    let mut peer = server.user("ada").await;
    peer.send(frame(0x88, [3, 232])).await;
    peer.assert_closed(1000).await;
    drop(peer);
    eventually(|| told.lock().unwrap().len() == 2).await;
    assert_eq!(*told.lock().unwrap(), [("aborted", 0), ("peer_closed", 1)]);
}
