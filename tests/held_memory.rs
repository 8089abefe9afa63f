//! What is charged to the memory budget is what is held: the two agree within a factor of two.
//!
//! A binary of its own: the allocator counts the process.
#![cfg(test)]

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use peak_alloc::PeakAlloc;
use test_support::turns::alone;
use tokio::{sync::Semaphore, time::sleep};
use tower::service_fn;
use tower_layer::Identity;
use tower_websocket::{
    Anonymous, Close, Connection, ConnectionConfig, Inbound, MemoryBudget, Message, Reply,
    WebSocketEndpoint,
    testing::{TestPeer, TestServer},
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Connections at once, so that what is allocated once for all does not count.
const COUNT: usize = 40;

/// What one connection may hold besides: timers, wakers, queues of the test's own socket.
const BESIDES: usize = 2 * 1024;

struct Crowd {
    peers: Vec<TestPeer>,
    connections: Arc<Mutex<Vec<Connection>>>,
    gate: Arc<Semaphore>,
    budget: MemoryBudget,
    before: usize,
}

impl Crowd {
    /// Connections that have been used once.
    async fn new() -> Self {
        let budget = MemoryBudget::new(NonZeroUsize::new(1 << 30).unwrap());
        let connections = Arc::<Mutex<Vec<Connection>>>::default();
        let (kept, gate) = (Arc::clone(&connections), Arc::new(Semaphore::new(0)));
        let entered = Arc::clone(&gate);
        let handle = service_fn(move |inbound: Inbound<Message, Anonymous>| {
            let gate = Arc::clone(&entered);
            async move {
                if inbound.message.as_bytes().first() == Some(&b'w') {
                    gate.acquire().await.unwrap().forget();
                }
                Ok::<_, Close>(Reply::none())
            }
        });
        let quiet = ConnectionConfig::new().ping_interval(Duration::from_secs(1_000_000));
        let layer = WebSocketEndpoint::new(Identity::new(), handle)
            .allow_anonymous()
            .connection(quiet)
            .unwrap()
            .memory_budget(budget.clone())
            .on_connect(move |it| kept.lock().unwrap().push(it.clone()));
        let server = TestServer::endpoint(layer);
        let mut peers = Vec::new();
        for _ in 0..COUNT {
            let peer = server.connect("/").await;
            peer.send("once");
            peers.push(peer);
        }
        sleep(Duration::from_millis(1)).await;
        assert_eq!(budget.used(), 0);
        let before = ALLOCATOR.current_usage();
        Self { peers, connections, gate, budget, before }
    }

    /// What each connection holds now, and is charged.
    async fn each(&self) -> (usize, usize) {
        sleep(Duration::from_millis(1)).await;
        let held = ALLOCATOR.current_usage().saturating_sub(self.before);
        (held / COUNT, self.budget.used() / COUNT)
    }

    async fn assert_true(&self, what: &str, about: usize) {
        let (held, charged) = self.each().await;
        assert!(held >= about / 2, "{what}: nothing is shown by {held} bytes of {about}");
        assert!(held <= 2 * charged + BESIDES, "{what}: {held} held, {charged} charged");
        assert!(charged <= 2 * held + BESIDES, "{what}: {held} held, {charged} charged");
    }

    async fn assert_nothing(&self, what: &str) {
        let (held, charged) = self.each().await;
        assert!(held <= BESIDES && charged == 0, "{what}: {held} held, {charged} charged");
    }

    fn send(&self, message: &str) {
        self.peers.iter().for_each(|peer| peer.send(message));
    }

    fn send_bytes(&self, bytes: &[u8]) {
        self.peers.iter().for_each(|peer| peer.send_bytes(bytes));
    }

    fn push(&self, count: usize, message: &str) {
        for connection in &*self.connections.lock().unwrap() {
            for _ in 0..count {
                connection.push(Message::text(message)).unwrap();
            }
        }
    }

    fn handle(&self) {
        self.gate.add_permits(COUNT);
    }
}

// covers: DL-12, DL-23
// holds: I3
#[test]
fn what_is_charged_is_what_is_held() {
    alone(async {
        const LARGE: usize = 60_000;
        let large = "l".repeat(LARGE);
        let crowd = Crowd::new().await;
        crowd.assert_nothing("idle").await;

        crowd.send(&large);
        crowd.assert_true("a buffer that a large message made grow", LARGE).await;
        sleep(Duration::from_secs(2)).await;
        crowd.assert_nothing("a while after a large message").await;

        // A header, and half of what it announces.
        crowd.send_bytes(
            &[&[0x82, 0xfe, 0xea, 0x60, 0, 0, 0, 0], &large.as_bytes()[..LARGE / 2]].concat(),
        );
        crowd.assert_true("half a message", LARGE).await;
        crowd.send_bytes(&large.as_bytes()[LARGE / 2..]);
        sleep(Duration::from_secs(2)).await;
        crowd.assert_nothing("a while after it").await;

        crowd.send(&format!("w{large}"));
        crowd.assert_true("a large message that is handled", LARGE).await;
        sleep(Duration::from_secs(5)).await;
        crowd.assert_true("five seconds later", LARGE).await;
        crowd.handle();
        sleep(Duration::from_secs(2)).await;
        crowd.assert_nothing("a while after it was").await;

        // It is a slice of the buffer that the large one was read into.
        crowd.send(&large);
        crowd.send("w");
        sleep(Duration::from_secs(5)).await;
        crowd.assert_true("a small message that is handled, after a large one", LARGE).await;
        // And so, perhaps, are those that wait behind it.
        crowd.send_bytes(&[0x81, 0x81, 0, 0, 0, 0, b'x'].repeat(1000));
        crowd.assert_true("and some that wait behind it", LARGE).await;
        crowd.handle();
        sleep(Duration::from_secs(2)).await;
        crowd.assert_nothing("a while after all were handled").await;

        // A byte of a ping keeps what there is for as long as it may take, and no longer.
        crowd.send(&large);
        crowd.send_bytes(&[0x89]);
        sleep(Duration::from_secs(5)).await;
        crowd.assert_true("a byte of a ping behind a large message", LARGE).await;
        crowd.send_bytes(&[0x80, 0, 0, 0, 0]);
        sleep(Duration::from_secs(2)).await;
        let (held, charged) = crowd.each().await;
        assert!(held <= BESIDES && charged == 0, "a while after its end: {held}, {charged}");

        crowd.peers.iter().for_each(TestPeer::stop_reading);
        crowd.push(20, &large[..10_000]);
        crowd.assert_true("a queue that nobody reads", 60_000).await;
    });
}

// covers: DL-23
#[test]
fn tiny_messages_are_charged_what_they_hold() {
    alone(async {
        let crowd = Crowd::new().await;
        crowd.peers.iter().for_each(TestPeer::stop_reading);
        // The socket takes what a kernel would.
        crowd.push(3000, &"x".repeat(40));
        crowd.assert_true("tiny messages", 100_000).await;
    });
}
