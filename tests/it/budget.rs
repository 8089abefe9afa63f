//! What all connections together hold: counted while it is held, bounded, and given back.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::Semaphore, task::yield_now};
use tower::{service_fn, util::BoxCloneSyncService};
use tower_layer::Identity;
use tower_websocket::{
    Anonymous, AuditEvent, AuditRecord, Close, Connection, ConnectionConfig, Inbound, MemoryBudget,
    Message, Reply, WebSocketEndpoint, audit::Closed,
};

use test_support::{
    head::Head,
    http::handshake,
    recorder::Recorder,
    slow::{Frame, FrozenClock, Peer, Server, frame, nonzero, quiet},
};

type Handle = BoxCloneSyncService<Inbound<Message, Anonymous>, Reply<Message>, Close>;

/// Handles each message when there is a permit for it.
fn gated() -> (Arc<Semaphore>, Handle) {
    let gate = Arc::new(Semaphore::new(0));
    let entered = Arc::clone(&gate);
    let handle = service_fn(move |_: Inbound<Message, Anonymous>| {
        let gate = Arc::clone(&entered);
        async move {
            gate.acquire().await.unwrap().forget();
            Ok(Reply::none())
        }
    });
    (gate, Handle::new(handle))
}

/// An endpoint for anybody with a budget, whose application keeps a handle on every connection.
struct Budgeted {
    budget: MemoryBudget,
    server: Server,
    connections: Arc<Mutex<Vec<Connection>>>,
}

impl Budgeted {
    fn start(bytes: usize) -> Self {
        Self::start_with(MemoryBudget::new(nonzero(bytes)), config(), echo())
    }

    fn start_with(budget: MemoryBudget, config: ConnectionConfig, handle: Handle) -> Self {
        let connections = Arc::<Mutex<Vec<Connection>>>::default();
        let kept = Arc::clone(&connections);
        let layer = WebSocketEndpoint::new(Identity::new(), handle)
            .allow_anonymous()
            .connection(config)
            .unwrap()
            .memory_budget(budget.clone())
            .on_connect(move |it| kept.lock().unwrap().push(it.clone()));
        Self { budget, server: Server::start(layer), connections }
    }

    async fn connect(&self) -> (Peer, Connection) {
        let peer = self.server.connect().await;
        let connection = self.connections.lock().unwrap().last().unwrap().clone();
        (peer, connection)
    }

    /// What a handshake is answered.
    async fn handshake(&self) -> Head {
        let mut peer = self.server.connect_raw().await;
        peer.send(handshake()).await;
        peer.head().await
    }

    /// Lets the server work until `is` holds for what is used.
    async fn until(&self, is: impl Fn(usize) -> bool) {
        for _ in 0..10_000 {
            if is(self.budget.used()) {
                return;
            }
            yield_now().await;
        }
        panic!("{} bytes are charged", self.budget.used());
    }

    /// Everything was given back, although the handles are kept.
    async fn assert_free(&self) {
        self.until(|used| used == 0).await;
    }

    async fn closed(&self, count: usize) -> Vec<Closed> {
        let audit: &Recorder = &self.server.audit;
        audit.closed(count).await
    }
}

/// Room for what a test wants to hold of one connection.
fn config() -> ConnectionConfig {
    quiet().max_message_size(nonzero(MIB)).max_outbound_bytes(nonzero(64 * MIB))
}

fn echo() -> Handle {
    Handle::new(service_fn(|inbound: Inbound<Message, Anonymous>| async {
        Ok(Reply::one(inbound.message))
    }))
}

fn never() -> Handle {
    Handle::new(service_fn(|_: Inbound<Message, Anonymous>| pending()))
}

