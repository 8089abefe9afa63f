//! Peers of a server in memory.

use std::{sync::atomic::Ordering, time::Duration};

use serde_json::json;
use tower::{layer::util::Identity, service_fn};
use tower_websocket::{
    Anonymous, Close, CloseCode, CloseReason, ConnectionConfig, Inbound, Message, PeerAddr, Reply,
    WebSocketEndpoint,
    testing::{
        Received, Records, RequestBody, TestPeer, TestServer, assert_broadcast, handshake, wire,
    },
};

use super::{join, login, rooms, say};

#[tokio::test(start_paused = true)]
async fn peers_hear_replies_broadcasts_and_closes() {
    let server = TestServer::endpoint(rooms().0);
    let (mut ada, mut bob) = (server.connect("/").await, server.connect("/").await);
    for (name, peer) in [("ada", &mut ada), ("bob", &mut bob)] {
        peer.assert_reply(login(name), json!({ "type": "auth_ok", "userId": name })).await;
        peer.assert_reply(join("r"), json!({ "type": "joined", "roomId": "r" })).await;
    }
    ada.send_in_fragments(say("r", "hello"), 3);
    let hello = json!({ "type": "chat", "userId": "ada", "text": "hello" });
    assert_broadcast([&mut ada, &mut bob], hello).await;
    bob.send_in_pieces(say("elsewhere", "hello"), 2);
    bob.assert_closed(CloseCode::POLICY).await;
    ada.assert_silent(Duration::from_secs(20)).await;
    ada.close(CloseCode::NORMAL);
    ada.assert_closed(1000).await;
}

