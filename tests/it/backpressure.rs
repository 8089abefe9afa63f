//! What a peer costs that reads slowly, or not at all.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::Instant;
use tower::service_fn;
use tower_layer::Identity;
use tower_websocket::{
    Anonymous, AuditEvent, Close, Connection, ConnectionConfig, Inbound, Message, Reply, Retry,
    RoomKey, Rooms, WebSocketEndpoint,
    service::{Refusal, ServerMessage},
};

use test_support::metered::Meter;
use test_support::slow::{Frame, FrozenClock, Server, chat, frame, nonzero, quiet, say};

type Handled = Result<Reply<Message>, Close>;

/// Answers each message with `size` bytes, and counts.
fn answering(size: usize, config: ConnectionConfig) -> (WebSocketEndpoint, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let handler = service_fn(move |_: Inbound<Message, Anonymous>| {
        let n = counted.fetch_add(1, Ordering::Relaxed);
        let answer = format!("{n:0size$}");
        async { Handled::Ok(Reply::one(Message::text(answer))) }
    });
    let layer = WebSocketEndpoint::new(Identity::new(), handler).allow_anonymous();
    (layer.connection(config).unwrap(), count)
}

/// An endpoint that says nothing by itself, and the handles of its connections.
fn silent(config: ConnectionConfig) -> (WebSocketEndpoint, Arc<Mutex<Vec<Connection>>>) {
    let opened = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&opened);
    let handler = service_fn(async |_: Inbound<Message, Anonymous>| Handled::Ok(Reply::none()));
    let layer = WebSocketEndpoint::new(Identity::new(), handler)
        .allow_anonymous()
        .on_connect(move |connection| keep.lock().unwrap().push(connection.clone()))
        .connection(config)
        .unwrap();
    (layer, opened)
}

fn room(name: &str) -> RoomKey {
    RoomKey::new(name.parse().unwrap())
}

/// Lets everybody else do what there is to do.
async fn turns() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Moves the clock while `heard` is waited for: a room that is held to the pace of its members goes by it.
async fn while_time_passes<T>(heard: impl Future<Output = T>) -> T {
    let mut heard = pin!(heard);
    loop {
        tokio::select! {
            biased;
            heard = &mut heard => return heard,
            () = turns() => tokio::time::advance(Duration::from_millis(1)).await,
        }
    }
}

// covers: DL-01, DL-03
// holds: I3, I7
#[tokio::test(start_paused = true)]
async fn a_member_that_never_reads_is_dropped_and_the_others_get_everything() {
    let clock = FrozenClock::new();
    const MESSAGES: usize = 10_000;
    let rooms = Rooms::new();
    let server = Server::start(chat(&rooms));
    let slow = server.member("slow", "r").await;
    let mut readers = Vec::new();
    for user in ["a", "b", "c"] {
        let mut peer = server.member(user, "r").await;
        readers.push(tokio::spawn(async move {
            for n in 0..MESSAGES {
                assert!(peer.message().await.contains(&format!("\"{n:0900}\"")), "{n}");
            }
            peer
        }));
    }
    let mut sender = server.member("sender", "r").await;
    for n in 0..MESSAGES {
        sender.text(&say("r", &format!("{n:0900}"))).await;
        let heard = while_time_passes(sender.message()).await;
        assert!(heard.contains(&format!("\"{n:0900}\"")));
    }
    let mut kept = Vec::new();
    for reader in readers {
        kept.push(reader.await.unwrap());
    }
    drop(clock);
    let closed = server.audit.closed(1).await;
    let [closed] = &closed[..] else { panic!("{closed:?}") };
    let records = server.audit.records();
    let its = records.iter().filter(|it| matches!(it.event, AuditEvent::Closed(_)));
    let users: Vec<_> = its.map(|it| it.user.as_deref()).collect();
    assert_eq!(users, [Some("slow")]);
    assert_eq!((closed.rule, closed.intended_code), ("slow_consumer", Some(1013)));
    assert!(!closed.flushed);
    assert!(closed.queued_peak <= 1024 * 1024, "{closed:?}");
    assert_eq!(rooms.at(&room("r")).member_count().await.unwrap(), 4);
    drop(slow);
}

