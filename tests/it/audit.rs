//! What is recorded of a connection, and how often.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    Anonymous, AuditEvent, AuditRecord, AuditSink, Close, DecodeLayer, Inbound, OpenRooms, Reply,
    RequireAuthLayer, Rooms, RoomsLayer, WebSocketEndpoint,
    service::{self, ClientMessage, ServerMessage},
};

use test_support::slow::{FrozenClock, Server, Tokens, chat, frame, quiet};

// covers: LG-11
#[tokio::test(start_paused = true)]
async fn a_flood_of_refusals_is_one_record_a_second() {
    let clock = FrozenClock::new();
    let error = |_: &_| ServerMessage::error("invalid");
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(Tokens))
        .layer(DecodeLayer::<ClientMessage>::json().reply_invalid(error, NonZeroU32::MAX))
        .layer(RoomsLayer::new(Rooms::new(), OpenRooms));
    let server = Server::start(
        WebSocketEndpoint::new(messages, service_fn(service::handle)).connection(quiet()).unwrap(),
    );
    let mut peer = server.connect().await;
    peer.text(r#"{"type":"auth","token":"t"}"#).await;
    peer.message().await;
    for second in 0..3 {
        for _ in 0..1_000 {
            peer.text("{}").await;
            peer.message().await;
        }
        let refusals = server.audit.refusals();
        assert_eq!(refusals.len(), second + 1);
        assert_eq!(refusals[second].suppressed, if second == 0 { 0 } else { 999 });
        tokio::time::advance(Duration::from_millis(1_000)).await;
    }
    // A flood of pings is one record, and one for the end.
    let mut peer = server.connect().await;
    let sent = peer.flood(&frame(0x89, ""), 1_000).await;
    assert!(sent > 0);
    drop(clock);
    let closed = server.audit.closed(1).await;
    assert_eq!(closed[0].rule, "frame.control");
    let pings = server.audit.refusals().into_iter().filter(|it| it.rule == "frame.control");
    assert_eq!(pings.count(), 1);
}

