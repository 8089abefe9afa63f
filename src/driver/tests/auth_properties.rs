//! Whatever a peer does before it is authenticated, nothing of the application runs.

use std::{
    future::{Ready, pending, ready},
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use proptest::{collection::vec, prelude::*};
use tokio::sync::Notify;
use tower::{Layer, Service};

use super::support::Served;
use crate::{
    audit::AuditEvent,
    close::Close,
    connection::Connection,
    driver::{Authentication, ConnectionConfig},
    layers::{
        AuthFailure, Authenticate, Authenticated, Failure, Inbound, Reply, RequireAuthLayer,
        Session,
    },
    message::Message,
    principal::Principal,
    testing::{
        Invariant,
        driven::operation::{SECRET, Sent},
    },
};

/// What the verifier makes of the first message.
#[derive(Clone, Copy, Debug)]
enum Verdict {
    Accepts,
    Rejects,
    Fails,
    Panics,
    Never,
}

#[derive(Clone, Debug)]
enum Operation {
    Send(Sent, usize),
    /// The verdict is there, whether anybody waits for it yet or not.
    Decide,
    Wait(u64),
    Push,
    Close,
    End,
}

struct User;

impl Principal for User {
    fn id(&self) -> &str {
        "ada"
    }
}

/// Decides when it is told to.
struct Verifier(Verdict, Arc<Notify>);

impl Authenticate for Verifier {
    type User = User;

    async fn authenticate(
        &self,
        _: &Message,
        _: &Connection,
    ) -> Result<Session<User>, AuthFailure> {
        self.1.notified().await;
        match self.0 {
            Verdict::Accepts => Ok(Session::new(User)),
            Verdict::Rejects => Err(AuthFailure::Rejected),
            Verdict::Fails => Err(AuthFailure::Unavailable),
            Verdict::Panics => panic!("as planned"),
            Verdict::Never => pending().await,
        }
    }
}

/// Counts how often any of it runs.
struct Application(Arc<AtomicUsize>);

impl Service<Inbound<Message, Authenticated<User>>> for Application {
    type Response = Reply<Message>;
    type Error = Failure<Message>;
    type Future = Ready<Result<Reply<Message>, Failure<Message>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Inbound<Message, Authenticated<User>>) -> Self::Future {
        self.0.fetch_add(1, Ordering::Relaxed);
        ready(Ok(Reply::one(Message::text("handled"))))
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    let sent = prop_oneof![
        6 => (0usize..300).prop_map(Sent::Text),
        1 => (0usize..300).prop_map(Sent::First),
        1 => Just(Sent::Last),
        1 => Just(Sent::Ping),
        1 => Just(Sent::Close),
        1 => vec(any::<u8>(), 1..20).prop_map(Sent::Raw),
        1 => (any::<u8>(), 0usize..126).prop_map(|(first, size)| Sent::Frame(first, size)),
    ];
    prop_oneof![
        8 => (sent, 1usize..400).prop_map(|(sent, chunk)| Operation::Send(sent, chunk)),
        2 => Just(Operation::Decide),
        2 => (0u64..60).prop_map(Operation::Wait),
        1 => Just(Operation::Push),
        1 => prop_oneof![Just(Operation::Close), Just(Operation::End)],
    ]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    use Verdict::{Accepts, Fails, Never, Panics, Rejects};
    prop_oneof![4 => Just(Accepts), 1 => Just(Rejects), 1 => Just(Fails), 1 => Just(Panics), 1 => Just(Never)]
}

async fn run(verdict: Verdict, operations: &[Operation]) {
    let (decided, calls) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let application = Application(Arc::clone(&calls));
    let layer = RequireAuthLayer::new(Verifier(verdict, Arc::clone(&decided)));
    let mut served = Served::with(config(), Authentication::Required, layer.layer(application));
    for operation in operations {
        match operation {
            Operation::Send(sent, chunk) => {
                sent.bytes().chunks(*chunk).for_each(|bytes| served.peer.send(bytes));
            }
            Operation::Decide => decided.notify_one(),
            Operation::Wait(millis) => served.wait(*millis).await,
            Operation::Push => drop(served.connection.push(Message::text("pushed"))),
            Operation::Close => served.connection.close(Close::FORBIDDEN),
            Operation::End => served.peer.end(),
        }
        served.settle().await;
        check(&served, verdict, calls.load(Ordering::Relaxed));
    }
    served.wait(300).await;
    check(&served, verdict, calls.load(Ordering::Relaxed));
    let accepted = count(&served, |it| matches!(it, AuditEvent::Authenticated(_))) > 0;
    Invariant::AuthFirst.assert(served.done || accepted, || "nobody, and not closed".into());
}

fn check(served: &Served, verdict: Verdict, calls: usize) {
    let accepted = count(served, |it| matches!(it, AuditEvent::Authenticated(_)));
    let most = usize::from(matches!(verdict, Verdict::Accepts));
    Invariant::AuthFirst.assert(accepted <= most, || format!("{accepted} times, by {verdict:?}"));
    Invariant::AuthFirst.assert(calls == 0 || accepted == 1, || format!("{calls} calls"));
    let handled = served.peer.texts().iter().filter(|it| *it == "handled").count();
    Invariant::AuthFirst.assert(handled <= calls, || format!("{handled} answers"));
    let told = format!("{:?}", served.records);
    Invariant::NoSecrets.assert(!told.contains(SECRET), || told);
}

fn count(served: &Served, what: impl Fn(&AuditEvent) -> bool) -> usize {
    served.records.events().iter().filter(|it| what(it)).count()
}

fn config() -> ConnectionConfig {
    ConnectionConfig::new()
        .auth_timeout(Duration::from_millis(100))
        .close_timeout(Duration::from_millis(50))
        .max_outbound_bytes(NonZeroUsize::new(16 * 1024).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    // holds: I1, I6
    // covers: AU-01, AU-02, AU-03, AU-07
    #[test]
    fn nothing_of_the_application_runs_before_authentication(
        verdict in verdict(),
        operations in vec(operation(), 1..30),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(verdict, &operations));
    }
}
