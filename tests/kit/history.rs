//! Who comes back to a room gets what it missed, all of it, or is told that it does not.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{advance, sleep};
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    ConnectionConfig, DecodeLayer, OpenRooms, RequireAuthLayer, RoomKey, Rooms, RoomsLayer,
    WebSocketEndpoint,
    room::{History, Position, RoomsConfig},
    service::{self, ClientMessage, ServerMessage},
    testing::{TestPeer, TestServer},
};

use super::{Tokens, User, login, say};

const KEPT: usize = 10;
const TTL: Duration = Duration::from_secs(60);

fn rooms() -> Rooms<ServerMessage> {
    Rooms::with(RoomsConfig::new().history(History::new(KEPT.try_into().unwrap(), TTL)))
}

fn server(rooms: &Rooms<ServerMessage>, config: ConnectionConfig) -> TestServer {
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(Tokens))
        .layer(DecodeLayer::<ClientMessage>::json())
        .layer(RoomsLayer::new(rooms.clone(), OpenRooms));
    let endpoint = WebSocketEndpoint::new(messages, service_fn(service::handle::<User, ()>));
    TestServer::endpoint(endpoint.connection(config).expect("bounds that work"))
}

/// A peer that joins the lobby, and what it is told.
async fn enter(server: &TestServer, user: &str, since: Option<&str>) -> (TestPeer, Value) {
    let mut peer = server.connect("/").await;
    peer.send(login(user));
    let _: Value = peer.recv_json().await;
    let mut join = json!({ "type": "join", "roomId": "lobby" });
    if let Some(since) = since {
        join["since"] = since.into();
    }
    peer.send(join);
    let joined = peer.recv_json().await;
    (peer, joined)
}

/// Says so many texts and hears them; returns the position of each.
async fn talk(peer: &mut TestPeer, texts: usize) -> Vec<String> {
    let mut positions = Vec::new();
    for n in 0..texts {
        peer.send(say("lobby", &format!("{n}")));
        let chat: Value = peer.recv_json().await;
        assert_eq!(chat["text"], format!("{n}"));
        positions.push(at(&chat));
    }
    positions
}

fn at(message: &Value) -> String {
    let at = message["at"].as_str().expect("a position").to_owned();
    assert!(at.parse::<Position>().is_ok(), "{at}");
    at
}

async fn hear(peer: &mut TestPeer, count: usize) -> Vec<String> {
    let mut positions = Vec::new();
    for _ in 0..count {
        positions.push(at(&peer.recv_json::<Value>().await));
    }
    positions
}

// holds: I9, I10
#[tokio::test(start_paused = true)]
async fn who_comes_back_gets_exactly_what_it_missed_and_then_what_comes() {
    let server = server(&rooms(), ConnectionConfig::new());
    let (mut speaker, _) = enter(&server, "speaker", None).await;
    for missed in [0, 1, KEPT - 1, KEPT] {
        let (mut peer, joined) = enter(&server, "peer", None).await;
        assert_eq!(joined.get("recovered"), None);
        let heard = talk(&mut speaker, 3).await;
        assert_eq!(hear(&mut peer, 3).await, heard);
        peer.vanish();
        let expected = talk(&mut speaker, missed).await;
        let (mut peer, joined) = enter(&server, "peer", Some(&heard[2])).await;
        assert_eq!(joined["recovered"], true, "{missed}");
        assert_eq!(at(&joined), *expected.last().unwrap_or(&heard[2]));
        let later = talk(&mut speaker, 2).await;
        assert_eq!(hear(&mut peer, missed + 2).await, [expected, later].concat());
    }
}

// holds: I10
#[tokio::test(start_paused = true)]
async fn what_is_not_kept_whole_is_not_given_in_part() {
    let server = server(&rooms(), ConnectionConfig::new());
    let (mut speaker, _) = enter(&server, "speaker", None).await;
    let positions = talk(&mut speaker, 2 * KEPT).await;
    let (epoch, _) = positions[0].split_once('-').unwrap();
    let mut last = positions.last().unwrap().clone();
    for since in [
        // One more than is kept; more than was ever said; another log.
        positions[KEPT - 2].clone(),
        format!("{epoch}-{}", 10 * KEPT),
        last.replace(epoch, "00000000"),
    ] {
        let (mut peer, joined) = enter(&server, "peer", Some(&since)).await;
        assert_eq!((&joined["recovered"], at(&joined)), (&json!(false), last.clone()), "{since}");
        let later = talk(&mut speaker, 1).await;
        assert_eq!(hear(&mut peer, 1).await, later, "nothing is replayed");
        last.clone_from(&later[0]);
    }
    // Too long ago.
    let positions = talk(&mut speaker, 2).await;
    advance(TTL).await;
    let (_, joined) = enter(&server, "peer", Some(&positions[0])).await;
    assert_eq!(joined["recovered"], false);
    let (_, joined) = enter(&server, "peer", Some(&positions[1])).await;
    assert_eq!(joined["recovered"], true, "there is nothing to give");
}

