//! What connections cost in memory and in work. A binary of its own: the allocator is the process's.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "the lints know test functions, not their helpers"
)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::FutureExt;
use peak_alloc::PeakAlloc;
use tower::service_fn;
use tower_layer::Identity;
use tower_websocket::{
    Anonymous, Close, Connection, ConnectionConfig, Inbound, Message, Reply, RoomKey, Rooms,
    WebSocketEndpoint, service::ServerMessage,
};

use test_support::{
    metered::Meter,
    slow::{FrozenClock, Peer, Server, chat, frame, nonzero, quiet},
    turns,
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const KIB: usize = 1024;

type Handled = Result<Reply<Message>, Close>;

fn echo(config: ConnectionConfig) -> WebSocketEndpoint {
    let echo = service_fn(async |inbound: Inbound<Message, Anonymous>| {
        Handled::Ok(Reply::one(inbound.message))
    });
    WebSocketEndpoint::new(Identity::new(), echo).allow_anonymous().connection(config).unwrap()
}

fn metered(layer: WebSocketEndpoint) -> (Server, Arc<Meter>) {
    let meter = Meter::new();
    let on = Arc::clone(&meter);
    (Server::start_on(layer, move |stream| Arc::clone(&on).on(stream)), meter)
}

/// Runs a test in its turn, with a clock that does not move by itself.
fn alone(test: impl Future<Output = ()>) {
    turns::alone(async {
        let _clock = FrozenClock::new();
        test.await;
    });
}

async fn turns() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

// covers: DL-12
#[test]
fn an_idle_member_costs_little() {
    alone(async {
        const MEMBERS: usize = 1_000;
        let server = Server::start(chat(&Rooms::new()));
        // What is there once only.
        let mut peers = vec![server.member("first", "r").await];
        peers.reserve(MEMBERS);
        let before = ALLOCATOR.current_usage();
        for n in 0..MEMBERS {
            let mut peer = server.member(&format!("user-{n}"), "r").await;
            peer.forget();
            peers.push(peer);
        }
        turns().await;
        // The client's end is in this process too.
        let each = (ALLOCATOR.current_usage() - before) / MEMBERS;
        println!("an idle member: {each} bytes");
        assert!(each < 5 * KIB, "{each}");
    });
}

// covers: DL-12
#[test]
fn memory_of_a_large_message_is_given_back_when_it_is_quiet() {
    alone(async {
        const PEERS: usize = 100;
        let config = ConnectionConfig::new().pong_timeout(Duration::from_secs(1_000));
        let server = Server::start(echo(config));
        let mut peers = Vec::new();
        for _ in 0..PEERS {
            peers.push(server.connect().await);
        }
        // Every peer has sent something small, as any has.
        for peer in &mut peers {
            peer.text("{}").await;
            peer.message().await;
            peer.forget();
        }
        let before = ALLOCATOR.current_usage();
        let large = "x".repeat(60 * KIB);
        for peer in &mut peers {
            peer.text(&large).await;
            assert_eq!(peer.message().await.len(), large.len());
            peer.forget();
        }
        drop(large);
        turns().await;
        let kept = ALLOCATOR.current_usage().saturating_sub(before) / PEERS;
        assert!(kept > 32 * KIB, "nothing was kept, so nothing is shown by its being gone: {kept}");
        // The heartbeat comes to everybody.
        for _ in 0..32 {
            tokio::time::advance(Duration::from_secs(1)).await;
            turns().await;
        }
        let left = ALLOCATOR.current_usage().saturating_sub(before) / PEERS;
        println!("after a large message: {kept} bytes, after the heartbeat: {left}");
        assert!(left < KIB, "{left}");
        // And it goes on as before.
        for peer in &mut peers {
            peer.text("{}").await;
            assert_eq!(peer.message().await, "{}");
        }
    });
}

// covers: DL-12
#[test]
fn a_heartbeat_within_a_message_takes_nothing_from_it() {
    alone(async {
        let config = ConnectionConfig::new()
            .pong_timeout(Duration::from_secs(1_000))
            .ping_interval(Duration::from_secs(1))
            .message_timeout(Duration::from_secs(1_000));
        let server = Server::start(echo(config));
        let mut peer = server.connect().await;
        let message = [frame(0x01, "abc"), frame(0x80, "defgh")].concat();
        for cut in 1..message.len() {
            // So that there is something to give back.
            peer.text(&"x".repeat(60 * KIB)).await;
            peer.message().await;
            let (first, second) = message.split_at(cut);
            peer.send(first).await;
            turns().await;
            for _ in 0..3 {
                tokio::time::advance(Duration::from_millis(700)).await;
                turns().await;
            }
            peer.send(second).await;
            assert_eq!(peer.message().await, "abcdefgh");
        }
    });
}

#[test]
fn what_a_delivery_allocates_does_not_depend_on_the_members() {
    alone(async {
        let rooms = Rooms::<ServerMessage>::new();
        let server = Server::start(chat(&rooms));
        let message = ServerMessage::error("tick");
        let mut costs = Vec::new();
        let mut members: Vec<Peer> = Vec::new();
        for count in [10, 100, 1_000] {
            while members.len() < count {
                members.push(server.member(&format!("m{}", members.len()), "r").await);
            }
            let room = rooms.at(&RoomKey::new("r".parse().unwrap()));
            // Queues get their first room.
            for _ in 0..4 {
                room.broadcast(&message).await.unwrap();
                for member in &mut members {
                    member.message().await;
                }
            }
            turns().await;
            let before = ALLOCATOR.current_usage();
            // Polled once: nobody has taken anything out of a queue when it returns.
            let published = room.broadcast(&message).now_or_never().unwrap().unwrap();
            costs.push(ALLOCATOR.current_usage().saturating_sub(before));
            assert_eq!(published.members, count);
        }
        println!("deliveries to 10, 100 and 1,000: {costs:?} bytes");
        // One message, and a walk for each lane, of which a thousand members have two.
        assert!(costs[0] == costs[1] && costs[2] < 2 * costs[0], "{costs:?}");
    });
}

// covers: DL-10
#[test]
fn what_is_queued_for_somebody_does_not_pin_what_it_was_read_into() {
    alone(async {
        const MESSAGES: usize = 1_000;
        let opened = Arc::new(Mutex::new(Vec::<Connection>::new()));
        let handled = Arc::new(AtomicUsize::new(0));
        let to_first = service_fn({
            let (opened, handled) = (Arc::clone(&opened), Arc::clone(&handled));
            move |inbound: Inbound<Message, Anonymous>| {
                handled.fetch_add(1, Relaxed);
                if inbound.message.as_text().is_some() {
                    opened.lock().unwrap()[0].push(inbound.message).unwrap();
                }
                async { Handled::Ok(Reply::none()) }
            }
        });
        let layer = WebSocketEndpoint::new(Identity::new(), to_first)
            .allow_anonymous()
            .on_connect({
                let opened = Arc::clone(&opened);
                move |connection: &Connection| opened.lock().unwrap().push(connection.clone())
            })
            .connection(quiet())
            .unwrap();
        let (server, meter) = metered(layer);
        let _deaf = server.connect().await;
        let mut peer = server.connect().await;
        turns().await;
        meter.write_at_most.store(0, Relaxed);
        // What the engine takes in advance, so that everything after it stays in the queue.
        opened.lock().unwrap()[0].push(Message::binary(vec![0; 16 * KIB])).unwrap();
        turns().await;
        let before = ALLOCATOR.current_usage();
        for _ in 0..MESSAGES {
            peer.send([frame(0x81, "x"), frame(0x82, [0; 1_000])].concat()).await;
        }
        while handled.load(Relaxed) < 2 * MESSAGES {
            tokio::task::yield_now().await;
        }
        let each = (ALLOCATOR.current_usage() - before) / MESSAGES;
        println!("a queued byte: {each} bytes");
        // An entry in the queue, and an allocation of one byte.
        assert!((16..160).contains(&each), "{each}");
    });
}

// covers: DL-18
#[test]
fn a_socket_that_takes_a_byte_at_a_time_is_never_offered_much() {
    alone(async {
        const MESSAGE: usize = 8 * KIB;
        let config = quiet().max_outbound_bytes(nonzero(16 * KIB * KIB));
        let opened = Arc::new(Mutex::new(Vec::<Connection>::new()));
        let keep = Arc::clone(&opened);
        let layer = echo(config)
            .on_connect(move |connection| keep.lock().unwrap().push(connection.clone()));
        let (server, meter) = metered(layer);
        let mut peer = server.connect().await;
        turns().await;
        meter.write_at_most.store(1, Relaxed);
        let (writes, offered) = (meter.writes.load(Relaxed), meter.bytes_offered.load(Relaxed));
        let connection = opened.lock().unwrap()[0].clone();
        // 4 MiB wait, of which 64 KiB are written in this way.
        for _ in 0..512 {
            connection.push(Message::binary(vec![b'x'; MESSAGE])).unwrap();
        }
        for _ in 0..8 {
            assert_eq!(peer.message().await.len(), MESSAGE);
        }
        let writes = meter.writes.load(Relaxed) - writes;
        let offered = meter.bytes_offered.load(Relaxed) - offered;
        assert!(writes >= 8 * MESSAGE, "{writes}");
        // What is offered is what the engine moves to the front of its buffer after each write.
        assert!(offered / writes <= 16 * KIB + MESSAGE + 64, "{} at a time", offered / writes);
    });
}

// covers: FR-20
#[test]
fn bytes_that_dribble_in_cost_a_read_each_and_no_memory() {
    alone(async {
        const MESSAGE: usize = 32 * KIB;
        let (server, meter) = metered(echo(quiet()));
        let mut peer = server.connect().await;
        turns().await;
        meter.read_at_most.store(1, Relaxed);
        let reads = meter.reads.load(Relaxed);
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        let mut bytes = 0;
        for _ in 0..8 {
            let message = frame(0x82, vec![b'x'; MESSAGE]);
            for part in message.chunks(KIB) {
                peer.send(part).await;
                bytes += part.len();
                turns().await;
            }
            assert_eq!(peer.message().await.len(), MESSAGE);
            peer.forget();
        }
        let reads = meter.reads.load(Relaxed) - reads;
        // One for each byte, and one that finds nothing now and then.
        assert!(reads < bytes + bytes / 8, "{reads} reads for {bytes} bytes");
        let peak = ALLOCATOR.peak_usage().saturating_sub(before);
        println!("dribble: {reads} reads for {bytes} bytes, {peak} at the peak");
        // The message, its echo in the engine, and what the client holds of both.
        assert!(peak < 8 * MESSAGE, "{peak}");
    });
}
