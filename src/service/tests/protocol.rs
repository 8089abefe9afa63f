use serde_json::{Value, json};

use super::*;
use crate::{
    layers::{Decode, Encode, Json},
    message::Message,
    room::tests::{Events, User, connect},
    service::credentials,
};

pub(crate) fn decode(text: &str) -> Option<ClientMessage> {
    let ours: Option<ClientMessage> = Json::default().decode(&Message::text(text)).ok();
    // Whatever bounds the structure first, the types themselves must be as strict.
    let alone = serde_json::from_str::<ClientMessage>(text);
    assert_eq!(ours.is_some(), alone.is_ok(), "{text}");
    ours
}

pub(crate) fn encode(message: &ServerMessage) -> Value {
    let message = Json::default().encode(message).unwrap();
    serde_json::from_str(message.as_text().unwrap()).unwrap()
}

#[test]
fn each_message_of_the_table_is_read() {
    let join = decode(r#"{"type":"join","roomId":"r1"}"#);
    assert!(matches!(join, Some(ClientMessage::Join(it)) if it.room_id.as_str() == "r1"));
    let leave = decode(r#" {"roomId":"r1","type":"leave"} "#);
    assert!(matches!(leave, Some(ClientMessage::Leave(it)) if it.room_id.as_str() == "r1"));
    assert_eq!(decode(r#"{"type":"p\u0069ng"}"#), Some(ClientMessage::Ping));
    let chat = decode(r#"{"type":"chat","roomId":"r1","requestId":"q","text":"hi \"you\""}"#);
    let Some(ClientMessage::Chat(Chat { room_id, request_id, text })) = chat else { panic!() };
    assert_eq!(
        (room_id.as_str(), &*request_id.to_string(), text.as_str()),
        ("r1", "q", "hi \"you\"")
    );
}

// covers: MS-14, RM-03
#[test]
fn a_field_that_the_type_does_not_have_is_refused() {
    for text in [
        r#"{"type":"join","roomId":"a","admin":true}"#,
        r#"{"type":"join","data":{"room":"a","admin":true}}"#,
        r#"{"type":"leave","roomId":"a","admin":true}"#,
        r#"{"type":"leave","admin":true}"#,
        r#"{"type":"ping","admin":true}"#,
        r#"{"type":"ping","roomId":"a"}"#,
        r#"{"type":"ping","roomId":null}"#,
        r#"{"type":"ping","requestId":1}"#,
        r#"{"type":"join","roomId":"a","requestId":"q"}"#,
        r#"{"type":"join","roomId":"a","requestId":null}"#,
        r#"{"type":"join","roomId":"a","text":"x"}"#,
        r#"{"type":"leave","roomId":"a","text":null}"#,
        r#"{"type":"chat","roomId":"a","text":"x","from":"admin"}"#,
        r#"{"type":"chat","roomId":"a","text":"x","userId":"admin"}"#,
        r#"{"type":"chat","roomId":"a","text":"x","user":{"id":"admin"}}"#,
        r#"{"type":"chat","roomId":"a","text":"x","sender_id":1}"#,
        r#"{"type":"chat","roomId":"a","text":"x","room_id":"b"}"#,
        r#"{"type":"chat","roomId":"a","text":"x","sentAt":"2000-01-01T00:00:00Z"}"#,
        r#"{"type":"chat","roomId":"a","text":"x","data":{"room":"r2"}}"#,
    ] {
        assert_eq!(decode(text), None, "{text}");
    }
}

// covers: RM-05
#[test]
fn a_doubled_key_is_refused_in_whatever_spelling() {
    for text in [
        r#"{"type":"chat","type":"join","roomId":"a"}"#,
        r#"{"type":"chat","roomId":"r1","roomId":"r2","text":"x"}"#,
        r#"{"type":"chat","roomId":"r1","ro\u006fmId":"r2","text":"x"}"#,
        r#"{"type":"chat","roomId":"r1","requestId":1,"requestId":"q","text":"x"}"#,
        r#"{"type":"chat","roomId":"r1","text":"x","text":"x"}"#,
    ] {
        assert_eq!(decode(text), None, "{text}");
    }
}

// covers: MS-05, MS-12, MS-13
#[test]
fn what_is_not_one_of_the_messages_is_refused() {
    for text in [
        "",
        " ",
        "nul",
        "{}",
        "[]",
        "1",
        "null",
        r#""ping""#,
        "{'type':'ping'}",
        r#"{"type":"ping",}"#,
        r#"{"type":"ping"}{}"#,
        r#"{"type":"ping"}x"#,
        "{\"type\":\"ping\"}\0",
        "\u{feff}{\"type\":\"ping\"}",
        r#"["join","a"]"#,
        r#"["ping"]"#,
        r#"["chat","r1","q","x"]"#,
        r#"{"type":{"ping":null}}"#,
        r#"{"type":["ping"]}"#,
        r#"{"type":null}"#,
        r#"{"type":1}"#,
        r#"{"type":"x"}"#,
        r#"{"type":"PING"}"#,
        r#"{"type":"auth","token":"t"}"#,
        r#"{"roomId":"a"}"#,
        r#"{"type":"join"}"#,
        r#"{"type":"join","roomId":null}"#,
        r#"{"type":"join","roomId":["a"]}"#,
        r#"{"type":"join","roomId":1}"#,
        r#"{"type":"chat","roomId":"a"}"#,
        r#"{"type":"chat","text":"x"}"#,
        r#"{"type":"chat","roomId":"a","text":null}"#,
        r#"{"type":"chat","roomId":"a","text":["x"]}"#,
        r#"{"type":"chat","roomId":"a","text":""}"#,
    ] {
        assert_eq!(decode(text), None, "{text}");
    }
    assert!(Decode::<ClientMessage>::decode(&Json::default(), &Message::binary("{}")).is_err());
}

// covers: MS-16, RM-04
#[test]
fn lone_surrogates_and_odd_identifiers_are_refused() {
    for text in [
        r#"{"type":"chat","roomId":"a","text":"\ud800"}"#,
        r#"{"type":"chat","roomId":"a","text":"\udc00x"}"#,
        r#"{"type":"chat","roomId":"a","requestId":"\ud800","text":"x"}"#,
        r#"{"type":"chat","roomId":"a","requestId":["\ud800"],"text":"x"}"#,
        r#"{"type":"chat","roomId":"a","requestId":{"\ud800":1},"text":"x"}"#,
        r#"{"type":"chat","roomId":"a","requestId":{"x":[["\ud800"]]},"text":"x"}"#,
        r#"{"type":"\ud800"}"#,
        r#"{"type":"join","roomId":"\ud800"}"#,
        r#"{"type":"join","roomId":"a\u0000b"}"#,
        r#"{"type":"join","roomId":"\u001b[31m"}"#,
        r#"{"type":"join","roomId":"\u202e"}"#,
        r#"{"type":"join","roomId":"\u2028"}"#,
        "{\"type\":\"join\",\"roomId\":\"a\nb\"}",
        "{\"type\":\"chat\",\"roomId\":\"a\",\"text\":\"a\nb\"}",
        r#"{"type":"join","roomId":"../a"}"#,
        r#"{"type":"join","roomId":"*"}"#,
        r#"{"type":"join","roomId":""}"#,
    ] {
        assert_eq!(decode(text), None, "{text}");
    }
    assert!(decode(r#"{"type":"chat","roomId":"a","text":"\ud83d\ude00 \u0000"}"#).is_some());
}

#[test]
fn a_text_is_measured_as_a_browser_measures_it() {
    for (what, text, fits) in [
        ("1,000 letters", "x".repeat(1000), true),
        ("1,001 letters", "x".repeat(1001), false),
        ("1,000 units of two bytes", "\u{e9}".repeat(1000), true),
        ("1,000 units of three bytes", "\u{20ac}".repeat(1000), true),
        ("1,001 units of three bytes", "\u{20ac}".repeat(1001), false),
        ("500 surrogate pairs", "\u{1f600}".repeat(500), true),
        ("501 surrogate pairs", "\u{1f600}".repeat(501), false),
        ("500 pairs and a letter", format!("{}x", "\u{1f600}".repeat(500)), false),
        ("60 KB", "x".repeat(60_000), false),
    ] {
        let chat = json!({"type": "chat", "roomId": "r1", "text": text}).to_string();
        assert_eq!(decode(&chat).is_some(), fits, "{what}");
        assert_eq!(ChatText::new(&text).is_ok(), fits, "{what}");
    }
}

#[test]
fn a_request_id_is_cut_or_made() {
    let id = |request_id: Value| {
        let chat = json!({"type": "chat", "roomId": "r1", "requestId": request_id, "text": "x"});
        match decode(&chat.to_string()) {
            Some(ClientMessage::Chat(Chat { request_id, .. })) => request_id.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(id(json!("q")), "q");
    assert_eq!(id(json!("")), "");
    assert_eq!(id(json!("x".repeat(100))), "x".repeat(100));
    assert_eq!(id(json!("x".repeat(101))), "x".repeat(100));
    assert_eq!(id(json!("\u{1f600}".repeat(101))), "\u{1f600}".repeat(100));
    for other in
        [json!(1), json!(-1), json!(1.5), json!(null), json!(true), json!([1]), json!({"a": {}})]
    {
        assert!(uuid::Uuid::parse_str(&id(other)).is_ok());
    }
    let Some(ClientMessage::Chat(Chat { request_id, .. })) =
        decode(r#"{"type":"chat","roomId":"r1","text":"x"}"#)
    else {
        panic!()
    };
    assert!(uuid::Uuid::parse_str(&request_id.to_string()).is_ok());
}

// covers: MS-18
// holds: I6
#[test]
fn nothing_of_a_refused_message_is_in_the_error() {
    for text in [
        r#"{"type":"SECRET"}"#.to_owned(),
        r#"{"SECRETKEY":1}"#.to_owned(),
        r#"{"type":"join","roomId":"\u001bSECRET"}"#.to_owned(),
        r#"{"type":"join","roomId":{"SECRET":1}}"#.to_owned(),
        format!(r#"{{"type":"{}"}}"#, "SECRET".repeat(1000)),
    ] {
        let error = serde_json::from_str::<ClientMessage>(&text).unwrap_err().to_string();
        assert!(!error.contains("SECRET") && error.len() < 60, "{error}");
    }
}

// covers: LG-15
#[test]
fn a_refusal_says_which_field_broke_which_rule() {
    use crate::layers::Fault::{
        InvalidValue, Missing, NotAnObject, Surrogate, UnknownField, UnknownVariant, WrongType,
    };
    let long = "x".repeat(1_001);
    let types = Some("none of chat, join, leave, ping");
    let misplaced = Some("not a field of this type of message");
    for (text, field, fault, constraint) in [
        (r#"{"type":"join"}"#, Some("roomId"), Missing, None),
        (r#"{"type":"chat","roomId":"a"}"#, Some("text"), Missing, None),
        ("{}", Some("type"), Missing, None),
        (r#"{"type":"auth","token":"t"}"#, Some("type"), UnknownVariant, types),
        (r#"{"type":1}"#, Some("type"), WrongType, None),
        (r#"{"type":{"join":null}}"#, Some("type"), WrongType, None),
        (r#"{"type":"join","roomId":1}"#, Some("roomId"), WrongType, None),
        (r#"{"type":"join","roomId":null}"#, Some("roomId"), WrongType, None),
        (r#"{"type":"join","roomId":""}"#, Some("roomId"), InvalidValue, Some("empty")),
        (
            r#"{"type":"join","roomId":"a room"}"#,
            Some("roomId"),
            InvalidValue,
            Some("a character outside of A-Z a-z 0-9 : _ -"),
        ),
        (
            &format!(r#"{{"type":"join","roomId":"{}"}}"#, "x".repeat(65)),
            Some("roomId"),
            InvalidValue,
            Some("longer than 64 characters"),
        ),
        (r#"{"type":"chat","roomId":"a","text":""}"#, Some("text"), InvalidValue, Some("empty")),
        (
            &format!(r#"{{"type":"chat","roomId":"a","text":"{long}"}}"#),
            Some("text"),
            InvalidValue,
            Some("longer than 1,000 UTF-16 code units"),
        ),
        (r#"{"type":"chat","roomId":"a","text":"\ud83d"}"#, Some("text"), Surrogate, None),
        (r#"{"type":"chat","roomId":"a","text":["x"]}"#, Some("text"), WrongType, None),
        (r#"{"type":"join","roomId":"a","text":"x"}"#, Some("text"), UnknownField, misplaced),
        (r#"{"type":"ping","requestId":"x"}"#, Some("requestId"), UnknownField, misplaced),
        (r#"{"type":"ping","roomId":"x"}"#, Some("roomId"), UnknownField, misplaced),
        (r#"{"type":"ping","SECRET":"x"}"#, None, UnknownField, None),
        (r#"["ping"]"#, None, NotAnObject, None),
    ] {
        let error = Decode::<ClientMessage>::decode(&Json::default(), &Message::text(text));
        let error = error.unwrap_err();
        let said = (error.field(), error.fault(), error.constraint());
        assert_eq!(said, (field, fault, constraint), "{text}");
    }
}

// covers: MS-05, MS-14, MS-16
#[test]
fn credentials_are_one_message_and_no_other() {
    let token = |text: &str| credentials(&Message::text(text)).map(|it| it.as_str().to_owned());
    assert_eq!(token(r#"{"type":"auth","token":"t"}"#).as_deref(), Some("t"));
    assert_eq!(token(r#"{"token":"\u0074","type":"\u0061uth"}"#).as_deref(), Some("t"));
    for text in [
        r#"{"type":"auth"}"#,
        r#"{"type":"auth","token":null}"#,
        r#"{"type":"auth","token":1}"#,
        r#"{"type":"auth","token":["t"]}"#,
        r#"{"type":"auth","token":"t","admin":true}"#,
        r#"{"type":"auth","token":"t","token":"t"}"#,
        r#"{"type":"auth","token":"\ud800"}"#,
        r#"{"type":"AUTH","token":"t"}"#,
        r#"{"type":{"auth":null},"token":"t"}"#,
        r#"{"token":"t"}"#,
        r#"["auth","t"]"#,
        r#"{"type":"auth","token":"t"}{}"#,
        r#"{"type":"join","roomId":"a"}"#,
        "",
    ] {
        assert_eq!(token(text), None, "{text}");
    }
    assert!(credentials(&Message::binary(r#"{"type":"auth","token":"t"}"#)).is_none());
    let shown = credentials(&Message::text(r#"{"type":"auth","token":"s3cret"}"#));
    assert!(!format!("{shown:?}").contains("s3cret"));
}

#[test]
fn what_the_service_says_is_in_the_table() {
    let room: RoomName = "r1".parse().unwrap();
    let notice = |notice: RoomNotice| encode(&notice.into());
    assert_eq!(
        notice(RoomNotice::Joined(crate::room::Joined::new(room.clone()))),
        json!({"type":"joined","roomId":"r1"})
    );
    assert_eq!(
        notice(RoomNotice::Gap(crate::room::Gap::new(room.clone()))),
        json!({"type":"gap","roomId":"r1"})
    );
    assert_eq!(
        notice(RoomNotice::Removed(crate::room::Removed::new(room.clone()))),
        json!({"type":"removed","roomId":"r1"})
    );
    assert_eq!(
        notice(RoomNotice::Left(crate::room::Left::new(room.clone()))),
        json!({"type":"left","roomId":"r1"})
    );
    let refused = RoomNotice::Refused(crate::room::Refused::new(room, RoomNotice::JOIN_REFUSED));
    let expected = json!({"type":"error","code":"join_refused","roomId":"r1"});
    assert_eq!(notice(refused), expected);

    let connection = connect(Events::default());
    let user = User { tenant: "acme".into(), id: "alice".into() };
    assert_eq!(
        encode(&ServerMessage::auth_ok(&connection, &user)),
        json!({"type":"auth_ok","connectionId":connection.id().to_string(),"userId":"alice"})
    );
    let epoch = ServerMessage::Pong(Pong { sent_at: std::time::SystemTime::UNIX_EPOCH });
    assert_eq!(encode(&epoch), json!({"type":"pong","sentAt":"1970-01-01T00:00:00.000Z"}));
}

#[test]
fn what_is_made_here_is_what_is_read() {
    let room: RoomName = "r1".parse().unwrap();
    let join = decode(r#"{"type":"join","roomId":"r1"}"#);
    assert_eq!(join, Some(ClientMessage::join(room.clone())));
    let leave = decode(r#"{"type":"leave","roomId":"r1"}"#);
    assert_eq!(leave, Some(ClientMessage::leave(room.clone())));
    let made = ClientMessage::chat(room, ChatText::new("hi").unwrap());
    let Some(ClientMessage::Chat(mut read)) =
        decode(r#"{"type":"chat","roomId":"r1","text":"hi"}"#)
    else {
        panic!()
    };
    let ClientMessage::Chat(it) = &made else { panic!() };
    assert_ne!(it.request_id, read.request_id, "each is made for its message");
    read.request_id = it.request_id.clone();
    assert_eq!(ClientMessage::Chat(read), made);
}
