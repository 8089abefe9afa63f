//! A peer that is gone is found out, and one that is only slow is left alone.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::{Instant, sleep};
use tower_websocket::{ConnectionConfig, Message};

use super::{
    support::{TestServer, auth, say},
    support_client::{PING, TEXT, TestClient, close, frame},
};

const T_PING: Duration = Duration::from_secs(30);
const T_PONG: Duration = Duration::from_secs(10);
const T_CLOSE: Duration = Duration::from_secs(5);
const NO_PONG: &str = "no pong";

fn pong(payload: &[u8]) -> Vec<u8> {
    frame(0x8a, payload)
}

// covers: DL-15
#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_is_gone_after_ping_and_pong() {
    let server = TestServer::rooms(ConnectionConfig::new()).await;
    let start = Instant::now();
    let mut client = server.member("ada", "r1").await;
    client.assert_ping().await;
    let pinged = start.elapsed();
    assert!(pinged <= T_PING, "{pinged:?}");

    assert_eq!(server.probe.members("r1").await.len(), 1);
    assert_eq!(client.assert_closed(1011).await, NO_PONG);
    assert_eq!(start.elapsed(), pinged + T_PONG);
    assert!(server.probe.members("r1").await.is_empty());
    // Nothing is heard from it; its socket goes all the same.
    let closed = server.closed(0).await;
    assert_eq!((closed.rule, closed.duration), ("heartbeat", pinged + T_PONG + T_CLOSE));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_lives_and_its_round_trip_is_known() {
    let server = TestServer::rooms(ConnectionConfig::new()).await;
    let mut client = server.member("ada", "r1").await;
    assert_eq!(server.probe.connection(0).rtt(), None);
    let mut last = None;
    for millis in [250, 0, 9_999] {
        let ping = client.assert_ping().await;
        let pinged = Instant::now();
        if let Some(last) = last.replace(pinged) {
            assert_eq!(pinged - last, T_PING);
        }
        sleep(Duration::from_millis(millis)).await;
        client.send(pong(&ping)).await;
        client.assert_silent().await;
        assert_eq!(server.probe.connection(0).rtt(), Some(Duration::from_millis(millis)));
    }
    client.send(close(1000, b"")).await;
    client.assert_closed(1000).await;
    assert_eq!(server.closed(0).await.rtt, Some(Duration::from_millis(9_999)));
}

#[tokio::test(start_paused = true)]
async fn first_pings_are_spread_over_the_interval() {
    let server = TestServer::rooms(ConnectionConfig::new()).await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(server.login("ada").await);
    }
    let start = Instant::now();
    let mut pings = tokio::task::JoinSet::new();
    for mut client in clients {
        pings.spawn(async move {
            client.assert_ping().await;
            (start.elapsed().as_secs(), client)
        });
    }
    let seconds: BTreeSet<u64> = pings.join_all().await.into_iter().map(|it| it.0).collect();
    assert!(seconds.last() <= Some(&30), "{seconds:?}");
    // 50 out of 30 hit 24 on average; to hit fewer than 10 is out of the question.
    assert!(seconds.len() >= 10, "{seconds:?}");
}

