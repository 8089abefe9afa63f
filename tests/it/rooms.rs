//! What the room service does not take closes with 1008, and nobody hears of it.

use test_support::slow::{self, Server, Tokens};
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    Anonymous, Authenticated, Close, Connection, DecodeLayer, HandlerResult, Inbound, Member,
    Message, OpenRooms, Reply, RequireAuthLayer, RoomKey, Rooms, RoomsLayer, WebSocketEndpoint,
    room::{History, JoinError, RoomState, RoomsConfig},
    service::{ClientMessage, Refusal, ServerMessage},
};

use super::{
    support::{TestServer, quiet, say},
    support_client::text,
};

// covers: RM-01
// holds: I2
#[tokio::test(start_paused = true)]
async fn a_message_to_somebody_elses_room_reaches_nobody() {
    let server = TestServer::rooms(quiet()).await;
    let mut inside = server.member("ada", "r2").await;
    for room in ["r2", "nowhere"] {
        let mut outside = server.member("mallory", "r1").await;
        outside.send([say(room, "hello"), say("r1", "and here")].concat()).await;
        assert_eq!(outside.assert_closed(1008).await, "not a member", "{room}");
    }
    inside.assert_silent().await;
    assert_eq!(server.probe.calls(), 0);
    assert!(
        server.probe.members("r1").await.is_empty()
            && server.probe.members("nowhere").await.is_empty()
    );
}

