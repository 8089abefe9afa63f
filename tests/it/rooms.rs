//! What the room service does not take closes with 1008, and nobody hears of it.

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
