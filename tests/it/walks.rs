//! Rooms write to the sockets of their members, and so do the members' drivers: on several threads, into sockets
//! that take what they like.

use serde_json::Value;
use test_support::slow::{self, Frame, Peer, Server, Tokens, frame, nonzero, say};
use tokio::task::JoinSet;
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    ConnectionConfig, DecodeLayer, MemoryBudget, OpenRooms, Quota, RequireAuthLayer, Rooms,
    RoomsLayer, WebSocketEndpoint,
    room::RoomsConfig,
    service::{self, ClientMessage},
};

fn server(config: ConnectionConfig, budget: &MemoryBudget) -> Server {
    let rooms = Rooms::with(RoomsConfig::new().publish_quota(Quota::per_second(u32::MAX)));
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(Tokens))
        .layer(DecodeLayer::<ClientMessage>::json())
        .layer(RoomsLayer::new(rooms, OpenRooms));
    let endpoint = WebSocketEndpoint::new(messages, service_fn(service::handle))
        .connection(config)
        .unwrap()
        .memory_budget(budget.clone());
    Server::start(endpoint)
}

/// The number that the next message says; pings, pongs and welcomes are passed over.
async fn number(peer: &mut Peer) -> usize {
    loop {
        let message: Value = serde_json::from_str(&peer.message().await).unwrap();
        if message["type"] == "chat" {
            return message["text"].as_str().unwrap().trim_start_matches('x').parse().unwrap();
        }
    }
}

fn text(n: usize, length: usize) -> String {
    let number = format!("{n}");
    "x".repeat(length - number.len()) + &number
}

/// Hears `count` messages, in order and each once.
async fn hear(peer: &mut Peer, count: usize) {
    for n in 0..count {
        assert_eq!(number(peer).await, n);
    }
}

// covers: DL-01, RM-02
// holds: I7, I9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_two_lanes_hear_everything_once_however_they_read_and_write() {
    const MEMBERS: usize = 560;
    const SAID: usize = 60;
    let budget = MemoryBudget::new(nonzero(1 << 30));
    let server = server(slow::quiet(), &budget);
    let mut speaker = server.member("ada", "hall").await;
    let mut members = JoinSet::new();
    let mut late = Vec::new();
    for nth in 0..MEMBERS {
        let mut peer = server.member(&format!("user-{nth}"), "hall").await;
        match nth % 4 {
            // What its kernel takes is not a whole number of frames.
            0 => late.push(peer),
            1 => drop(members.spawn(async move { hear(&mut peer, SAID).await })),
            // Its own driver writes between the walks.
            2 => drop(members.spawn(async move {
                for n in 0..SAID {
                    peer.send(frame(0x89, format!("ping {n}"))).await;
                    assert_eq!(number(&mut peer).await, n);
                }
            })),
            _ => drop(members.spawn(async move {
                peer.read_slowly(400_000);
                hear(&mut peer, SAID).await;
            })),
        }
    }
    for n in 0..SAID {
        speaker.text(&say("hall", &text(n, 200 + 13 * n))).await;
        if n % 8 == 0 {
            assert_eq!(number(&mut speaker).await, n);
        } else {
            speaker.send(frame(0x89, "and between")).await;
            assert_eq!(number(&mut speaker).await, n);
        }
    }
    while let Some(member) = members.join_next().await {
        member.unwrap();
    }
    // Together: into a small window the kernel sends now and then.
    let mut readers = JoinSet::new();
    for mut peer in late {
        readers.spawn(async move {
            hear(&mut peer, SAID).await;
            peer
        });
    }
    let mut late = readers.join_all().await;
    // Everybody has everything: nothing is kept.
    late[0].text(&say("hall", "0")).await;
    assert_eq!(number(&mut late[1]).await, 0);
    assert!(budget.used() < 256 * 1024, "{}", budget.used());
}

// covers: DL-01, DL-22
// holds: I7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ninety_members_that_read_nothing_hold_one_log_and_nobody_up() {
    const DEAF: usize = 90;
    const SAID: usize = 300;
    let budget = MemoryBudget::new(nonzero(1 << 30));
    let config = slow::quiet().max_outbound_bytes(nonzero(400_000));
    let server = server(config, &budget);
    let mut speaker = server.member("ada", "hall").await;
    let mut listeners = Vec::new();
    for nth in 0..9 {
        listeners.push(server.member(&format!("user-{nth}"), "hall").await);
    }
    let mut deaf = Vec::new();
    for nth in 0..DEAF {
        deaf.push(server.member(&format!("deaf-{nth}"), "hall").await);
    }
    let before = budget.used();
    let mut said = 0;
    let mut talk = async |count: usize| {
        for n in said..said + count {
            speaker.text(&say("hall", &text(n, 1_000))).await;
            assert_eq!(number(&mut speaker).await, n);
            for listener in &mut listeners {
                assert_eq!(number(listener).await, n);
            }
        }
        said += count;
    };
    // Below the bound of each, as the kernel takes some of it.
    talk(SAID).await;
    let held = budget.used() - before;
    let log = SAID * 1_300;
    assert!(held > log / 2, "they lack much of it: {held}");
    assert!(held < 2 * log, "{DEAF} members hold {held} bytes, a log is {log}");
    // And above it: they are let go, and those who read hear nothing of that.
    talk(SAID).await;
    server.audit.closed(DEAF).await;
    for peer in &mut deaf {
        let mut next = 0;
        loop {
            match peer.frame().await {
                Frame::Data(data) => {
                    let message: Value = serde_json::from_slice(&data).unwrap();
                    let text = message["text"].as_str().unwrap().trim_start_matches('x');
                    assert_eq!(text.parse::<usize>().unwrap(), next, "no gap before the end");
                    next += 1;
                }
                Frame::Close(code, _) => {
                    assert_eq!(code, Some(1013));
                    break;
                }
                Frame::End => break,
                Frame::Ping(_) | Frame::Pong(_) => {}
            }
        }
    }
    talk(1).await;
    let left = budget.used().saturating_sub(before);
    assert!(left < 64 * 1024, "{left} bytes are kept for nobody");
}
