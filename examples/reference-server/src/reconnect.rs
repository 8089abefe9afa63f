//! What the limits allow can be reached again after a reconnect.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tower_websocket::{
    CloseReason, Rooms,
    testing::{Received, TestPeer, TestServer},
};

use crate::{
    endpoint::{ROOMS, endpoint},
    options::Options,
};

fn server() -> TestServer {
    let endpoint =
        endpoint(&Options::defaults(), "token", crate::auth::tickets(), Rooms::new(), None);
    TestServer::endpoint(endpoint.unwrap())
}

async fn login(server: &TestServer, name: &str) -> TestPeer {
    let mut peer = server.connect("/ws").await;
    let auth = json!({ "type": "auth", "token": format!("token:{name}") });
    peer.assert_reply(auth, json!({ "type": "auth_ok" })).await;
    peer
}

/// Asks for all rooms at once, as a client does that does not know of quotas.
fn ask(peer: &TestPeer, rooms: usize) {
    for room in 0..rooms {
        peer.send(json!({ "type": "join", "roomId": format!("room-{room}") }));
    }
}

async fn assert_joined(peer: &mut TestPeer, rooms: usize) {
    for room in 0..rooms {
        let joined = json!({ "type": "joined", "roomId": format!("room-{room}") });
        peer.assert_push(joined).await;
    }
}

fn chat(room: usize) -> Value {
    json!({ "type": "chat", "roomId": format!("room-{room}"), "text": "x" })
}

fn on_a_paused_clock<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    // covers: RM-19
    #[test]
    fn whoever_was_in_rooms_is_in_them_again_after_a_reconnect(
        rooms in proptest::collection::vec(1..=ROOMS.get(), 1..6),
        said in 0..30_usize,
        times in 1..4_usize,
    ) {
        on_a_paused_clock(async {
            let server = server();
            for _ in 0..times {
                let mut peers = Vec::new();
                for _ in &rooms {
                    peers.push(login(&server, "ada").await);
                }
                for (peer, rooms) in peers.iter().zip(&rooms) {
                    ask(peer, *rooms);
                }
                for (peer, rooms) in peers.iter_mut().zip(&rooms) {
                    assert_joined(peer, *rooms).await;
                }
                // What was written meanwhile goes out at once, as the quota of messages allows.
                let peer = peers.last_mut().unwrap();
                for _ in 0..said {
                    peer.send(chat(0));
                }
                for _ in 0..said {
                    peer.assert_push(json!({ "type": "chat", "userId": "ada" })).await;
                }
                // In which the user's own quota is full again.
                tokio::time::sleep(Duration::from_secs(2)).await;
                peers.into_iter().for_each(TestPeer::reset);
            }
        });
    }
}

// covers: RM-19
#[tokio::test(start_paused = true)]
async fn many_connections_of_a_user_wait_for_their_rooms_and_none_is_closed() {
    let server = server();
    let mut peers = Vec::new();
    // As many as a user's share of all rooms is enough for.
    for _ in 0..20 {
        peers.push(login(&server, "ada").await);
    }
    for peer in &peers {
        ask(peer, ROOMS.get());
    }
    for peer in &mut peers {
        assert_joined(peer, ROOMS.get()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn joins_that_go_on_for_ever_are_too_fast_like_everything_else() {
    let server = server();
    let mut peer = login(&server, "ada").await;
    ask(&peer, 1000);
    assert_joined(&mut peer, ROOMS.get()).await;
    // Over the hundred it is told so, until the quota of all that comes is used up.
    let closed = loop {
        match peer.recv().await {
            Received::Message(_) => {}
            other => break other,
        }
    };
    assert!(matches!(&closed, Received::Closed { code: Some(1008), .. }), "{closed:?}");
}

// covers: MS-19
#[tokio::test(start_paused = true)]
async fn one_message_more_than_the_burst_closes_whatever_was_joined() {
    for (name, message) in [("chat", chat(0)), ("ping", json!({ "type": "ping" }))] {
        let server = server();
        let mut peer = login(&server, name).await;
        ask(&peer, ROOMS.get());
        assert_joined(&mut peer, ROOMS.get()).await;
        for _ in 0..40 {
            peer.send(message.clone());
        }
        for _ in 0..40 {
            let heard: Value = peer.recv_json().await;
            assert!(heard["type"] == "chat" || heard["type"] == "pong", "{heard}");
        }
        peer.send(message);
        peer.assert_closed(CloseReason::RateLimited).await;
    }
}
