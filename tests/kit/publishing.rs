//! What one member publishes is no reason for another to be closed.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    CloseReason, ConnectionConfig, DecodeLayer, Inbound, Member, OpenRooms, Principal as _, Quota,
    RateLimitLayer, Reply, RequireAuthLayer, RoomName, RoomNotice, RoomScoped, Rooms, RoomsLayer,
    Scope, WebSocketLayer,
    message::Failure,
    testing::{TestPeer, TestServer},
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
            Self::Enter { room } => Scope::Join(room),
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
    inbound: Inbound<Request, Member<User, (), Answer>>,
) -> Result<Reply<Answer>, Failure<Answer>> {
    let (request, sender, _) = inbound.into_parts();
    let Request::Say { text, .. } = request else {
        return Err(CloseReason::InvalidMessage.into());
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
    let endpoint = WebSocketLayer::new(messages, service_fn(say)).connection(config);
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