// covers: DL-02, DL-13
#[tokio::test(start_paused = true)]
async fn a_1013_waits_behind_what_was_written_and_nothing_is_left_out_before_it() {
    let clock = FrozenClock::new();
    let (layer, opened) = silent(quiet());
    let server = Server::start(layer);
    let mut peer = server.connect().await;
    turns().await;
    let connection = opened.lock().unwrap()[0].clone();
    // Three bytes on the wire each, until the queue has had enough.
    let mut pushed = 0_u64;
    while connection.push(Message::text("x")).is_ok() {
        pushed += 1;
        if pushed.is_multiple_of(1_000) {
            turns().await;
        }
        assert!(pushed < 10_000_000);
    }
    let (messages, code) = peer.until_close().await;
    assert_eq!(code, Some(1013));
    assert!(messages.len() > 1_000);
    drop(clock);
    let closed = &server.audit.closed(1).await[0];
    assert!(closed.flushed);
    assert_eq!(closed.messages_out, messages.len() as u64);
    assert!(closed.messages_out < pushed);
}

// covers: DL-13
#[tokio::test(start_paused = true)]
async fn a_lagging_peer_sees_a_gap_only_as_the_end() {
    let _clock = FrozenClock::new();
    let (layer, opened) = silent(quiet());
    let server = Server::start(layer);
    let mut peer = server.connect().await;
    turns().await;
    let connection = opened.lock().unwrap()[0].clone();
    let mut n = 0_u32;
    while connection.push(Message::text(format!("{n:01000}"))).is_ok() {
        n += 1;
        if n.is_multiple_of(8) {
            turns().await;
        }
        // Reads, but not as fast as it is written to.
        if n.is_multiple_of(32) {
            assert_eq!(peer.message().await, format!("{:01000}", n / 32 - 1));
        }
    }
    let (rest, code) = peer.until_close().await;
    assert_eq!(code, Some(1013));
    for (message, expected) in rest.iter().zip(n / 32..) {
        assert_eq!(*message, format!("{expected:01000}"));
    }
    assert!((rest.len() as u32) < n - n / 32);
}

// covers: DL-04
#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_a_close_is_dropped_in_time() {
    for chatty in [false, true] {
        let (layer, opened) = silent(quiet().close_timeout(Duration::from_secs(5)));
        let server = Server::start(layer);
        let mut peer = server.connect().await;
        turns().await;
        opened.lock().unwrap()[0].close(Close::NORMAL);
        let began = Instant::now();
        peer.assert_closed(1000).await;
        while chatty && began.elapsed() < Duration::from_secs(4) {
            peer.send(frame(0x81, "still here")).await;
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        // The peer's socket stays open and says nothing more; that it is dropped is the server's end.
        server.audit.closed(1).await;
        assert_eq!(began.elapsed(), Duration::from_secs(5), "chatty: {chatty}");
        // Nothing holds the connection but the handles of this test: its queue takes nothing.
        assert!(opened.lock().unwrap()[0].push(Message::text("x")).is_err());
        peer.ended().await;
    }
}