// covers: RM-03, RM-04, RM-05, MS-03, MS-05
#[tokio::test(start_paused = true)]
async fn a_message_that_can_be_read_in_two_ways_is_not_read_at_all() {
    let bomb = [vec![b'['; 32_000], vec![b']'; 32_000]].concat();
    let bomb = String::from_utf8(bomb).unwrap();
    let server = TestServer::rooms(quiet()).await;
    let mut witnesses = [server.member("ada", "r1").await, server.member("bob", "r2").await];
    for message in [
        r#"{"type":"chat","roomId":"r1","roomId":"r2","text":"x"}"#,
        r#"{"type":"chat","roomId":"r1","ro\u006fmId":"r2","text":"x"}"#,
        r#"{"type":"chat","type":"join","roomId":"r1","text":"x"}"#,
        r#"{"type":"chat","roomId":"r1","text":"x","from":"admin"}"#,
        r#"{"type":"chat","roomId":"r1","text":"x","userId":"admin"}"#,
        r#"{"type":"chat","roomId":"r1","text":"x","data":{"room":"r2"}}"#,
        r#"["chat","r1","x"]"#,
        r#"["join","r2"]"#,
        r#"{"type":{"join":null},"roomId":"r2"}"#,
        r#"{"type":"join","roomId":["r2"]}"#,
        r#"{"type":"join","roomId":"*"}"#,
        r#"{"type":"join","roomId":"r2\r\nPUB x"}"#,
        &bomb,
        &format!(r#"{{"type":"chat","roomId":"r1","text":"x","y":{bomb}}}"#),
        &format!(r#"{{"type":"chat","roomId":"r1","text":{bomb}}}"#),
    ] {
        let mut client = server.member("mallory", "r1").await;
        client.send(text(message)).await;
        assert_eq!(client.assert_closed(1008).await, "invalid message", "{message:.80}");
        assert_eq!((server.probe.rooms.len(), server.probe.members("r1").await.len()), (2, 1));
    }
    for witness in &mut witnesses {
        witness.assert_silent().await;
    }
    assert_eq!(server.probe.calls(), 0);
}

// covers: RM-13
// holds: I2
#[tokio::test(start_paused = true)]
async fn who_is_removed_is_told_and_keeps_its_connection_and_its_other_rooms() {
    let server = TestServer::rooms(quiet()).await;
    let mut ada = server.member("ada", "r1").await;
    let mut troll = server.member("troll", "r1").await;
    troll.send(super::support::join("r2")).await;
    troll.assert_reply("joined").await;
    let r1 = server.probe.rooms.at(&RoomKey::new("r1".parse().unwrap()));
    ada.send(say("r1", "before")).await;
    for peer in [&mut ada, &mut troll] {
        peer.assert_reply("chat").await;
    }
    assert_eq!(r1.remove("troll").await, Ok(1));
    let removed = troll.assert_reply("removed").await;
    assert_eq!(removed["roomId"], "r1");
    // What was under way is answered, and reaches nobody; nor does anything of the room reach the troll.
    troll.send([say("r1", "under way"), say("r1", "as well")].concat()).await;
    for _ in 0..2 {
        assert_eq!(troll.assert_reply("removed").await["roomId"], "r1");
    }
    ada.send(say("r1", "after")).await;
    assert_eq!(ada.assert_reply("chat").await["text"], "after");
    troll.send(say("r2", "still here")).await;
    assert_eq!(troll.assert_reply("chat").await["text"], "still here");
    // It may ask again, and is then in it as anybody else; who has left is not in it.
    troll.send(super::support::join("r1")).await;
    troll.assert_reply("joined").await;
    troll.send(text(r#"{"type":"leave","roomId":"r1"}"#)).await;
    troll.assert_reply("left").await;
    troll.send(say("r1", "hello?")).await;
    assert_eq!(troll.assert_closed(1008).await, "not a member");
    ada.assert_silent().await;
}

/// A text that begins with `!` is for the others.
async fn to_others(
    inbound: Inbound<ClientMessage, Member<String, ServerMessage>>,
) -> HandlerResult<ServerMessage> {
    let (message, member, _) = inbound.into_parts();
    let ClientMessage::Chat(chat) = message else { return Err(Close::INVALID_MESSAGE.into()) };
    let mut said = Refusal::new(if chat.text.as_str().starts_with('!') { "others" } else { "all" });
    said.request_id = Some(chat.request_id);
    let (said, room) = (ServerMessage::Error(said), member.room()?);
    match chat.text.as_str().starts_with('!') {
        true => room.broadcast_others(&said).await?,
        false => room.broadcast(&said).await?,
    };
    Ok(Reply::none())
}

// holds: I9
#[tokio::test(start_paused = true)]
async fn on_the_wire_what_is_for_the_others_is_missing_to_the_sender_alone_whoever_writes() {
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(Tokens))
        .layer(DecodeLayer::<ClientMessage>::json())
        .layer(RoomsLayer::new(Rooms::new(), OpenRooms));
    let endpoint = WebSocketEndpoint::new(messages, service_fn(to_others));
    let server = Server::start(endpoint.connection(slow::quiet()).unwrap());
    let mut sender = server.member("ada", "r").await;
    let mut other = server.member("bob", "r").await;
    for round in 0..20 {
        // One by one, or several that are read at once.
        let texts: Vec<String> =
            (0..5).map(|n| format!("{}{round}.{n}", if n % 2 == 0 { "!" } else { "" })).collect();
        for text in &texts {
            sender.text(&slow::say("r", text)).await;
        }
        for text in &texts {
            let code = if text.starts_with('!') { "others" } else { "all" };
            assert!(other.message().await.contains(code), "{text}");
        }
        for _ in texts.iter().filter(|it| !it.starts_with('!')) {
            assert!(sender.message().await.contains("all"), "{round}");
        }
    }
}

/// An endpoint that lets anybody in and says nothing by itself.
fn silent(
    rooms: &Rooms<ServerMessage>,
) -> (Server, std::sync::Arc<std::sync::Mutex<Vec<Connection>>>) {
    let opened = std::sync::Arc::<std::sync::Mutex<Vec<Connection>>>::default();
    let (kept, rooms) = (opened.clone(), rooms.clone());
    let nothing = async |_: Inbound<Message, Anonymous>| Ok::<_, Close>(Reply::none());
    let endpoint = WebSocketEndpoint::new(tower_layer::Identity::new(), service_fn(nothing))
        .allow_anonymous()
        .connection(slow::quiet())
        .unwrap()
        .on_connect(move |connection| {
            kept.lock().unwrap().push(connection.clone());
            let (lobby, connection) = (rooms.at(&lobby()), connection.clone());
            tokio::spawn(async move { lobby.join(&connection).await });
        });
    (Server::start(endpoint), opened)
}

fn lobby() -> RoomKey {
    RoomKey::new("lobby".parse().unwrap())
}

// holds: I8, I9
#[tokio::test]
async fn who_does_not_log_in_hears_the_room_that_the_server_puts_it_into() {
    let rooms = Rooms::<ServerMessage>::new();
    let (server, opened) = silent(&rooms);
    let mut peers = [server.connect().await, server.connect().await];
    for peer in &mut peers {
        assert_eq!(peer.message().await, r#"{"type":"joined","roomId":"lobby"}"#);
    }
    let said = |code: &'static str| ServerMessage::error(code);
    assert_eq!(rooms.at(&lobby()).broadcast(&said("one")).await.unwrap().members, 2);
    let [first, second] = &mut peers;
    for peer in [&mut *first, &mut *second] {
        assert!(peer.message().await.contains("one"));
    }
    let connection = opened.lock().unwrap()[0].clone();
    assert_eq!(rooms.at(&lobby()).remove_connection(&connection).await, Ok(true));
    assert_eq!(first.message().await, r#"{"type":"removed","roomId":"lobby"}"#);
    rooms.at(&lobby()).broadcast(&said("two")).await.unwrap();
    assert!(second.message().await.contains("two"));
    assert!(first.nothing_comes().await);
    // The end of the connection is the end of the membership, whoever keeps a handle.
    second.send(slow::frame(0x88, [3, 232])).await;
    second.assert_closed(1000).await;
    server.audit.closed(1).await;
    assert!(rooms.is_empty());
    let over = opened.lock().unwrap()[1].clone();
    assert_eq!(rooms.at(&lobby()).join(&over).await, Err(JoinError::Closed));
    assert!(rooms.is_empty());
}

// holds: I9
#[tokio::test]
async fn the_state_of_a_room_has_no_gap_and_nothing_twice_beside_what_is_said_meanwhile() {
    // A counter, and the position of what has changed it last: the two change together.
    type Counter = (u64, Option<tower_websocket::room::Position>);
    let history = History::new(slow::nonzero(1_000), std::time::Duration::from_secs(60));
    let rooms = Rooms::with(RoomsConfig::new().history(history));
    let counter = std::sync::Arc::new(tokio::sync::Mutex::new(Counter::default()));
    let read = counter.clone();
    let layer = RoomsLayer::new(rooms.clone(), OpenRooms).with_state(
        move |_, _: Authenticated<String>, _| {
            let read = read.clone();
            async move {
                // It takes its time.
                tokio::task::yield_now().await;
                let (count, at) = *read.lock().await;
                tokio::task::yield_now().await;
                Ok(RoomState::new([counted(count)]).at(at))
            }
        },
    );
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(Tokens))
        .layer(DecodeLayer::<ClientMessage>::json())
        .layer(layer);
    let endpoint = WebSocketEndpoint::new(messages, service_fn(tower_websocket::service::handle));
    let server = Server::start(endpoint.connection(slow::quiet()).unwrap());
    let talks = tokio::spawn({
        let (rooms, counter) = (rooms.clone(), counter.clone());
        async move {
            loop {
                let mut counter = counter.lock().await;
                let published =
                    rooms.at(&lobby()).broadcast(&counted(counter.0 + 1)).await.unwrap();
                *counter = (counter.0 + 1, published.position);
                drop(counter);
                tokio::task::yield_now().await;
            }
        }
    });
    for round in 0..50 {
        let mut peer = server.member("ada", "lobby").await;
        let mut last: Option<u64> = None;
        for _ in 0..20 {
            let message = peer.message().await;
            let count = message.split_once("count-").unwrap().1;
            let count: u64 = count.split_once('"').unwrap().0.parse().unwrap();
            assert_eq!(count, last.map_or(count, |last| last + 1), "{round}");
            last = Some(count);
        }
    }
    talks.abort();
}

/// A message that says a number.
fn counted(count: u64) -> ServerMessage {
    let mut said = Refusal::new("count");
    said.room_id = Some(format!("count-{count}").parse().unwrap());
    ServerMessage::Error(said)
}

// covers: DL-01
#[tokio::test]
async fn a_peer_that_reads_slowly_gets_the_last_value_of_each_key_and_not_all() {
    let rooms = Rooms::<ServerMessage>::new();
    let (server, opened) = silent(&rooms);
    let mut peer = server.connect().await;
    assert!(peer.message().await.contains("joined"));
    let connection = opened.lock().unwrap()[0].clone();
    // Far more than may be held for it.
    for n in 0..20_000 {
        for key in ["a", "b"] {
            let value = Message::text(format!("{key} {n} {}", "x".repeat(200)));
            connection.push_latest(key, value).unwrap();
        }
        if n % 100 == 0 {
            // The driver takes its turns meanwhile.
            tokio::task::yield_now().await;
        }
    }
    assert!(connection.backlog() < 10_000, "{}", connection.backlog());
    let mut last = [None, None];
    while last != [Some(19_999), Some(19_999)] {
        let message = peer.message().await;
        let mut words = message.split(' ');
        let key = usize::from(words.next() == Some("b"));
        let n: u32 = words.next().unwrap().parse().unwrap();
        assert!(last[key].is_none_or(|last| last < n), "an old one after a new one");
        last[key] = Some(n);
    }
    connection.push(Message::text("still open")).unwrap();
    assert_eq!(peer.message().await, "still open");
}