#[tokio::test(start_paused = true)]
async fn the_readme_is_right() {
    let server = TestServer::endpoint(rooms().0);
    let mut ada = server.connect("/").await;
    ada.assert_reply(login("ada"), json!({ "type": "auth_ok" })).await;
    ada.assert_reply(json!({ "type": "ping" }), json!({ "type": "pong" })).await;
    ada.send("no JSON");
    ada.assert_closed(CloseReason::InvalidMessage).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_can_be_slow_or_gone() {
    let records = Records::new();
    let config = ConnectionConfig::new()
        .max_message_size(1000.try_into().unwrap())
        .max_outbound_message_size(1000.try_into().unwrap())
        .max_outbound_bytes(8192.try_into().unwrap());
    let push = |m: Inbound<Message, Anonymous>| async move {
        let line = Message::text("x".repeat(1000));
        for _ in 0..20 {
            let _ = m.connection().push(line.clone());
        }
        Ok::<_, Close>(Reply::none())
    };
    let endpoint = WebSocketEndpoint::new(Identity::new(), service_fn(push)).allow_anonymous();
    let server = TestServer::endpoint(endpoint.connection(config).unwrap().audit(records.clone()));

    let slow = server.connect("/").await;
    slow.stop_reading();
    slow.send("go");
    server.connect("/").await.vanish();
    server.connect("/").await.reset();
    let mut half = server.connect("/").await;
    half.half_close();
    assert_eq!(half.recv().await, Received::Ended);
    drop(half);

    tokio::time::sleep(Duration::from_secs(120)).await;
    let mut rules: Vec<_> = records.all_closed().iter().map(|it| it.rule).collect();
    rules.sort_unstable();
    assert_eq!(rules, ["heartbeat", "lost", "lost", "slow_consumer"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_of_ones_own_is_refused_or_let_in() {
    let server = TestServer::new(rooms().0.layer("/ws").unwrap().into_service());
    let page = |origin| server.handshake("/ws").origin(origin).cookie("session=1");
    let refused = page("https://evil.example").send().await.unwrap_err();
    assert_eq!((refused.status().as_u16(), refused.body().is_empty()), (403, false));
    let elsewhere = server.request(handshake("/").body(()).unwrap()).await.unwrap_err();
    assert_eq!(elsewhere.status(), 404);
    page("http://localhost").connect().await;

    let addr = "192.0.2.1:1".parse().unwrap();
    server.handshake("/ws").extension(PeerAddr(addr)).connect().await;
}

// covers: HS-20
#[tokio::test(start_paused = true)]
async fn what_comes_in_the_segment_of_the_handshake_waits_for_the_101() {
    let (endpoint, calls) = rooms();
    let records = Records::new();
    let server =
        TestServer::new(endpoint.audit(records.clone()).layer("/ws").unwrap().into_service());
    let mut ada = server.connect_sending("/ws", login("ada")).await;
    ada.assert_push(json!({ "type": "auth_ok", "userId": "ada" })).await;
    // It is the first message, whenever it came.
    let mut early = server.connect_sending("/ws", join("r")).await;
    early.assert_closed(CloseReason::AuthFailed).await;

    let connected = records.connected();
    let frames = [wire::frame(0x81, login("ada").to_string()), wire::frame(0x89, "alive?")];
    for (header, value, status) in [
        ("origin", "https://evil.example", 403),
        ("sec-websocket-version", "8", 400),
        ("content-length", "5", 400),
    ] {
        let request = handshake("/ws").header(header, value).body(()).unwrap();
        let refused = server.request_sending(request, frames.concat()).await.unwrap_err();
        assert_eq!(refused.status(), status, "{header}");
    }
    let nowhere = handshake("/elsewhere").body(()).unwrap();
    let refused = server.request_sending(nowhere, frames.concat()).await.unwrap_err();
    assert_eq!(refused.status(), 404);
    assert_eq!((records.connected(), calls.load(Ordering::SeqCst)), (connected, 0));
}

#[tokio::test(start_paused = true)]
async fn a_peer_sends_whatever_it_likes_with_its_handshake() {
    let server = echo();
    // Three frames, the last cut short, and the rest of it later.
    let frames = [wire::frame(0x81, "one"), wire::frame(0x82, [2]), wire::frame(0x81, "three")];
    let bytes = frames.concat();
    let (now, later) = bytes.split_at(21);
    let request = handshake("/").body(()).unwrap();
    let mut peer = server.request_sending(request, now).await.unwrap();
    // An answer would go into the middle of the third frame.
    peer.ignore_pings();
    peer.assert_push("one").await;
    peer.assert_push(Message::binary(vec![2])).await;
    peer.assert_silent(Duration::from_secs(5)).await;
    peer.send_bytes(later);
    peer.assert_push("three").await;
    // Nothing at all is a plain handshake.
    let request = handshake("/").body(()).unwrap();
    let mut peer = server.request_sending(request, []).await.unwrap();
    peer.assert_reply("hello", "hello").await;
}

#[tokio::test(start_paused = true)]
#[should_panic = "the handshake was refused"]
async fn a_refusal_is_named_whatever_was_sent_with_the_handshake() {
    TestServer::new(rooms().0.layer("/ws").unwrap().into_service())
        .connect_sending("/", "hello")
        .await;
}

#[tokio::test]
#[should_panic = "there are no peers to hear hello"]
async fn a_broadcast_that_nobody_could_hear_shows_nothing() {
    assert_broadcast::<TestPeer>([], Message::text("hello")).await;
}

/// Sends every message back.
fn echo() -> TestServer {
    let echo = |m: Inbound<Message, Anonymous>| async { Ok::<_, Close>(m.message.into()) };
    let config = ConnectionConfig::new().max_fragments(4.try_into().unwrap());
    let endpoint = WebSocketEndpoint::new(Identity::new(), service_fn(echo));
    TestServer::endpoint(endpoint.allow_anonymous().connection(config).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_peer_answers_pings_while_nobody_waits_for_it_unless_told_not_to() {
    let server = echo();
    let (mut one, mut lazy) = (server.connect("/").await, server.connect("/").await);
    lazy.ignore_pings();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    one.assert_reply("still there?", "still there?").await;
    lazy.assert_closed(CloseReason::DeadPeer).await;
}

#[tokio::test(start_paused = true)]
async fn messages_come_in_exactly_so_many_fragments() {
    let server = echo();
    for (text, fragments) in [("", 1), ("", 3), ("ab", 4), ("hello", 4), ("hello", 2)] {
        let mut peer = server.connect("/").await;
        peer.send_in_fragments(text, fragments);
        peer.assert_push(text).await;
    }
    for text in ["", "hello", &"x".repeat(100)] {
        let mut peer = server.connect("/").await;
        peer.send_in_fragments(text, 5);
        peer.assert_closed(CloseReason::TooManyFragments).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_takes_what_it_is_told_to_and_no_more() {
    let mut peer = echo().connect("/").await;
    peer.read_only(4);
    peer.send(json!({ "n": 1 }));
    peer.assert_silent(Duration::from_secs(5)).await;
    peer.resume_reading();
    let heard: serde_json::Value = peer.recv_json().await;
    assert_eq!(heard, json!({ "n": 1 }));
    peer.send_bytes([]);
    peer.assert_reply(Message::binary(&b"\xff"[..]), &Message::binary(&b"\xff"[..])).await;
    assert_eq!(peer.response().headers()["upgrade"], "websocket");
    // Not masked: RFC 6455 section 5.1.
    peer.send_bytes([0x81, 0]);
    peer.assert_closed(1002).await;
}

#[tokio::test(start_paused = true)]
#[should_panic = "expected a push: {\"n\":2}, not the message {\"n\":1}"]
async fn a_failed_assertion_shows_what_was_heard() {
    let mut peer = echo().connect("/").await;
    peer.send(json!({ "n": 1 }));
    peer.assert_push(json!({ "n": 2 })).await;
}

#[tokio::test(start_paused = true)]
#[should_panic = "the server did not answer: error from user's Service: the database is down"]
async fn a_service_that_fails_is_named() {
    let failing = |_: http::Request<RequestBody>| async {
        Err::<http::Response<String>, _>("the database is down")
    };
    TestServer::new(service_fn(failing)).connect("/").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_peers_on_many_threads_and_the_real_clock() {
    let server = echo();
    let peers = (0..20).map(|n| {
        let server = server.clone();
        tokio::spawn(async move {
            let mut peer = server.connect("/").await;
            for message in 0..20 {
                peer.assert_reply(json!([n, message]), json!([n, message])).await;
            }
        })
    });
    for peer in peers.collect::<Vec<_>>() {
        peer.await.unwrap();
    }
}
