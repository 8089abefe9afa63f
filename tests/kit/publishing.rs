//! What one member publishes is no reason for another to be closed.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::{Instant, timeout_at};
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    Close, CloseReason, ConnectionConfig, DecodeLayer, Inbound, Member, OpenRooms, Principal as _,
    Quota, RateLimitLayer, Reply, RequireAuthLayer, RoomName, RoomNotice, RoomScoped, Rooms,
    RoomsLayer, Scope, WebSocketEndpoint,
    layers::Failure,
    service::{self, ClientMessage, ServerMessage},
    testing::{self, TestConnection, TestPeer, TestServer},
};

use super::{Tokens, User, login};

/// What the members of a room say in the docs of the rooms.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Request {
    Enter { room: RoomName },
    Say { room: RoomName, text: String },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Answer {
    Entered,
    Refused,
    Said { by: String, text: String },
}

impl RoomScoped for Request {
    fn scope(&self) -> Scope<'_> {
        match self {
            Self::Enter { room } => Scope::Join(room.into()),
            Self::Say { room, .. } => Scope::Within(room),
        }
    }
}

impl From<RoomNotice> for Answer {
    fn from(notice: RoomNotice) -> Self {
        match notice {
            RoomNotice::Joined(_) => Self::Entered,
            _ => Self::Refused,
        }
    }
}

async fn say(
    inbound: Inbound<Request, Member<User, Answer>>,
) -> Result<Reply<Answer>, Failure<Answer>> {
    let (request, sender, _) = inbound.into_parts();
    let Request::Say { text, .. } = request else {
        return Err(Close::INVALID_MESSAGE.into());
    };
    let said = Answer::Said { by: sender.id().to_owned(), text };
    sender.room()?.broadcast(&said).await?;
    Ok(Reply::none())
}

/// The service of the docs, with `config`.
fn service(rooms: &Rooms<Answer>, config: ConnectionConfig) -> TestServer {
    let messages = ServiceBuilder::new()
        .layer(RateLimitLayer::per_connection(Quota::per_second(20).burst(40)))
        .layer(RequireAuthLayer::new(Tokens))
        .layer(DecodeLayer::<Request>::json())
        .layer(RoomsLayer::new(rooms.clone(), OpenRooms));
    let endpoint = WebSocketEndpoint::new(messages, service_fn(say)).connection(config);
    TestServer::endpoint(endpoint.expect("bounds that work"))
}

async fn member(server: &TestServer, user: &str) -> TestPeer {
    let mut peer = server.connect("/").await;
    peer.assert_reply(login(user), json!({ "type": "auth_ok" })).await;
    peer.assert_reply(json!({ "type": "enter", "room": "lobby" }), json!({ "type": "entered" }))
        .await;
    peer
}

