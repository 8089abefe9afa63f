//! What the room service does not take closes with 1008, and nobody hears of it.

use test_support::slow::{self, Server, Tokens};
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    Close, DecodeLayer, HandlerResult, Inbound, Member, OpenRooms, Reply, RequireAuthLayer, Rooms,
    RoomsLayer, WebSocketEndpoint,
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