// holds: I10
#[tokio::test(start_paused = true)]
async fn what_is_no_position_is_an_invalid_message() {
    let server = server(&rooms(), ConnectionConfig::new());
    for since in ["", "1", "abcdefgh-", "abcdefg-1", "abcdefgh-12345678901234567", "äbcdefg-1"] {
        let mut peer = server.connect("/").await;
        peer.send(login("peer"));
        let _: Value = peer.recv_json().await;
        peer.send(json!({ "type": "join", "roomId": "lobby", "since": since }));
        peer.assert_closed(1008).await;
    }
}

// holds: I10
#[tokio::test(start_paused = true)]
async fn nobody_is_given_what_was_said_while_it_was_thrown_out() {
    let rooms = rooms();
    let server = server(&rooms, ConnectionConfig::new());
    let lobby = rooms.at(&RoomKey::new("lobby".parse().unwrap()));
    let (mut speaker, _) = enter(&server, "speaker", None).await;
    let (mut peer, _) = enter(&server, "peer", None).await;
    let positions = talk(&mut speaker, 1).await;
    assert_eq!(hear(&mut peer, 1).await, positions);
    assert_eq!(lobby.remove("peer").await.unwrap(), 1);
    let secret = talk(&mut speaker, 2).await;
    // From before, and from a place in what it has not heard.
    for since in [&positions[0], &secret[0]] {
        let (mut peer, joined) = enter(&server, "peer", Some(since)).await;
        assert_eq!(joined["recovered"], false, "{since}");
        let later = talk(&mut speaker, 1).await;
        assert_eq!(hear(&mut peer, 1).await, later);
        peer.vanish();
        if since == &secret[0] {
            // It was let in again: from there on it may come back.
            let missed = talk(&mut speaker, 1).await;
            let (mut peer, joined) = enter(&server, "peer", Some(&later[0])).await;
            assert_eq!(joined["recovered"], true);
            assert_eq!(hear(&mut peer, 1).await, missed);
        }
    }
}

// holds: I10
#[tokio::test(start_paused = true)]
async fn nobody_is_given_it_either_when_more_were_thrown_out_than_are_remembered() {
    let rooms = rooms();
    let server = server(&rooms, ConnectionConfig::new());
    let lobby = rooms.at(&RoomKey::new("lobby".parse().unwrap()));
    let (mut speaker, _) = enter(&server, "speaker", None).await;
    let (mut peer, _) = enter(&server, "peer", None).await;
    let positions = talk(&mut speaker, 2).await;
    assert_eq!(hear(&mut peer, 2).await, positions);
    assert_eq!(lobby.remove("peer").await.unwrap(), 1);
    for n in 0..200 {
        lobby.remove(&format!("troll-{n}")).await.unwrap();
    }
    let secret = talk(&mut speaker, 2).await;
    let (epoch, _) = positions[1].split_once('-').unwrap();
    let (_, number) = secret[0].split_once('-').unwrap();
    // By what it was told, also with a number that came later.
    for since in [positions[1].clone(), format!("{epoch}-{number}")] {
        let (_, joined) = enter(&server, "peer", Some(&since)).await;
        assert_eq!(joined["recovered"], false, "{since}");
    }
    // Who was there all the time comes back as ever.
    let (mut listener, joined) = enter(&server, "listener", Some(&secret[0])).await;
    assert_eq!(joined["recovered"], true);
    assert_eq!(hear(&mut listener, 1).await, secret[1..]);
}

// holds: I10
#[tokio::test(start_paused = true)]
async fn a_room_that_everybody_has_left_is_kept_for_its_time_and_then_is_another() {
    let rooms = rooms();
    let server = server(&rooms, ConnectionConfig::new());
    let (mut peer, _) = enter(&server, "peer", None).await;
    let positions = talk(&mut peer, 3).await;
    peer.reset();
    sleep(TTL / 2).await;
    let (mut peer, joined) = enter(&server, "peer", Some(&positions[0])).await;
    assert_eq!(joined["recovered"], true);
    assert_eq!(hear(&mut peer, 2).await, positions[1..]);
    peer.reset();
    sleep(TTL + Duration::from_secs(1)).await;
    let (_, joined) = enter(&server, "peer", Some(&positions[2])).await;
    assert_eq!(joined["recovered"], false);
    assert_ne!(at(&joined).split_once('-'), positions[2].split_once('-'));
}

// holds: I10
#[tokio::test(start_paused = true)]
async fn what_was_missed_is_no_more_than_half_of_what_may_be_held() {
    let size = |bytes: usize| bytes.try_into().unwrap();
    let small = ConnectionConfig::new()
        .max_message_size(size(4 * 1024))
        .max_outbound_message_size(size(6 * 1024))
        .max_outbound_bytes(size(14 * 1024));
    let rooms = rooms();
    let (roomy, small) = (server(&rooms, ConnectionConfig::new()), server(&rooms, small));
    let (mut speaker, joined) = enter(&roomy, "speaker", None).await;
    let start = at(&joined);
    let mut last = start.clone();
    for _ in 0..4 {
        speaker.send(say("lobby", &"€".repeat(900)));
        last = at(&speaker.recv_json::<Value>().await);
    }
    let (_, joined) = enter(&small, "peer", Some(&start)).await;
    assert_eq!(joined["recovered"], false, "11 KiB are more than half of 14");
    let (mut peer, joined) = enter(&roomy, "peer", Some(&start)).await;
    assert_eq!(joined["recovered"], true);
    assert_eq!(hear(&mut peer, 4).await.last(), Some(&last));
}