/// A message of exactly so many bytes.
fn line(bytes: usize) -> String {
    let (head, tail) = (r#"{"type":"say","room":"lobby","text":""#, r#""}"#);
    format!("{head}{}{tail}", "x".repeat(bytes - head.len() - tail.len()))
}

// covers: DL-21
#[tokio::test(start_paused = true)]
async fn a_message_as_large_as_any_may_be_is_heard_by_everybody() {
    for size in [64 * 1024, 1024, 2 * 1024 * 1024] {
        let config = ConnectionConfig::new().max_message_size(size.try_into().unwrap());
        let server = service(&Rooms::new(), config);
        let mut speaker = member(&server, "speaker").await;
        let mut others = [member(&server, "ada").await, member(&server, "bob").await];
        speaker.send(line(size));
        for peer in others.iter_mut().chain([&mut speaker]) {
            peer.assert_push(json!({ "type": "said", "by": "speaker" })).await;
        }
        // One byte more is not legal, and costs whoever sends it.
        speaker.send(line(size + 1));
        speaker.assert_closed(CloseReason::MessageTooLarge).await;
        for peer in &mut others {
            peer.assert_silent(Duration::from_secs(1)).await;
        }
    }
}

// covers: DL-21
#[tokio::test(start_paused = true)]
async fn rooms_of_two_endpoints_hear_what_fits_the_peers_of_both() {
    let rooms = Rooms::new();
    let small = ConnectionConfig::new().max_message_size(1024.try_into().unwrap());
    let (large, small) = (service(&rooms, ConnectionConfig::new()), service(&rooms, small));
    let mut ada = member(&large, "ada").await;
    let mut speaker = member(&large, "speaker").await;
    let mut bob = member(&small, "bob").await;
    speaker.send(line(16 * 1024));
    for peer in [&mut ada, &mut bob, &mut speaker] {
        peer.assert_push(json!({ "type": "said", "by": "speaker" })).await;
    }
    // It is legal where it comes from, and not where it would go: that is the handler's to tell.
    speaker.send(line(60 * 1024));
    speaker.assert_closed(CloseReason::HandlerFailed).await;
    for peer in [&mut ada, &mut bob] {
        peer.assert_silent(Duration::from_secs(1)).await;
    }
}

/// What a member heard, until it heard nothing more for three seconds.
#[derive(Debug, Default, Eq, PartialEq)]
struct Heard {
    messages: usize,
    bytes: usize,
    closed: Option<u16>,
}

/// Hears the room as a member does whose line takes `rate` bytes in a second.
async fn listen(mut peer: TestPeer, rate: usize) -> Heard {
    let mut heard = Heard::default();
    let mut tick = Instant::now();
    let mut last = tick;
    while tick < last + Duration::from_secs(3) {
        peer.read_only(rate / 100);
        tick += Duration::from_millis(10);
        while let Ok(said) = timeout_at(tick, peer.recv()).await {
            last = tick;
            match said {
                testing::Received::Message(message) => {
                    heard.messages += 1;
                    heard.bytes += message.len();
                }
                testing::Received::Closed { code, .. } => heard.closed = code,
                _ => return heard,
            }
        }
    }
    heard
}

/// 8 Mbit/s.
const LINE: usize = 1_000_000;

// covers: DL-22
#[tokio::test(start_paused = true)]
async fn a_burst_within_every_quota_closes_nobody_who_reads_at_eight_megabits() {
    let server = service(&Rooms::new(), ConnectionConfig::new());
    let mut others = Vec::new();
    for n in 0..19 {
        others.push(tokio::spawn(listen(member(&server, &format!("user-{n}")).await, LINE)));
    }
    let mut speaker = member(&server, "speaker").await;
    for _ in 0..40 {
        speaker.send(line(64 * 1024));
    }
    for _ in 0..40 {
        speaker.assert_push(json!({ "type": "said", "by": "speaker" })).await;
    }
    for other in others {
        let heard = other.await.unwrap();
        assert_eq!((heard.messages, heard.closed), (40, None));
    }
}

// covers: DL-22
#[tokio::test(start_paused = true)]
async fn twenty_who_talk_at_once_are_heard_by_those_who_read_at_eight_megabits() {
    let server = service(&Rooms::new(), ConnectionConfig::new());
    let mut others = Vec::new();
    for n in 0..5 {
        others.push(tokio::spawn(listen(member(&server, &format!("user-{n}")).await, LINE)));
    }
    let mut speakers = Vec::new();
    for n in 0..20 {
        speakers.push(member(&server, &format!("speaker-{n}")).await);
    }
    for speaker in &speakers {
        (0..10).for_each(|_| speaker.send(line(16 * 1024)));
    }
    for other in others
        .into_iter()
        .chain(speakers.into_iter().map(|speaker| tokio::spawn(listen(speaker, 100 * LINE))))
    {
        let heard = other.await.unwrap();
        assert_eq!((heard.messages, heard.closed), (200, None));
    }
}

// covers: DL-22, DL-01, DL-03
#[tokio::test(start_paused = true)]
async fn a_member_that_takes_nothing_is_closed_and_holds_up_nobody_for_more_than_a_second() {
    let server = service(&Rooms::new(), ConnectionConfig::new());
    let stalled = member(&server, "stalled").await;
    let quick = tokio::spawn(listen(member(&server, "quick").await, 100 * LINE));
    let mut speaker = member(&server, "speaker").await;
    stalled.stop_reading();
    let began = Instant::now();
    for _ in 0..40 {
        speaker.send(line(64 * 1024));
    }
    for _ in 0..40 {
        speaker.assert_push(json!({ "type": "said", "by": "speaker" })).await;
    }
    assert!(began.elapsed() <= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(quick.await.unwrap().messages, 40);
    let heard = listen(stalled, 100 * LINE).await;
    assert_eq!(heard.closed, Some(1013));
}

// covers: DL-22
#[tokio::test(start_paused = true)]
async fn a_member_that_reads_less_than_the_room_says_goes_and_the_room_goes_on() {
    let server = service(&Rooms::new(), ConnectionConfig::new());
    let trickle = tokio::spawn(listen(member(&server, "trickle").await, 40_000));
    let quick = tokio::spawn(listen(member(&server, "quick").await, 100 * LINE));
    let mut speaker = member(&server, "speaker").await;
    let began = Instant::now();
    for _ in 0..40 {
        speaker.send(line(64 * 1024));
    }
    for _ in 0..40 {
        speaker.assert_push(json!({ "type": "said", "by": "speaker" })).await;
    }
    assert!(began.elapsed() <= Duration::from_secs(3), "1 MB/s at least: {:?}", began.elapsed());
    let (quick, trickle) = (quick.await.unwrap(), trickle.await.unwrap());
    assert_eq!((quick.messages, quick.closed), (40, None));
    assert_eq!(trickle.closed, Some(1013));
}

// covers: DL-22
#[tokio::test(start_paused = true)]
async fn the_room_service_tells_who_waited_in_vain_and_closes_nobody() {
    let rooms = Rooms::<ServerMessage>::new();
    // Three messages are more than half of what is held for the one, and each is three milliseconds at 1 MB/s; the
    // other's handler has no time to wait.
    let size = |bytes: usize| bytes.try_into().unwrap();
    let short = ConnectionConfig::new()
        .max_message_size(size(4 * 1024))
        .max_outbound_message_size(size(6 * 1024))
        .max_outbound_bytes(size(14 * 1024));
    let hasty = ConnectionConfig::new().handler_timeout(Duration::from_millis(3));
    let (mut slow, mut ada) =
        (TestConnection::with(&short, None), TestConnection::with(&hasty, None));
    let (user, proof) =
        (slow.authenticated(User::from("slow")), ada.authenticated(User::from("ada")));
    slow.join(&rooms, &user, "r", ()).await;
    let member = ada.join(&rooms, &proof, "r", ()).await;
    let chat: ClientMessage = serde_json::from_value(
        json!({ "type": "chat", "roomId": "r", "requestId": "7", "text": "€".repeat(900) }),
    )
    .unwrap();
    for _ in 0..3 {
        let answer = service::handle(ada.inbound(chat.clone(), member.clone())).await;
        assert!(matches!(answer, Ok(reply) if format!("{reply:?}").contains("None")));
    }
    let answer = service::handle(ada.inbound(chat.clone(), member.clone())).await;
    let Err(Failure::Reply(busy)) = answer else { panic!("{answer:?}") };
    let busy = serde_json::to_value(&busy).unwrap();
    let expected = json!({ "type": "error", "code": "room_busy", "requestId": "7", "roomId": "r" });
    assert_eq!(busy, expected);
    // Who was behind has caught up, and so it is heard.
    while slow.pushed().is_some() {}
    assert!(service::handle(ada.inbound(chat, member)).await.is_ok());
    assert!(
        slow.pushed().is_some() && slow.close_reason().is_none() && ada.close_reason().is_none()
    );
}