// covers: DL-05
#[tokio::test(start_paused = true)]
async fn a_socket_that_takes_nothing_ends_its_connection_though_the_queue_is_short() {
    let rooms = Rooms::<ServerMessage>::new();
    let config = quiet().write_timeout(Duration::from_secs(10));
    let meter = Meter::new();
    let layer = chat(&rooms).connection(config).unwrap();
    let server = Server::start_on(layer, {
        let meter = Arc::clone(&meter);
        move |stream| Arc::clone(&meter).on(stream)
    });
    let _peer = server.member("slow", "r").await;
    let held = rooms.at(&room("r")).members().await.unwrap()[0].local().unwrap().clone();
    // As much as the kernel takes, and a little more: what is held is always short.
    loop {
        let before = meter.bytes_written.load(Ordering::Relaxed);
        held.push(Message::binary(vec![0; 16 * 1024])).unwrap();
        turns().await;
        if meter.bytes_written.load(Ordering::Relaxed) == before {
            break;
        }
    }
    let stalled = Instant::now();
    tokio::time::sleep(Duration::from_millis(9_900)).await;
    assert_eq!(rooms.at(&room("r")).member_count().await.unwrap(), 1);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(rooms.at(&room("r")).member_count().await.unwrap(), 0);
    let closed = &server.audit.closed(1).await[0];
    assert_eq!((closed.rule, closed.intended_code), ("write.timeout", Some(1013)));
    assert!(!closed.flushed);
    assert!(closed.queued_peak < 128 * 1024, "{closed:?}");
    assert!(stalled.elapsed() <= Duration::from_secs(16));
}

// covers: DL-14
#[tokio::test(start_paused = true)]
async fn a_publication_that_is_dropped_while_it_waits_has_not_happened() {
    let _clock = FrozenClock::new();
    const MESSAGES: usize = 10_000;
    let rooms = Rooms::<ServerMessage>::new();
    let server = Server::start(chat(&rooms));
    let mut members = Vec::new();
    for user in ["a", "b", "c"] {
        members.push(server.member(user, "r").await);
    }
    let lobby = rooms.at(&room("r"));
    let mut published = Vec::new();
    for n in 0..MESSAGES {
        let mut refusal = Refusal::new("numbered");
        refusal.room_id = Some(format!("n{n}").parse().unwrap());
        // Polled once, and dropped if the members have not been offered what was said before.
        if lobby.broadcast(&ServerMessage::Error(refusal)).now_or_never().is_some() {
            published.push(n);
        }
        if n == 6_000 {
            turns().await;
        }
    }
    assert!(published.len() < MESSAGES && published.contains(&6_001), "interrupted, and going on");
    for mut member in members {
        for n in &published {
            assert!(member.message().await.contains(&format!("\"n{n}\"")));
        }
        member.send(frame(0x88, [3, 232])).await;
        assert_eq!(member.until_close().await, (Vec::new(), Some(1000)));
    }
}

// covers: DL-19
#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_and_does_not_read_is_not_read_from() {
    let _clock = FrozenClock::new();
    let (layer, handled) = answering(8 * 1024, quiet());
    let server = Server::start(layer);
    let mut peer = server.connect().await;
    let small = frame(0x81, "{}");
    let sent = peer.flood(&small.repeat(64), 100_000).await;
    let first = handled.load(Ordering::Relaxed);
    // Half of what may be held for the peer, in answers of 8 KiB, and what the kernel took.
    assert!(first < 300, "{first}");
    assert!(sent / small.len() > first, "{sent}");
    // It reads again: every answer is there, in order, and the rest of what it sent is handled.
    let whole = sent / small.len();
    for n in 0..whole {
        assert_eq!(peer.message().await, format!("{n:08192}"));
    }
    assert_eq!(handled.load(Ordering::Relaxed), whole);
}

// covers: DL-19
#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_and_never_reads_is_a_slow_consumer() {
    let (layer, handled) = answering(8 * 1024, quiet());
    let server = Server::start(layer);
    let mut peer = server.connect().await;
    peer.flood(&frame(0x81, "{}").repeat(64), 100_000).await;
    let closed = &server.audit.closed(1).await[0];
    assert_eq!((closed.rule, closed.intended_code), ("write.timeout", Some(1013)));
    assert!(closed.queued_peak <= 1024 * 1024, "{closed:?}");
    assert!(handled.load(Ordering::Relaxed) < 300);
}

