//! What one turn does and in which order, and that it ends.

use std::{
    future::{pending, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::oneshot;
use tower::service_fn;
use tower_service::Service;

use super::support::{Served, echo, frame, ping, quiet, text};
use crate::{
    close::Close,
    driver::ConnectionConfig,
    layers::{Anonymous, Failure, Inbound, Reply},
    message::Message,
};

type Answer = Result<Reply<Message>, Failure<Message>>;

#[tokio::test(start_paused = true)]
async fn pipelined_replies_share_one_write_and_one_flush() {
    let mut served = echo(quiet());
    served.settle().await;
    let pipelined: Vec<u8> = (0..16).flat_map(|n| text(&n.to_string())).collect();
    served.send(pipelined).await;
    let expected: Vec<String> = (0..16).map(|n| n.to_string()).collect();
    assert_eq!(served.peer.texts(), expected);
    let socket = served.peer.socket();
    assert_eq!((socket.writes, socket.flushes), (1, 1));
}

// covers: FR-04
#[tokio::test(start_paused = true)]
async fn a_turn_ends_after_so_many_frames_though_more_are_ready() {
    let mut served = echo(quiet());
    served.settle().await;
    served.peer.send((0..100).flat_map(|n| text(&n.to_string())).collect::<Vec<u8>>());
    for turn in 1..=3 {
        served.turn().await;
        assert_eq!(served.peer.texts().len(), 32 * turn);
    }
    served.settle().await;
    assert_eq!(served.peer.texts().len(), 100);
}

// covers: FR-04
#[tokio::test(start_paused = true)]
async fn pings_end_a_turn_as_messages_do() {
    let mut served = echo(quiet());
    served.settle().await;
    served.peer.send(ping(b"x").repeat(40));
    served.turn().await;
    let pongs = served.peer.frames().len();
    assert_eq!(pongs, 32);
    served.settle().await;
    assert_eq!(served.peer.frames(), vec![(10, b"x".to_vec()); 40]);
}

// covers: DL-15, DL-16
#[tokio::test(start_paused = true)]
async fn pushes_pings_and_a_close_go_on_while_a_handler_waits() {
    let (done, wait) = oneshot::channel::<()>();
    let mut wait = Some(wait);
    let config = ConnectionConfig::new().ping_interval(Duration::from_secs(2));
    let mut served = Served::new(
        config,
        service_fn(move |_: Inbound<Message, Anonymous>| {
            let wait = wait.take();
            async move {
                match wait {
                    Some(wait) => wait.await.map_err(|_| Close::HANDLER_FAILED)?,
                    None => pending().await,
                }
                Answer::Ok(Reply::one(Message::text("done")))
            }
        }),
    );
    served.send([text("a"), text("b")].concat()).await;
    served.connection.push(Message::text("pushed")).unwrap();
    served.settle().await;
    assert_eq!(served.peer.texts(), ["pushed"]);
    // The first ping comes within the interval. Nothing is read, so no pong is missed.
    served.wait(20_000).await;
    let pings = served.peer.frames().iter().filter(|(opcode, _)| *opcode == 9).count();
    assert_eq!(pings, 1, "one is under way, its deadline stands still");
    done.send(()).unwrap();
    served.settle().await;
    assert_eq!(served.peer.texts(), ["pushed", "done"]);
    served.connection.close(Close::FORBIDDEN);
    served.settle().await;
    assert_eq!(served.peer.close_code(), Some(4403));
}

// covers: AU-02
#[tokio::test(start_paused = true)]
async fn while_a_handler_waits_nothing_is_read() {
    let mut served =
        Served::new(quiet(), service_fn(|_: Inbound<Message, Anonymous>| pending::<Answer>()));
    served.send(text("a")).await;
    let read = served.peer.socket().read;
    for _ in 0..10 {
        served.send(text("b")).await;
    }
    assert_eq!(served.peer.socket().read, read);
}

/// Counts what happens to it, and is ready when it is told.
struct Readiness {
    ready: Arc<Mutex<bool>>,
    asked: Arc<AtomicUsize>,
    called: Arc<AtomicUsize>,
}

impl Service<Inbound<Message, Anonymous>> for Readiness {
    type Response = Reply<Message>;
    type Error = Failure<Message>;
    type Future = std::future::Ready<Answer>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if *self.ready.lock().unwrap() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, inbound: Inbound<Message, Anonymous>) -> Self::Future {
        assert!(*self.ready.lock().unwrap(), "called before it was ready");
        self.called.fetch_add(1, Ordering::SeqCst);
        ready(Ok(Reply::one(inbound.message)))
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_is_asked_for_a_message_that_has_come_and_for_no_other() {
    let (flag, asked, called) = <(Arc<Mutex<bool>>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let stack = Readiness { ready: flag.clone(), asked: asked.clone(), called: called.clone() };
    let mut served = Served::new(quiet(), stack);
    served.settle().await;
    served.connection.push(Message::text("pushed")).unwrap();
    served.send(ping(b"")).await;
    assert_eq!(asked.load(Ordering::SeqCst), 0, "no message, no readiness");
    served.send(text("a")).await;
    assert_eq!((asked.load(Ordering::SeqCst), called.load(Ordering::SeqCst)), (1, 0));
    *flag.lock().unwrap() = true;
    served.turn().await;
    assert_eq!((asked.load(Ordering::SeqCst), called.load(Ordering::SeqCst)), (2, 1));
    served.turn().await;
    assert_eq!(asked.load(Ordering::SeqCst), 2, "and not again for the next");
}

#[tokio::test(start_paused = true)]
async fn a_close_within_the_first_turn_is_heard() {
    // The queue has no waker before the first output step, so this signal can wake nobody.
    let mut served = Served::new(
        ConnectionConfig::new(),
        service_fn(|inbound: Inbound<Message, Anonymous>| {
            inbound.connection().close(Close::FORBIDDEN);
            pending::<Answer>()
        }),
    );
    served.peer.send(text("a"));
    served.settle().await;
    assert_eq!(served.peer.close_code(), Some(4403));
}

#[tokio::test(start_paused = true)]
async fn a_push_and_a_close_wake_a_task_that_sleeps() {
    let mut served = echo(quiet());
    served.settle().await;
    served.connection.push(Message::text("a")).unwrap();
    assert!(served.settle().await > 0);
    served.connection.close(Close::NORMAL);
    assert!(served.settle().await > 0);
    assert_eq!(served.peer.close_code(), Some(1000));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_connection_sleeps() {
    let mut served = echo(ConnectionConfig::new());
    served.settle().await;
    // A turn for the clock's every step would be a busy loop in slow motion.
    let mut turns = 0;
    for _ in 0..25_000 {
        tokio::time::advance(Duration::from_millis(1)).await;
        turns += served.settle().await;
    }
    assert!(turns < 10, "{turns}");
}

#[tokio::test]
async fn the_time_of_a_handler_that_never_waits_is_known_too() {
    const WORKS: Duration = Duration::from_millis(2);
    let stack = service_fn(|_: Inbound<Message, Anonymous>| {
        let began = std::time::Instant::now();
        while began.elapsed() < WORKS {}
        ready(Ok::<_, Failure<Message>>(Reply::none()))
    });
    let mut served = Served::new(quiet(), stack);
    served.send([text("a"), frame(0x88, b"")].concat()).await;
    let took = served.records.closed().last_handler_time;
    assert!(took >= Some(WORKS), "{took:?}");
}
