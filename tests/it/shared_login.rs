//! A login behind a stack that all connections share stays who logged in's.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use tokio::sync::Semaphore;
use tower::{Service, ServiceBuilder, service_fn};
use tower_layer::{Identity, Layer};
use tower_websocket::{
    AuthFailure, Authenticate, Authenticated, Connection, Inbound, Message, Reply,
    RequireAuthLayer, Session, WebSocketEndpoint,
};

use test_support::slow::{Server, Tokens, User, quiet};

use super::shared::{Answer, assert_internal_error, assert_recorded};

/// What the handler was called with, whoever it was called for.
type Calls = Arc<Mutex<Vec<(String, String)>>>;

fn noting(calls: &Calls) -> impl Fn(Inbound<Message, Authenticated<User>>) -> Answer + use<> {
    let calls = Arc::clone(calls);
    move |inbound| {
        let text = inbound.message.as_text().unwrap_or("").to_owned();
        calls.lock().unwrap().push((inbound.proof().user().clone(), text));
        Ok(Reply::one(inbound.message))
    }
}

/// A login behind a buffer that all connections share, and what was handed on.
fn shared(verifier: impl Authenticate<User = User>) -> (Server, Calls) {
    let calls = Calls::default();
    let handle = noting(&calls);
    let handler = service_fn(move |inbound| std::future::ready(handle(inbound)));
    let stack =
        ServiceBuilder::new().buffer(16).layer(RequireAuthLayer::new(verifier)).service(handler);
    let endpoint = WebSocketEndpoint::new(Identity::new(), stack);
    (Server::start(endpoint.connection(quiet()).unwrap()), calls)
}

fn log_in(user: &str) -> String {
    format!(r#"{{"type":"auth","token":"{user}"}}"#)
}

// covers: XX-02
#[tokio::test]
async fn a_stranger_never_gets_the_proof_of_who_logged_in_to_a_shared_stack() {
    let (server, calls) = shared(Tokens);
    let mut ada = server.user("ada").await;
    // A stranger, somebody with credentials, and ada herself once more.
    for first in ["delete everything", &log_in("grace"), &log_in("ada")] {
        let mut other = server.connect().await;
        other.text(first).await;
        assert_internal_error(&mut other).await;
    }
    assert!(calls.lock().unwrap().is_empty(), "nothing was handed on");
    assert_recorded(&server, "auth", 3).await;
    ada.text("hello").await;
    assert_eq!(ada.message().await, "hello");
    assert_eq!(*calls.lock().unwrap(), [("ada".to_owned(), "hello".to_owned())]);
}

// covers: XX-02
#[tokio::test]
async fn who_comes_when_the_first_is_gone_does_not_inherit_its_login() {
    let (server, calls) = shared(Tokens);
    let ada = server.user("ada").await;
    drop(ada);
    server.audit.closed(1).await;
    for user in ["ada", "grace"] {
        let mut next = server.connect().await;
        next.text(&log_in(user)).await;
        assert_internal_error(&mut next).await;
    }
    assert!(calls.lock().unwrap().is_empty());
}

// covers: XX-02
#[tokio::test]
async fn a_login_under_way_is_not_the_next_connections() {
    let (asked, verdict) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (server, calls) = shared(Slow { asked: Arc::clone(&asked), verdict: Arc::clone(&verdict) });
    let mut ada = server.connect().await;
    ada.text(&log_in("ada")).await;
    let _asked = asked.acquire().await.unwrap();
    let mut stranger = server.connect().await;
    stranger.text("delete everything").await;
    assert_internal_error(&mut stranger).await;
    verdict.add_permits(1);
    assert_eq!(ada.message().await, "welcome");
    assert!(calls.lock().unwrap().is_empty());
}

/// Says that it was asked, and waits before it answers.
struct Slow {
    asked: Arc<Semaphore>,
    verdict: Arc<Semaphore>,
}

impl Authenticate for Slow {
    type User = User;

    async fn authenticate(
        &self,
        message: &Message,
        connection: &Connection,
    ) -> Result<Session<User>, AuthFailure> {
        self.asked.add_permits(1);
        let _verdict = self.verdict.acquire().await;
        Tokens.authenticate(message, connection).await
    }
}

// covers: XX-02
#[tokio::test]
async fn a_lock_around_a_stack_shares_it_no_better() {
    let calls = Calls::default();
    let handle = noting(&calls);
    let handler = service_fn(move |inbound| std::future::ready(handle(inbound)));
    let stack = Locked(Arc::new(Mutex::new(RequireAuthLayer::new(Tokens).layer(handler))));
    let server =
        Server::start(WebSocketEndpoint::new(Identity::new(), stack).connection(quiet()).unwrap());
    let mut ada = server.user("ada").await;
    let mut stranger = server.connect().await;
    stranger.text("delete everything").await;
    assert_internal_error(&mut stranger).await;
    ada.text("hello").await;
    assert_eq!(ada.message().await, "hello");
    assert_eq!(calls.lock().unwrap().len(), 1);
}

/// One service for everybody.
struct Locked<S>(Arc<Mutex<S>>);

impl<S> Clone for Locked<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Service<R>, R> Service<R> for Locked<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).call(request)
    }
}
