//! A room that goes on without who cannot keep up, over real sockets.

use std::time::Duration;

use serde_json::Value;
use test_support::slow::{self, Frame, Peer, Server, Tokens, nonzero, say};
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    AuditEvent, ConnectionConfig, DecodeLayer, OpenRooms, Quota, RequireAuthLayer, RoomKey, Rooms,
    RoomsLayer, WebSocketEndpoint,
    room::{History, RoomsConfig, SlowMember},
    service::{self, ClientMessage, ServerMessage},
};

/// The small room service, in rooms that go on without those who are behind.
fn server(config: ConnectionConfig) -> (Server, Rooms<ServerMessage>) {
    let rooms = RoomsConfig::new()
        .slow_members(SlowMember::Skip)
        .publish_quota(Quota::per_second(u32::MAX))
        .history(History::new(nonzero(10), Duration::from_secs(60)));
    let rooms = Rooms::with(rooms);
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(Tokens))
        .layer(DecodeLayer::<ClientMessage>::json())
        .layer(RoomsLayer::new(rooms.clone(), OpenRooms));
    let endpoint =
        WebSocketEndpoint::new(messages, service_fn(service::handle)).connection(config).unwrap();
    (Server::start(endpoint), rooms)
}

/// Says so many texts, of which `listener` hears each; returns their positions.
async fn talk(speaker: &mut Peer, listener: &mut Peer, texts: usize) -> Vec<String> {
    let mut positions = Vec::new();
    for n in 0..texts {
        speaker.text(&say("live", &format!("{n:0>900}"))).await;
        for peer in [&mut *speaker, &mut *listener] {
            let chat = message(peer).await;
            assert_eq!(chat["text"], format!("{n:0>900}"), "who reads has no gap");
            positions.push(chat["at"].as_str().unwrap().to_owned());
        }
    }
    positions.dedup();
    positions
}

async fn message(peer: &mut Peer) -> Value {
    serde_json::from_str(&peer.message().await).unwrap()
}

// covers: DL-01, DL-25
// holds: I9, I7
#[tokio::test]
async fn who_reads_nothing_for_a_while_is_not_closed_and_hears_a_gap_and_the_newest() {
    let config = slow::quiet().max_outbound_bytes(nonzero(300_000));
    let (server, rooms) = server(config);
    let mut speaker = server.member("ada", "live").await;
    let mut listener = server.member("bob", "live").await;
    let mut slow = server.member("carol", "live").await;
    for round in 0..2 {
        // More than its kernel and ours take, and then more than the server holds for it.
        let positions = talk(&mut speaker, &mut listener, 1_500).await;
        let last = positions.last().unwrap();
        let (mut heard, mut gaps) = (Vec::new(), Vec::new());
        loop {
            let message = message(&mut slow).await;
            let at = message["at"].as_str().unwrap().to_owned();
            let is_last = at == *last;
            match message["type"].as_str().unwrap() {
                "chat" => heard.push(at),
                "gap" => {
                    assert_eq!(message["roomId"], "live");
                    gaps.push((heard.len(), at));
                }
                other => panic!("{other}"),
            }
            if is_last {
                break;
            }
        }
        // What is missing is missing exactly where it was told.
        let mut expected = positions.iter();
        for (nth, at) in heard.iter().enumerate() {
            let next = expected.next().unwrap();
            if next != at {
                let (_, to) =
                    gaps.iter().find(|(before, _)| *before == nth).expect("an untold gap");
                assert!(expected.by_ref().any(|it| it == at), "out of order: {at}");
                assert_eq!(number(to) + 1, number(at), "it goes on where it was said to");
            }
        }
        assert!(!gaps.is_empty() && heard.len() < positions.len(), "{round}");
    }
    // It is a member as before, and is not closed.
    speaker.text(&say("live", "still here?")).await;
    assert_eq!(message(&mut slow).await["text"], "still here?");
    assert_eq!(rooms.at(&RoomKey::new("live".parse().unwrap())).member_count().await, Ok(3));
    let records = server.audit.records();
    let closed = records.iter().filter(|it| matches!(it.event, AuditEvent::Closed(_))).count();
    assert_eq!(closed, 0);
    let skipped: Vec<_> = records
        .iter()
        .filter_map(|it| match &it.event {
            AuditEvent::Skipped(skipped) => Some((it.user.as_deref(), skipped)),
            _ => None,
        })
        .collect();
    assert!(!skipped.is_empty());
    for (user, skipped) in skipped {
        assert_eq!((user, &*skipped.room), (Some("carol"), "live"));
        assert!(skipped.bytes > 1_000, "{skipped:?}");
    }
}

fn number(position: &str) -> u64 {
    position.split_once('-').unwrap().1.parse().unwrap()
}

// covers: DL-15
#[tokio::test]
async fn who_takes_nothing_at_all_is_closed_for_that_also_there() {
    let config = slow::quiet()
        .max_outbound_bytes(nonzero(300_000))
        .write_timeout(Duration::from_millis(300))
        .close_timeout(Duration::from_millis(100));
    let (server, _) = server(config);
    let mut speaker = server.member("ada", "live").await;
    let mut listener = server.member("bob", "live").await;
    let mut dead = server.member("carol", "live").await;
    talk(&mut speaker, &mut listener, 1_500).await;
    let closed = server.audit.closed(1).await;
    assert_eq!(closed[0].rule, "write.timeout");
    while !matches!(dead.frame().await, Frame::Close(..) | Frame::End) {}
}
