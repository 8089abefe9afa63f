//! A codec of the application's own, over binary messages, from the login to the room.

use std::num::NonZeroU32;

use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    AuditEvent, AuthFailure, Close, DecodeLayer, Failure, HandlerResult, Inbound, Member, Message,
    OpenRooms, Reply, RequireAuthLayer, RoomKey, RoomName, RoomNotice, RoomScoped, Rooms,
    RoomsLayer, Scope, Session, WebSocketEndpoint,
    layers::{Decode, DecodeError, DecodeErrorKind, Encode, EncodeError},
    room::RoomsConfig,
};

use super::{
    support::{TestServer, quiet},
    support_client::{BINARY, TEXT, TestClient, frame},
};

/// A byte for the kind, one for the length of the room's name, the name, and then what it says.
#[derive(Clone, Copy)]
struct Packed;

enum Request {
    Join(RoomName),
    Say(RoomName, Vec<u8>),
    Whoami,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Joined(RoomName),
    Refused,
    Said(Vec<u8>),
    YouAre(String),
    Invalid,
}

impl Decode<Request> for Packed {
    fn decode(&self, message: &Message) -> Result<Request, DecodeError> {
        let Message::Binary(bytes) = message else {
            return Err(DecodeError::new(DecodeErrorKind::Text, "message.text"));
        };
        read(bytes).ok_or(DecodeError::new(DecodeErrorKind::Invalid, "message.packed"))
    }
}

fn read(bytes: &[u8]) -> Option<Request> {
    let (kind, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (name, said) = rest.split_at_checked(usize::from(*length))?;
    let room = || str::from_utf8(name).ok()?.parse().ok();
    match (kind, name, said) {
        (b'j', _, []) => Some(Request::Join(room()?)),
        (b's', _, said) => Some(Request::Say(room()?, said.to_vec())),
        (b'w', [], []) => Some(Request::Whoami),
        _ => None,
    }
}

impl Encode<Answer> for Packed {
    fn encode(&self, answer: &Answer) -> Result<Message, EncodeError> {
        let (kind, rest): (u8, &[u8]) = match answer {
            Answer::Joined(room) => (b'j', room.as_str().as_bytes()),
            Answer::Refused => (b'r', b""),
            Answer::Said(bytes) => (b's', bytes),
            Answer::YouAre(name) => (b'w', name.as_bytes()),
            Answer::Invalid => (b'i', b""),
        };
        Ok(Message::binary([&[kind], rest].concat()))
    }
}

impl RoomScoped for Request {
    fn scope(&self) -> Scope<'_> {
        match self {
            Self::Join(room) => Scope::Join(room.into()),
            Self::Say(room, _) => Scope::Within(room),
            Self::Whoami => Scope::Connection,
        }
    }
}

impl From<RoomNotice> for Answer {
    fn from(notice: RoomNotice) -> Self {
        match notice {
            RoomNotice::Joined(joined) => Self::Joined(joined.into_room()),
            _ => Self::Refused,
        }
    }
}

/// Tells the room; silence is refused.
async fn handle(inbound: Inbound<Request, Member<String, Answer>>) -> HandlerResult<Answer> {
    let (request, member, _) = inbound.into_parts();
    match request {
        Request::Say(_, bytes) if bytes.is_empty() => Err(Failure::Reply(Answer::Refused)),
        Request::Say(_, bytes) => {
            member.room()?.broadcast(&Answer::Said(bytes)).await.map_err(Close::from)?;
            Ok(Reply::none())
        }
        Request::Whoami => Ok(Reply::one(Answer::YouAre(String::clone(&member)))),
        Request::Join(_) => Err(Close::INVALID_MESSAGE.into()),
    }
}

/// An endpoint that speaks [`Packed`] alone, and closes at the second message in a row that is not.
async fn start(rooms: &Rooms<Answer>, forgiving: bool) -> TestServer {
    let login = RequireAuthLayer::from_fn(async |credentials, _| match credentials {
        Message::Binary(name) => match str::from_utf8(&name) {
            Ok(name) => Ok(Session::new(name.to_owned()).reply(Message::binary(name.to_owned()))),
            Err(_) => Err(AuthFailure::Rejected),
        },
        Message::Text(_) => Err(AuthFailure::Required),
    });
    let decode = DecodeLayer::<Request, _>::new(Packed);
    let twice = NonZeroU32::new(2).unwrap();
    let decode = if forgiving { decode.reply_invalid(|_| Answer::Invalid, twice) } else { decode };
    let messages = ServiceBuilder::new()
        .layer(login)
        .layer(decode)
        .layer(RoomsLayer::new(rooms.clone(), OpenRooms));
    let endpoint = WebSocketEndpoint::new(messages, service_fn(handle));
    TestServer::start(|_| endpoint.connection(quiet()).unwrap()).await
}