// covers: LG-15
#[tokio::test(start_paused = true)]
async fn a_refused_message_is_recorded_and_answered_with_its_field_and_what_it_broke() {
    #[derive(Debug, serde::Serialize)]
    struct Invalid {
        error: String,
    }

    let messages = DecodeLayer::<ClientMessage>::json()
        .anonymous()
        .reply_invalid(|error| Invalid { error: error.to_string() }, NonZeroU32::MAX);
    let handler = service_fn(async |_: Inbound<ClientMessage, Anonymous>| {
        Ok::<_, Close>(Reply::<Invalid>::none())
    });
    let layer = WebSocketEndpoint::new(messages, handler).allow_anonymous();
    let server = Server::start(layer.connection(quiet()).unwrap());
    for (sent, answer, fault, field, constraint) in [
        (
            r#"{"type":"join","roomId":"SECRET room"}"#,
            "roomId: a character outside of A-Z a-z 0-9 : _ -",
            "invalid_value",
            Some("roomId"),
            Some("a character outside of A-Z a-z 0-9 : _ -"),
        ),
        (
            r#"{"type":"chat","roomId":"a","text":""}"#,
            "text: empty",
            "invalid_value",
            Some("text"),
            Some("empty"),
        ),
        (r#"{"type":"chat","roomId":"a"}"#, "text: missing", "missing", Some("text"), None),
        (
            r#"{"type":"ping","SECRET":1}"#,
            "the message: an unknown field",
            "unknown_field",
            None,
            None,
        ),
        (r#"{"type":"ping"}{}"#, "the message: not JSON", "syntax", None, None),
    ] {
        let mut peer = server.connect().await;
        peer.text(sent).await;
        assert_eq!(peer.message().await, format!(r#"{{"error":"{answer}"}}"#), "{sent}");
        let refused = server.audit.refusals().pop().unwrap();
        assert_eq!((refused.layer, refused.fault), ("decode", Some(fault)), "{sent}");
        assert_eq!((refused.field.as_deref(), refused.constraint), (field, constraint), "{sent}");
        assert_eq!(refused.observed, Some(sent.len() as u64));
    }
    assert!(!format!("{:?}", server.audit.records()).contains("SECRET"));
}

/// What it is called, what the peer sends, and the rule and code that end it.
type Case = (&'static str, Vec<Vec<u8>>, &'static str, Option<u16>);

// covers: LG-12
// holds: I4
#[tokio::test]
async fn every_connection_has_one_beginning_one_end_and_one_story() {
    let server = Server::start(
        chat(&Rooms::new())
            .connection(
                quiet()
                    .auth_timeout(Duration::from_millis(300))
                    .close_timeout(Duration::from_millis(300)),
            )
            .unwrap(),
    );
    let auth = frame(0x81, r#"{"type":"auth","token":"ada"}"#);
    let join = frame(0x81, r#"{"type":"join","roomId":"r"}"#);
    let bye = frame(0x88, [3, 232]);
    let cases: [Case; 9] = [
        ("silence", vec![], "auth.timeout", Some(4401)),
        ("no credentials", vec![join.clone()], "auth.required", Some(4403)),
        (
            "wrong ones",
            vec![frame(0x81, r#"{"type":"auth","token":"nobody"}"#)],
            "auth.failed",
            Some(4403),
        ),
        ("goodbye", vec![auth.clone(), join.clone(), bye], "peer_closed", Some(1000)),
        ("unmasked", vec![auth.clone(), vec![0x81, 2, b'{', b'}']], "protocol", Some(1002)),
        ("binary", vec![auth.clone(), frame(0x82, "{}")], "message.binary", Some(1003)),
        ("bad UTF-8", vec![auth.clone(), frame(0x81, [0xc0, 0x80])], "message.utf8", Some(1007)),
        ("invalid", vec![auth.clone(), frame(0x81, "{}")], "message.schema", Some(1008)),
        ("too large", vec![auth, frame(0x82, vec![0; 65_537])], "message.size", Some(1009)),
    ];
    for (n, (name, frames, rule, code)) in cases.into_iter().enumerate() {
        let mut peer = server.connect().await;
        for frame in frames {
            peer.send(frame).await;
        }
        let (_, closed) = peer.until_close().await;
        assert_eq!(closed, code, "{name}");
        drop(peer);
        let closed = server.audit.closed(n + 1).await;
        assert_eq!((closed[n].rule, closed[n].intended_code), (rule, code), "{name}");
        assert!(closed[n].flushed, "{name}");
    }
    // One that just goes away.
    drop(server.user("ada").await);
    let closed = server.audit.closed(10).await;
    assert_eq!((closed[9].rule, closed[9].intended_code), ("lost", None));

    let mut stories: HashMap<_, Vec<&str>> = HashMap::new();
    for record in &server.audit.records() {
        let connection = record.connection.expect("no handshake was refused");
        stories.entry(connection).or_default().push(record.event.name());
    }
    assert_eq!(stories.len(), 10);
    for story in stories.values() {
        let count = |what| story.iter().filter(|it| **it == what).count();
        assert_eq!((count("connected"), count("closed")), (1, 1), "{story:?}");
        assert_eq!((story[0], story[story.len() - 1]), ("connected", "closed"), "{story:?}");
        assert!(count("authenticated") + count("auth.failed") <= 1, "{story:?}");
        assert_eq!(count("joined"), count("left"), "{story:?}");
    }
}

/// A hundred joins and leaves a second, as the limits of messages may allow.
// covers: LG-13
#[tokio::test(start_paused = true)]
async fn going_in_and_out_of_rooms_without_end_is_a_record_a_second_and_a_count() {
    let clock = FrozenClock::new();
    let rooms = Rooms::new();
    let server = Server::start(chat(&rooms));
    let mut peer = server.user("ada").await;
    for n in 0..1_000 {
        for kind in ["join", "leave"] {
            peer.text(&format!(r#"{{"type":"{kind}","roomId":"r{}"}}"#, n % 10)).await;
            peer.message().await;
        }
        tokio::time::advance(Duration::from_millis(20)).await;
    }
    peer.send(frame(0x88, [3, 232])).await;
    peer.assert_closed(1000).await;
    drop(clock);
    let closed = server.audit.closed(1).await;
    let (mut joined, mut left, mut said) = (0, 0, 0);
    for record in server.audit.records() {
        match record.event {
            AuditEvent::Joined(it) => (joined, said) = (joined + 1, said + it.suppressed),
            AuditEvent::Left(_) => left += 1,
            _ => {}
        }
    }
    // Twice the hundred rooms it may be in, and one a second.
    assert_eq!((joined, left), (219, 219));
    assert_eq!(joined + said + closed[0].suppressed, 1_000);
}

/// The node and the name of each record.
#[derive(Default)]
struct Nodes(Mutex<Vec<(Option<String>, &'static str)>>);

impl AuditSink for Nodes {
    fn record(&self, record: &AuditRecord) {
        let node = record.node.as_deref().map(str::to_owned);
        self.0.lock().unwrap().push((node, record.event.name()));
    }
}

// covers: LG-10
#[tokio::test]
async fn each_record_of_an_endpoint_has_the_name_of_its_node() {
    let nodes: &'static Nodes = Box::leak(Box::default());
    let boxed: Box<dyn AuditSink> = Box::new(nodes);
    let layer = chat(&Rooms::new()).node("eu-1").audit((boxed, Arc::new(nodes)));
    let server = Server::start_unrecorded(layer);
    let mut refused = server.connect_raw().await;
    refused.send("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n").await;
    refused.ended().await;
    let mut peer = server.user("ada").await;
    peer.send(frame(0x88, [3, 232])).await;
    peer.assert_closed(1000).await;
    let told = || nodes.0.lock().unwrap().clone();
    while told().len() < 8 {
        tokio::task::yield_now().await;
    }
    let names = ["handshake.rejected", "connected", "authenticated", "closed"];
    let twice = names.into_iter().flat_map(|it| [it, it]).map(|it| (Some("eu-1".to_owned()), it));
    assert_eq!(told(), Vec::from_iter(twice));
}