// covers: DL-16
#[tokio::test(start_paused = true)]
async fn only_the_pong_to_the_last_ping_is_a_sign_of_life() {
    type Answer = fn(ping: &[u8], before: &[u8]) -> Vec<u8>;
    let answers: [(&str, Answer); 4] = [
        ("the ping before", |_, before| pong(before)),
        ("anything", |_, _| pong(b"\x12\x34\x56\x78\x9a\xbc\xde\xf0")),
        ("less", |ping, _| pong(&ping[..7])),
        ("pings and stray pongs", |_, _| [frame(0x89, "?"), pong(b"")].concat()),
    ];
    for (name, answer) in answers {
        let server = TestServer::rooms(ConnectionConfig::new()).await;
        let mut client = server.login("ada").await;
        let first = client.assert_ping().await;
        client.send(pong(&first)).await;
        let second = client.assert_ping().await;
        assert_ne!(first, second);
        let pinged = Instant::now();
        for _ in 0..9 {
            client.send(answer(&second, &first)).await;
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(client.closed_after_replies(1011).await, NO_PONG, "{name}");
        assert_eq!(pinged.elapsed(), T_PONG, "{name}");
    }
}

// covers: DL-17
#[tokio::test(start_paused = true)]
async fn a_pong_that_is_sent_ahead_is_no_sign_of_life() {
    type Guess = fn(last: u64) -> u64;
    let guesses: [(&str, Guess); 4] =
        [("the next", |it| it + 1), ("the same", |it| it), ("none", |_| 0), ("less", |it| it - 1)];
    for (name, guess) in guesses {
        let server = TestServer::rooms(ConnectionConfig::new()).await;
        let mut client = server.login("ada").await;
        let ping = client.assert_ping().await;
        client.send(pong(&ping)).await;
        let last = u64::from_be_bytes(ping.as_slice().try_into().unwrap());
        // Before the next ping is there, and whatever it will carry.
        client.send(pong(&guess(last).to_be_bytes())).await;
        client.assert_ping().await;
        let pinged = Instant::now();
        client.send(pong(&guess(last).to_be_bytes())).await;
        assert_eq!(client.assert_closed(1011).await, NO_PONG, "{name}");
        assert_eq!(pinged.elapsed(), T_PONG, "{name}");
    }
}

// covers: DL-17
#[tokio::test(start_paused = true)]
async fn no_two_pings_carry_the_same_on_any_connection() {
    let server = TestServer::rooms(ConnectionConfig::new()).await;
    let mut seen = BTreeSet::new();
    let mut bits = [0; 64];
    for _ in 0..16 {
        let mut client = server.login("ada").await;
        for _ in 0..4 {
            let ping = client.assert_ping().await;
            client.send(pong(&ping)).await;
            let payload = u64::from_be_bytes(ping.as_slice().try_into().unwrap());
            for (bit, ones) in bits.iter_mut().enumerate() {
                *ones += payload >> bit & 1;
            }
            assert!(seen.insert(payload));
        }
    }
    // Two bits of a random id say which kind of id it is; no other is the same in all of 64.
    let constant = bits.iter().filter(|ones| [0, 64].contains(*ones)).count();
    assert!(constant <= 2, "{bits:?}");
}

// covers: DL-16
#[tokio::test(start_paused = true)]
async fn a_message_is_a_sign_of_life_too() {
    let server = TestServer::rooms(ConnectionConfig::new()).await;
    let mut client = server.login("ada").await;
    for _ in 0..3 {
        client.assert_ping().await;
        sleep(Duration::from_secs(9)).await;
        client.send_text(r#"{"type":"ping"}"#).await;
        client.assert_reply("pong").await;
    }
    // It answers for the ping before it, and for no other.
    client.assert_ping().await;
    assert_eq!(client.assert_closed(1011).await, NO_PONG);
}

// covers: DL-16
#[tokio::test(start_paused = true)]
async fn a_slow_reader_that_answers_its_pings_lives() {
    let config = ConnectionConfig::new().ping_interval(Duration::from_secs(15));
    let server = TestServer::rooms(config).await;
    let mut client = server.connect_narrow(1024).await;
    client.send(auth("good:ada")).await;
    client.assert_reply("auth_ok").await;
    for _ in 0..100 {
        server.probe.connection(0).push(Message::text("a".repeat(4096))).unwrap();
    }
    // A hundred seconds' worth, several pings among it, and then a hundred seconds of nothing else.
    let start = Instant::now();
    let (mut pings, mut messages) = (0, 0);
    while start.elapsed() < Duration::from_secs(200) {
        let frame = client.next().await.unwrap();
        match frame.opcode {
            TEXT => {
                messages += 1;
                sleep(Duration::from_secs(1)).await;
            }
            PING => {
                pings += 1;
                client.send(pong(&frame.payload)).await;
            }
            _ => panic!("{frame:?} after {:?}", start.elapsed()),
        }
    }
    assert_eq!(messages, 100);
    assert!(pings >= 7, "{pings}");
}

// covers: DL-16
#[tokio::test(start_paused = true)]
async fn a_ping_behind_a_backlog_is_measured_from_when_it_went_out() {
    // All of it takes twice as long as a pong may take.
    let config = ConnectionConfig::new().ping_interval(Duration::from_secs(1));
    let server = TestServer::rooms(config).await;
    let mut client = server.connect_narrow(1024).await;
    client.send(auth("good:ada")).await;
    client.assert_reply("auth_ok").await;
    for _ in 0..20 {
        server.probe.connection(0).push(Message::text("a".repeat(4096))).unwrap();
    }
    let mut pinged = false;
    for _ in 0..20 {
        let frame = client.next().await.unwrap();
        if frame.opcode == PING {
            // It does not answer.
            pinged = true;
            assert_eq!(client.next().await.unwrap().opcode, TEXT);
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert!(pinged);
    let drained = Instant::now();
    assert_eq!(client.assert_closed(1011).await, NO_PONG);
    // And a second for each 8,000 bytes of the 82,000 that it may not have read.
    let most = T_PONG + Duration::from_secs(10);
    assert!(drained.elapsed() <= most && drained.elapsed() >= most - Duration::from_secs(2));
}

/// A member whose handler is busy for 25 s from now on, and will get a ping meanwhile.
async fn busy(server: &TestServer) -> TestClient {
    let mut client = server.member("ada", "r1").await;
    client.send(say("r1", "sleep 25")).await;
    client
}

fn frequent_pings() -> ConnectionConfig {
    ConnectionConfig::new().ping_interval(Duration::from_secs(5))
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_stops_neither_pings_nor_deliveries() {
    let server = TestServer::rooms(frequent_pings()).await;
    let start = Instant::now();
    let mut client = busy(&server).await;
    let ping = client.assert_ping().await;
    assert!(start.elapsed() <= Duration::from_secs(5));
    // The pong is there in time; that it is read only later is no fault of the peer's.
    client.send(pong(&ping)).await;

    let mut other = server.member("bob", "r1").await;
    other.send(say("r1", "hello")).await;
    assert_eq!(client.assert_reply("chat").await["userId"], "bob");
    assert!(start.elapsed() <= Duration::from_secs(5));

    assert_eq!(client.assert_reply("chat").await["text"], "sleep 25");
    assert_eq!(start.elapsed(), Duration::from_secs(25));
    let next = client.assert_ping().await;
    assert_ne!(next, ping);
    assert!(start.elapsed() <= Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn the_time_for_a_pong_stands_still_while_a_handler_holds_up_reading() {
    let server = TestServer::rooms(frequent_pings()).await;
    let start = Instant::now();
    let mut client = busy(&server).await;
    client.assert_ping().await;
    client.assert_reply("chat").await;
    // Ping, pong, and what passed while nothing was read.
    assert_eq!(client.assert_closed(1011).await, NO_PONG);
    assert_eq!(start.elapsed(), Duration::from_secs(25) + T_PONG);
}

#[tokio::test(start_paused = true)]
async fn a_peer_without_messages_is_idle_however_it_answers() {
    let idle = Duration::from_secs(100);
    let server = TestServer::rooms(ConnectionConfig::new().idle_timeout(idle)).await;
    let mut client = server.login("ada").await;
    sleep(Duration::from_secs(5)).await;
    client.send_text(r#"{"type":"ping"}"#).await;
    let last = Instant::now();
    let frame = loop {
        let frame = client.next().await.unwrap();
        assert!(last.elapsed() <= idle, "it is not idle");
        match frame.opcode {
            PING => client.send([pong(&frame.payload), pong(b"stray")].concat()).await,
            TEXT => assert_eq!(last.elapsed(), Duration::ZERO),
            _ => break frame,
        }
    };
    assert_eq!(client.assert_was_close(&frame, 1001).await, "idle");
    assert_eq!(last.elapsed(), idle);
}