/// The first `sent` bytes of a message that announces `size`.
fn part(size: usize, sent: usize) -> Vec<u8> {
    let mut whole = frame(0x82, vec![0; size]);
    whole.truncate(sent);
    whole
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_charged_nothing() {
    let server = Budgeted::start(MIB);
    let (mut peer, connection) = server.connect().await;
    for _ in 0..3 {
        peer.text("hello").await;
        assert_eq!(peer.message().await, "hello");
    }
    connection.push(Message::text("unasked")).unwrap();
    assert!(server.budget.used() > 0);
    assert_eq!(peer.message().await, "unasked");
    server.assert_free().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_is_charged_while_it_is_handled_and_no_longer() {
    let (gate, handle) = gated();
    let server = Budgeted::start_with(MemoryBudget::new(nonzero(MIB)), config(), handle);
    let _frozen = FrozenClock::new();
    let (mut peer, _) = server.connect().await;
    peer.send(frame(0x82, vec![0; 50_000])).await;
    server.until(|used| used == 50_000).await;
    gate.add_permits(1);
    // The buffer that it was read into is kept for a moment, for the next one.
    for _ in 0..50 {
        yield_now().await;
    }
    tokio::time::advance(Duration::from_secs(2)).await;
    server.assert_free().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_under_way_is_charged_from_its_header_on() {
    let server = Budgeted::start(4 * MIB);
    let _frozen = FrozenClock::new();
    let (mut peer, _) = server.connect().await;
    peer.send(part(MIB, 20)).await;
    server.until(|used| used == 2 * MIB).await;
    drop(peer);
    server.assert_free().await;
}

/// Whatever ends it, a connection gives back its queue, its input and what it handles; and its
/// handles, which the application keeps, hold nothing.
// holds: I8
#[tokio::test(start_paused = true)]
async fn every_end_gives_everything_back() {
    type End = fn(&Connection, &mut Option<Peer>);
    let ends: [(&str, End, &str); 6] = [
        ("the application closes", |it, _| it.close(Close::FORBIDDEN), "forbidden"),
        ("in good order", |it, _| it.close(Close::GOING_AWAY), "going_away"),
        ("reset", |_, peer| *peer = None, "lost"),
        (
            "its queue overflows",
            |it, _| while it.push(Message::binary(vec![0; 60_000])).is_ok() {},
            "slow_consumer",
        ),
        ("its handler fails", |it, _| it.close(Close::HANDLER_FAILED), "handler.failed"),
        ("the peer does not read", |_, _| {}, "write.timeout"),
    ];
    for (name, end, rule) in ends {
        let budget = MemoryBudget::new(nonzero(64 * MIB));
        let server =
            Budgeted::start_with(budget, config().max_outbound_bytes(nonzero(16 * MIB)), never());
        let (mut peer, connection) = server.connect().await;
        // One is handled, and the next has begun; and of a backlog the socket takes a part.
        peer.send(frame(0x82, vec![0; 10_000])).await;
        server.until(|used| used >= 10_000).await;
        let push = || connection.push(Message::binary(vec![0; 60_000])).unwrap();
        (0..if rule == "handler.failed" { 0 } else { 150 }).for_each(|_| push());
        server.until(|used| used > 10_000 || rule == "handler.failed").await;
        let mut peer = Some(peer);
        end(&connection, &mut peer);
        assert_eq!(server.closed(1).await[0].rule, rule, "{name}");
        server.assert_free().await;
        assert!(connection.push(Message::text("late")).is_err(), "{name}");
        assert_eq!(server.budget.used(), 0, "{name}");
    }
}

/// A peer that lingers may take its time: what it had sent is not charged on its account.
#[tokio::test(start_paused = true)]
async fn a_message_in_flight_is_given_back_at_the_close_not_at_the_end() {
    let budget = MemoryBudget::new(nonzero(MIB));
    let server = Budgeted::start_with(budget, config(), never());
    let _frozen = FrozenClock::new();
    let (mut peer, connection) = server.connect().await;
    peer.send(frame(0x82, vec![0; 100_000])).await;
    server.until(|used| used == 100_000).await;
    connection.close(Close::FORBIDDEN);
    assert_eq!(peer.frame().await, Frame::Close(Some(4403), "forbidden".into()));
    server.assert_free().await;
    let live = server.server.audit.records();
    assert!(!live.iter().any(|it| matches!(it.event, AuditEvent::Closed(_))));
}

#[tokio::test(start_paused = true)]
async fn above_the_soft_mark_nobody_new_comes_in_until_it_is_below_again() {
    let server = Budgeted::start(4 * MIB);
    let _frozen = FrozenClock::new();
    let (mut one, _) = server.connect().await;
    let (mut two, _) = server.connect().await;
    let (mut idle, _) = server.connect().await;
    one.send(part(MIB, 20)).await;
    server.until(|used| used == 2 * MIB).await;
    // To the mark, and 64 bytes over it.
    two.send(part(MIB / 2 + 32, 20)).await;
    server.until(|used| used > 3 * MIB).await;
    let refused = server.handshake().await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    let rules: Vec<_> = server.server.audit.records().iter().filter_map(refusal).collect();
    assert_eq!(rules, ["admission.memory"]);
    // The largest holder goes, and nobody else.
    one.assert_closed(1013).await;
    drop(one);
    server.until(|used| used < 2 * MIB).await;
    let (mut late, _) = server.connect().await;
    for peer in [&mut idle, &mut late] {
        peer.text("still here").await;
        assert_eq!(peer.message().await, "still here");
    }
    assert!(two.nothing_comes().await);
    let closed = server.closed(1).await;
    let ends: Vec<_> = closed.iter().map(|it| (it.rule, it.intended_code)).collect();
    assert_eq!(ends, [("overloaded", Some(1013))]);
}

fn refusal(record: &AuditRecord) -> Option<&'static str> {
    match &record.event {
        AuditEvent::UpgradeRefused(refused) => Some(refused.rule),
        _ => None,
    }
}

/// One peer does not read, the others do; all get the same.
#[tokio::test(start_paused = true)]
async fn the_peer_that_does_not_read_goes_first() {
    let server = Budgeted::start(2 * MIB);
    let _frozen = FrozenClock::new();
    let (mut slow, to_slow) = server.connect().await;
    let (mut fast, to_fast) = server.connect().await;
    let message = Message::binary(vec![b'x'; 50_000]);
    let mut sent = 0;
    while to_slow.push(message.clone()).is_ok() {
        to_fast.push(message.clone()).unwrap();
        assert_eq!(fast.message().await.len(), 50_000);
        assert!(server.budget.used() <= 2 * MIB);
        sent += 1;
    }
    assert!(sent > 20, "{sent}");
    let (_, code) = slow.until_close().await;
    assert_eq!(code, Some(1013));
    fast.text("still here").await;
    assert_eq!(fast.message().await, "still here");
}

/// The header announces more than there is: nothing is set aside for it.
#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_not_read() {
    let server = Budgeted::start(MIB);
    let (mut peer, _) = server.connect().await;
    peer.send(part(MIB, 5_000)).await;
    peer.assert_closed(1013).await;
    let closed = server.closed(1).await;
    assert_eq!((closed[0].rule, closed[0].intended_code), ("overloaded", Some(1013)));
    server.assert_free().await;
}

#[tokio::test(start_paused = true)]
async fn endpoints_share_a_budget() {
    let one = Budgeted::start(4 * MIB);
    let two = Budgeted::start_with(one.budget.clone(), config(), echo());
    let _frozen = FrozenClock::new();
    let (mut hog, _) = one.connect().await;
    let (mut small, _) = two.connect().await;
    hog.send(part(MIB, 20)).await;
    one.until(|used| used == 2 * MIB).await;
    small.send(part(MIB * 3 / 4, 20)).await;
    hog.assert_closed(1013).await;
    assert_eq!(two.handshake().await.status, 503);
    drop((hog, small));
    one.assert_free().await;
    assert_eq!(two.handshake().await.status, 101);
}

const MIB: usize = 1024 * 1024;

// covers: DL-23
#[tokio::test(start_paused = true)]
async fn what_was_sent_ahead_is_charged_until_it_is_handled() {
    let _frozen = FrozenClock::new();
    let (gate, handle) = gated();
    let budgeted = Budgeted::start_with(MemoryBudget::new(nonzero(1 << 20)), config(), handle);
    // The head is long, so that hyper reads into a buffer much larger than what is behind it.
    let head =
        handshake().replace("\r\n\r\n", &format!("\r\nx-pad: {}\r\n\r\n", "x".repeat(40_000)));
    let messages = frame(0x81, "x".repeat(100)).repeat(60);
    let mut peer = budgeted.server.connect_raw().await;
    peer.send([head.as_bytes(), &messages].concat()).await;
    assert_eq!(peer.head().await.status, 101);
    // What of it has come by then, and is not in the kernel; but no more of it than was sent.
    let (most, one) = (messages.len() + 16 * 1024, 106);
    budgeted.until(|used| (one..=most).contains(&used)).await;
    gate.add_permits(60);
    budgeted.assert_free().await;
}

// covers: DL-23
#[tokio::test(start_paused = true)]
async fn what_was_sent_ahead_and_does_not_fit_the_budget_is_an_overload() {
    let _frozen = FrozenClock::new();
    let (_gate, handle) = gated();
    let budgeted = Budgeted::start_with(MemoryBudget::new(nonzero(4000)), config(), handle);
    let mut peer = budgeted.server.connect_raw().await;
    let messages = frame(0x81, "x".repeat(100)).repeat(60);
    peer.send([handshake().as_bytes(), &messages].concat()).await;
    assert_eq!(peer.head().await.status, 101);
    peer.assert_closed(1013).await;
    budgeted.assert_free().await;
}
