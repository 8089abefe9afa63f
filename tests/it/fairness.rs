//! What one connection takes from the others.
//!
//! Everything runs on one thread. Progress is measured in polls of a task that does nothing but give
//! way: how many of its turns the others' work takes, and how much a hostile peer gets done in one.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
};

use tower::service_fn;
use tower_layer::Identity;
use tower_websocket::{
    Anonymous, Close, ConnectionConfig, Inbound, Message, Quota, Reply, Rooms, WebSocketEndpoint,
};

use test_support::{
    metered::Meter,
    slow::{Peer, Server, chat, frame, quiet, say},
};

/// Counts the turns that the runtime gives to everybody: one for each of its own.
struct Turns(Arc<AtomicUsize>);

impl Turns {
    fn count() -> Self {
        let turns = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&turns);
        // Not `yield_now`, which also waits for the runtime to look for events.
        tokio::spawn(std::future::poll_fn(move |cx| {
            counted.fetch_add(1, Relaxed);
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        Self(turns)
    }

    fn so_far(&self) -> usize {
        self.0.load(Relaxed)
    }
}

fn echo(config: ConnectionConfig) -> WebSocketEndpoint {
    let echo = service_fn(async |inbound: Inbound<Message, Anonymous>| {
        Ok::<_, Close>(Reply::one(inbound.message))
    });
    WebSocketEndpoint::new(Identity::new(), echo).allow_anonymous().connection(config).unwrap()
}

/// The turns that the middle one of 200 round trips takes.
async fn usual_echo(peer: &mut Peer, turns: &Turns) -> usize {
    let mut each = Vec::new();
    for _ in 0..200 {
        let before = turns.so_far();
        peer.text("{}").await;
        assert_eq!(peer.message().await, "{}");
        each.push(turns.so_far() - before);
    }
    middle(each)
}

/// The middle one: while the machine does something else, a single turn count can be anything.
fn middle(mut each: Vec<usize>) -> usize {
    each.sort_unstable();
    each[each.len() / 2]
}

/// Nothing that a hostile peer sends is refused, so that all of it has to be worked on.
fn without_budgets() -> ConnectionConfig {
    let many = NonZeroU32::new(u32::MAX).unwrap();
    quiet().control_frames(Quota::per_second(u32::MAX)).max_fragments(many)
}

// covers: FR-04
#[tokio::test]
async fn a_peer_at_line_rate_does_not_hold_the_thread() {
    let empty_fragments = [frame(0x01, ""), frame(0x00, "").repeat(20_000)].concat();
    let floods = [
        ("empty fragments", empty_fragments),
        ("empty messages", frame(0x82, "").repeat(20_000)),
        ("pongs", frame(0x8a, "").repeat(20_000)),
        ("pings", frame(0x89, "").repeat(20_000)),
        ("messages of 64 KiB", frame(0x82, vec![0; 64 * 1024]).repeat(4)),
    ];
    for (name, flood) in floods {
        let turns = Turns::count();
        let quiet_server = Server::start(echo(without_budgets()));
        let alone = usual_echo(&mut quiet_server.connect().await, &turns).await;

        let meter = Meter::new();
        let metered = Arc::clone(&meter);
        let server = Server::start_on(echo(without_budgets()), move |stream| {
            Arc::clone(&metered).on(stream)
        });
        let (mut reads, mut writes) = server.connect().await.split();
        tokio::spawn(async move { while reads.discard().await {} });
        let flooding = tokio::spawn(async move { while writes.send_all(&flood).await {} });
        let mut other = quiet_server.connect().await;
        let (before, read) = (turns.so_far(), meter.bytes_read.load(Relaxed));
        let beside = usual_echo(&mut other, &turns).await;
        let taken = turns.so_far() - before;
        let read = meter.bytes_read.load(Relaxed) - read;
        flooding.abort();
        assert!(read > 100_000, "{name}: there was no flood: {read}");
        // Somebody else's message waits for as many turns as without the flood, give or take what
        // the runtime's own order of things makes of it.
        assert!(beside <= 4 * alone + 16, "{name}: {beside} turns, {alone} without");
        // And none of these turns was longer than a few reads.
        assert!(read / taken <= 64 * 1024, "{name}: {} bytes in a turn", read / taken);
    }
}

// covers: FR-04
#[tokio::test]
async fn one_turn_of_a_connection_handles_a_bounded_number_of_messages() {
    let handled = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let turns = Arc::new(Turns::count());
    let last = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let handler = service_fn({
        let (handled, most, turns) = (Arc::clone(&handled), Arc::clone(&most), Arc::clone(&turns));
        move |_: Inbound<Message, Anonymous>| {
            handled.fetch_add(1, Relaxed);
            let now = turns.so_far();
            if last.0.swap(now, Relaxed) != now {
                last.1.store(0, Relaxed);
            }
            most.fetch_max(last.1.fetch_add(1, Relaxed) + 1, Relaxed);
            async { Ok::<_, Close>(Reply::<Message>::none()) }
        }
    });
    let layer = WebSocketEndpoint::new(Identity::new(), handler).allow_anonymous();
    let server = Server::start(layer.connection(without_budgets()).unwrap());
    let mut peer = server.connect().await;
    peer.send(frame(0x82, "").repeat(50_000)).await;
    while handled.load(Relaxed) < 50_000 {
        tokio::task::yield_now().await;
    }
    // The counter's own turn comes at least once in two of the connection's.
    assert!(most.load(Relaxed) <= 2 * 32, "{most:?}");
}

// covers: DL-03
// holds: I7
#[tokio::test]
async fn a_stalled_member_does_not_delay_the_others() {
    /// The turns, usually, from a message to the last of the members that read.
    async fn usual_delivery(stalled: bool) -> usize {
        let rooms = Rooms::new();
        let server = Server::start(chat(&rooms));
        let turns = Turns::count();
        let mut members = Vec::new();
        for n in 0..99 {
            members.push(server.member(&format!("m{n}"), "r").await);
        }
        let _stalled = if stalled { Some(server.member("stalled", "r").await) } else { None };
        let mut each = Vec::new();
        for n in 0..100 {
            let before = turns.so_far();
            members[0].text(&say("r", &format!("{n:0900}"))).await;
            for member in &mut members {
                assert!(member.message().await.contains(&format!("\"{n:0900}\"")));
            }
            each.push(turns.so_far() - before);
        }
        middle(each)
    }
    let (without, with) = (usual_delivery(false).await, usual_delivery(true).await);
    assert!(with <= 2 * without + 8, "{with} turns, {without} without");
}
