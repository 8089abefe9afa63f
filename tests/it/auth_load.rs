//! A verifier that is slow takes up no more of anything than it was given.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::Semaphore,
    time::{Instant, sleep},
};
use tower::service_fn;
use tower_websocket::{
    Admission, AuthFailure, Authenticate, Authenticated, Close, Connection, Inbound, Message,
    Quota, Reply, RequireAuthLayer, Session, WebSocketEndpoint, WebSocketLayer,
};

use test_support::http::{handshake, serve_one};

use super::{
    support::{User, quiet},
    support_client::{TEXT, TestClient, text},
};

/// How many the backend takes at once, and how long it needs for each.
const AT_ONCE: usize = 8;
const EACH: Duration = Duration::from_millis(300);
const T_AUTH: Duration = Duration::from_secs(5);

/// Asks a backend that takes few at once.
#[derive(Clone)]
struct Busy {
    backend: Arc<Semaphore>,
    asked: Arc<AtomicUsize>,
    most_at_once: Arc<AtomicUsize>,
}

impl Authenticate for Busy {
    type User = User;

    async fn authenticate(
        &self,
        _: &Message,
        _: &Connection,
    ) -> Result<Session<User>, AuthFailure> {
        let Ok(_permit) = self.backend.acquire().await else {
            return Err(AuthFailure::Unavailable);
        };
        self.asked.fetch_add(1, Relaxed);
        self.most_at_once.fetch_max(AT_ONCE - self.backend.available_permits(), Relaxed);
        sleep(EACH).await;
        Ok(Session::new("ada".to_owned()).reply(Message::text("welcome")))
    }
}

/// A line to the endpoint from a peer with an address of its own.
fn line(layer: &WebSocketLayer, nth: usize) -> DuplexStream {
    let (ours, theirs) = duplex(1024);
    let addr = SocketAddr::from(([10, 0, (nth >> 8) as u8, nth as u8], 1));
    serve_one(theirs, addr, layer);
    ours
}

// covers: AU-12
#[tokio::test(start_paused = true)]
async fn those_whom_a_slow_verifier_cannot_take_in_time_are_turned_away_in_time() {
    const PENDING: usize = 1_000;
    let verifier = Busy {
        backend: Arc::new(Semaphore::new(AT_ONCE)),
        asked: Arc::default(),
        most_at_once: Arc::default(),
    };
    let handler =
        service_fn(async |_: Inbound<Message, Authenticated<User>>| Ok::<_, Close>(Reply::none()));
    let layer = WebSocketEndpoint::new(RequireAuthLayer::new(verifier.clone()), handler)
        .connection(quiet())
        .unwrap()
        .admission(Admission::new().handshakes(Quota::per_second(u32::MAX)))
        .layer("/ws")
        .unwrap();

    let start = Instant::now();
    let mut clients = Vec::new();
    for nth in 0..PENDING {
        let mut client = TestClient::open(line(&layer, nth)).await;
        client.send(text("credentials")).await;
        clients.push(client);
    }
    // By default no more than these wait at all.
    let mut refused = line(&layer, PENDING);
    refused.write_all(handshake().as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    refused.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 503 "), "{answer:?}");
    assert_eq!(start.elapsed(), Duration::ZERO);

    let mut welcome = 0;
    for client in &mut clients {
        let frame = client.next().await.unwrap();
        if frame.opcode == TEXT {
            welcome += 1;
            assert!(start.elapsed() <= T_AUTH);
        } else {
            client.assert_was_close(&frame, 4401).await;
            assert_eq!(start.elapsed(), T_AUTH);
        }
    }
    let rounds = (T_AUTH.as_millis() / EACH.as_millis()) as usize;
    assert_eq!(welcome, rounds * AT_ONCE);
    // The backend was never asked on behalf of those who waited in vain, and none still waits.
    assert_eq!(verifier.asked.load(Relaxed), (rounds + 1) * AT_ONCE);
    assert_eq!(verifier.most_at_once.load(Relaxed), AT_ONCE);
    assert_eq!(verifier.backend.available_permits(), AT_ONCE);

    drop(clients);
    let mut late = TestClient::open(line(&layer, 0)).await;
    late.send(text("credentials")).await;
    late.assert_text("welcome").await;
    assert_eq!(start.elapsed(), T_AUTH + EACH);
}