// covers: DL-20, DL-26
#[tokio::test(start_paused = true)]
async fn what_was_accepted_comes_before_a_close_whatever_its_reason() {
    let kicked = Close::application(4100, "kicked", Retry::Stop).unwrap();
    let closes = [Close::FORBIDDEN, Close::RATE_LIMITED, Close::NORMAL, kicked];
    let (layer, opened) = silent(quiet());
    let server = Server::start(layer);
    for (nth, close) in closes.into_iter().enumerate() {
        let mut peer = server.connect().await;
        turns().await;
        let connection = opened.lock().unwrap()[nth].clone();
        // Part of it is with the kernel when the close comes, part with the engine, and part queued.
        let said: Vec<_> = (0..100).map(|n| format!("{n:08192}")).collect();
        for message in &said {
            connection.push(Message::text(message.as_str())).unwrap();
        }
        turns().await;
        connection.close(close.clone());
        let (messages, code) = peer.until_close().await;
        assert!(messages == said, "{close}: {} of 100", messages.len());
        assert_eq!(code, close.reason().code().map(u16::from));
    }
}

// covers: DL-20
#[tokio::test(start_paused = true)]
async fn a_close_for_a_broken_rule_jumps_ahead_and_drops_the_queue() {
    let (layer, opened) = silent(quiet());
    let server = Server::start(layer);
    let mut peer = server.connect().await;
    turns().await;
    let connection = opened.lock().unwrap()[0].clone();
    for n in 0..100 {
        connection.push(Message::text(format!("{n:08192}"))).unwrap();
    }
    turns().await;
    // No mask.
    peer.send([0x81, 0]).await;
    turns().await;
    let (messages, code) = peer.until_close().await;
    assert_eq!(code, Some(1002));
    assert!(!messages.is_empty() && messages.len() < 90, "{}", messages.len());
}

// covers: DL-20
#[tokio::test(start_paused = true)]
async fn a_graceful_close_flushes_first_and_not_for_ever() {
    let (layer, opened) = silent(quiet());
    let server = Server::start(layer);
    let mut peer = server.connect().await;
    turns().await;
    let push_all = |connection: &Connection| {
        for n in 0..100 {
            connection.push(Message::text(format!("{n:08192}"))).unwrap();
        }
        connection.close(Close::GOING_AWAY);
    };
    push_all(&opened.lock().unwrap()[0]);
    let (messages, code) = peer.until_close().await;
    assert_eq!((messages.len(), code), (100, Some(1001)));
    drop(peer);
    server.audit.closed(1).await;

    let _silent = server.connect().await;
    turns().await;
    push_all(&opened.lock().unwrap()[1]);
    let began = Instant::now();
    let closed = &server.audit.closed(2).await[1];
    assert!(!closed.flushed);
    // Once for the queue and once for the close frame.
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}

// covers: FR-30
#[tokio::test(start_paused = true)]
async fn a_peer_with_much_in_flight_reads_why_it_was_closed() {
    let _clock = FrozenClock::new();
    let (layer, _) = silent(quiet());
    let server = Server::start(layer);
    let mut peer = server.connect().await;
    peer.send(frame(0x82, vec![0; 8 * 1024 * 1024])).await;
    let (messages, code) = peer.until_close().await;
    assert_eq!((messages.len(), code), (0, Some(1009)));
    assert_eq!(peer.frame().await, Frame::End);
}

#[tokio::test(start_paused = true)]
async fn the_bound_on_messages_is_one_too() {
    let config = quiet().max_outbound_messages(nonzero(10));
    let (layer, opened) = silent(config);
    let server = Server::start(layer);
    let mut peer = server.connect().await;
    turns().await;
    let connection = opened.lock().unwrap()[0].clone();
    for _ in 0..10 {
        connection.push(Message::text("")).unwrap();
    }
    assert!(connection.push(Message::text("")).is_err());
    peer.assert_closed(1013).await;
}
