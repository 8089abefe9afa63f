//! What is published is written as the members are written to.

use futures_util::FutureExt;
use tower::{ServiceBuilder, service_fn};
use tower_service::Service;

use crate::{
    close::CloseReason,
    layers::{
        Authenticated, Decode, DecodeError, DecodeErrorKind, DecodeLayer, Encode, EncodeError,
        Failure, Inbound,
    },
    message::Message,
    room::{OpenRooms, Rooms, RoomsConfig, RoomsLayer},
};

use super::{Events, Line, Say, User, connect, drain, room, tell};

/// Reads `join` and `tell` as words, writes lines as they are.
#[derive(Clone)]
struct Words;

impl Decode<Say> for Words {
    fn decode(&self, message: &Message) -> Result<Say, DecodeError> {
        match message.as_text() {
            Some("join") => Ok(Say::Join(room("r1"))),
            Some(words) => Ok(Say::Tell(room("r1"), words.into())),
            None => Err(DecodeError::new(DecodeErrorKind::Binary, "message.binary")),
        }
    }
}

impl Encode<Line> for Words {
    fn encode(&self, Line(line): &Line) -> Result<Message, EncodeError> {
        Ok(Message::text(line.as_str()))
    }
}

/// Joins by an endpoint that speaks in words, and says what was heard or why it closed.
fn join(rooms: Rooms<Line>) -> (Result<Vec<String>, CloseReason>, Vec<String>) {
    let events = Events::default();
    let connection = connect(events.clone());
    let user = User { tenant: String::new(), id: "ada".into() };
    connection.authenticated(&user, None, crate::login::Login::now()).unwrap();
    events.take();
    let mut stack = ServiceBuilder::new()
        .layer(DecodeLayer::<Say, _>::new(Words))
        .layer(RoomsLayer::new(rooms, OpenRooms))
        .service(service_fn(tell::<()>));
    let user = Authenticated::claim(user);
    for words in ["join", "hello"] {
        let inbound = Inbound::new(Message::text(words), user.clone(), connection.clone());
        let answer = stack.call(inbound).now_or_never().expect("nothing to wait for");
        if let Err(Failure::Close(reason)) = answer {
            return (Err(reason.into()), events.take());
        }
    }
    (Ok(drain(&connection)), events.take())
}

#[test]
fn rooms_with_another_codec_than_the_endpoint_are_joined_by_nobody() {
    let (heard, events) = join(Rooms::with(RoomsConfig::new().codec(Words)));
    assert_eq!(heard.unwrap(), ["joined r1", "hello"]);
    assert_eq!(events, ["joined ada r1", "published r1 1"]);

    let (refused, events) = join(Rooms::new());
    assert_eq!(refused, Err(CloseReason::HandlerFailed));
    assert_eq!(events, ["refused stack.codec"]);
}