fn rooms() -> Rooms<Answer> {
    Rooms::with(RoomsConfig::new().codec(Packed))
}

fn packed(kind: u8, room: &str, rest: &[u8]) -> Vec<u8> {
    [&[kind, room.len() as u8], room.as_bytes(), rest].concat()
}

async fn login(server: &TestServer, name: &str) -> TestClient {
    let mut client = server.connect().await;
    client.send(frame(0x80 | BINARY, name)).await;
    assert_binary(&mut client, name.as_bytes()).await;
    client
}

async fn send(client: &mut TestClient, message: impl AsRef<[u8]>) {
    client.send(frame(0x80 | BINARY, message)).await;
}

async fn assert_binary(client: &mut TestClient, expected: &[u8]) {
    let frame = client.next().await.expect("the server hung up");
    assert_eq!((frame.opcode, &*frame.payload), (BINARY, expected));
}

#[tokio::test(start_paused = true)]
async fn whoever_speaks_binary_hears_binary_and_nothing_else() {
    let rooms = rooms();
    let server = start(&rooms, false).await;
    let (mut ada, mut grace) = (login(&server, "ada").await, login(&server, "grace").await);
    for client in [&mut ada, &mut grace] {
        send(client, packed(b'j', "r", b"")).await;
        assert_binary(client, b"jr").await;
    }
    // Bytes of every value, in one frame and in three.
    let every: Vec<u8> = (0..=255).collect();
    let said = packed(b's', "r", &every);
    send(&mut ada, &said).await;
    let (begin, rest) = said.split_at(100);
    let (middle, end) = rest.split_at(1);
    ada.send([frame(BINARY, begin), frame(0, middle), frame(0x80, end)].concat()).await;
    for client in [&mut ada, &mut grace] {
        for _ in 0..2 {
            assert_binary(client, &[b"s", &*every].concat()).await;
        }
    }
    // An answer, an error reply, and what the application says.
    send(&mut grace, packed(b'w', "", b"")).await;
    assert_binary(&mut grace, b"wgrace").await;
    send(&mut grace, packed(b's', "r", b"")).await;
    assert_binary(&mut grace, b"r").await;
    let room = rooms.at(&RoomKey::new("r".parse().unwrap()));
    let published = room.broadcast(&Answer::Said(vec![0xff])).await.unwrap();
    assert_eq!((published.members, published.bytes), (2, 2));
    for client in [&mut ada, &mut grace] {
        assert_binary(client, b"s\xff").await;
        client.assert_silent().await;
    }
    assert_eq!(server.count(|it| matches!(it, AuditEvent::Refused(_))), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_the_codecs_closes_and_is_heard_by_nobody() {
    let rooms = rooms();
    let server = start(&rooms, false).await;
    let mut member = login(&server, "grace").await;
    send(&mut member, packed(b'j', "r", b"")).await;
    assert_binary(&mut member, b"jr").await;
    let whole = packed(b'j', "room", b"");
    let mut cases: Vec<(u8, Vec<u8>, u16, &str)> = vec![
        (TEXT, packed(b's', "r", b"hello"), 1003, "binary only"),
        (BINARY, packed(b's', "r r", b"hello"), 1008, "invalid message"),
        (BINARY, packed(b's', "", b"hello"), 1008, "invalid message"),
        (BINARY, vec![b's', 1, 0xff], 1008, "invalid message"),
        (BINARY, [packed(b'j', "r", b""), vec![0]].concat(), 1008, "invalid message"),
        (BINARY, packed(b's', "other", b"hello"), 1008, "not a member"),
    ];
    for end in 0..whole.len() {
        cases.push((BINARY, whole[..end].to_vec(), 1008, "invalid message"));
    }
    for (nth, (opcode, message, code, reason)) in cases.into_iter().enumerate() {
        let mut client = login(&server, "ada").await;
        client.send(frame(0x80 | opcode, &message)).await;
        assert_eq!(client.assert_closed(code).await, reason, "{message:?}");
        drop(client);
        server.closed(nth).await;
        assert_eq!(server.count(|it| matches!(it, AuditEvent::Refused(_))), nth + 1);
    }
    member.assert_silent().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_the_codecs_is_answered_in_its_own_words_by_choice() {
    let server = start(&rooms(), true).await;
    let mut client = login(&server, "ada").await;
    for _ in 0..3 {
        send(&mut client, b"?").await;
        assert_binary(&mut client, b"i").await;
        send(&mut client, packed(b'w', "", b"")).await;
        assert_binary(&mut client, b"wada").await;
    }
    // Text is as wrong as anything else, and counts.
    client.send(frame(0x80 | TEXT, "?")).await;
    assert_binary(&mut client, b"i").await;
    client.send(frame(0x80 | TEXT, "?")).await;
    assert_eq!(client.assert_closed(1003).await, "binary only");
}
