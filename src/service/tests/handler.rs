//! The service behind its layer.

use futures_util::FutureExt;
use serde_json::{Value, json};
use tower::{ServiceBuilder, service_fn};
use tower_service::Service;

use super::*;
use crate::{
    close::CloseReason,
    connection::Connection,
    layers::Authenticated,
    room::{
        InRooms, OpenRooms, Rooms, RoomsLayer,
        tests::{Events, User, connect, drain},
    },
    service::{
        self,
        protocol::tests::{decode, encode},
    },
};

#[derive(Debug)]
struct Client<S> {
    connection: Connection,
    user: Authenticated<User>,
    stack: S,
}

impl<S> Client<S>
where
    S: Service<
            Inbound<ClientMessage, Authenticated<User>>,
            Response = Reply<ServerMessage>,
            Error = Failure<ServerMessage>,
        >,
{
    fn say(&mut self, text: &str) -> Result<Vec<Value>, CloseReason> {
        let message = decode(text).ok_or(CloseReason::InvalidMessage)?;
        let inbound = Inbound::new(message, self.user.clone(), self.connection.clone());
        match self.stack.call(inbound).now_or_never().expect("nothing to wait for") {
            Ok(reply) => {
                let mut said = Vec::new();
                reply.try_for_each(|it| {
                    said.push(encode(&it));
                    Ok::<_, CloseReason>(())
                })?;
                Ok(said)
            }
            Err(Failure::Close(close)) => Err(close.into()),
            Err(Failure::Reply(_)) => panic!("the service has no error replies"),
        }
    }

    fn heard(&self) -> Vec<Value> {
        drain(&self.connection).iter().map(|it| serde_json::from_str(it).unwrap()).collect()
    }
}

// covers: RM-01, RM-03
#[test]
fn a_chat_reaches_the_room_with_its_verified_sender() {
    let rooms = Rooms::new();
    let layer = RoomsLayer::new(rooms, OpenRooms);
    let client = |id: &str| Client {
        connection: connect(Events::default()),
        user: Authenticated::claim(User { tenant: String::new(), id: id.into() }),
        // That the layer's users are inferred here, from what the stack is called with, is a part
        // of the test.
        stack: ServiceBuilder::new().layer(layer.clone()).service(service_fn(service::handle)),
    };
    let (mut alice, mut bob) = (client("alice"), client("bob"));
    assert_eq!(alice.say(r#"{"type":"join","roomId":"r1"}"#).unwrap(), [json!(null); 0]);
    bob.say(r#"{"type":"join","roomId":"r1"}"#).unwrap();
    let chat = r#"{"type":"chat","roomId":"r1","requestId":"q1","text":"hi"}"#;
    assert_eq!(alice.say(chat).unwrap(), [json!(null); 0]);

    let heard = bob.heard();
    assert_eq!(heard[0], json!({"type":"joined","roomId":"r1"}));
    let chat = heard[1].as_object().unwrap();
    let keys: Vec<_> = chat.keys().map(String::as_str).collect();
    assert_eq!(keys, ["id", "requestId", "roomId", "sentAt", "text", "type", "userId"]);
    assert_eq!((&chat["userId"], &chat["requestId"]), (&json!("alice"), &json!("q1")));
    assert_eq!(uuid::Uuid::parse_str(chat["id"].as_str().unwrap()).unwrap().get_version_num(), 4);
    let sent_at = chat["sentAt"].as_str().unwrap();
    assert_eq!((sent_at.len(), &sent_at[19..20], &sent_at[23..]), (24, ".", "Z"));
    assert_eq!(alice.heard(), heard);

    let pong = bob.say(r#"{"type":"ping"}"#).unwrap();
    assert_eq!(pong[0]["type"], "pong");
    let elsewhere = r#"{"type":"chat","roomId":"r2","text":"hi"}"#;
    assert_eq!(bob.say(elsewhere), Err(CloseReason::NotAMember));
    assert_eq!(bob.say(r#"{"type":"leave","roomId":"r1"}"#).unwrap()[0]["type"], "left");
}

/// A driver's task holds the stack and its future.
#[test]
fn the_stack_and_its_future_can_be_sent() {
    fn is_sent<T: Send + 'static>(_: &T) {}
    fn service_is_sent<S, U, P, M, R>(stack: &InRooms<S, U, P, R>, _: fn(M))
    where
        U: crate::Principal,
        P: crate::RoomPolicy<U>,
        InRooms<S, U, P, R>: Service<M, Future: Send + 'static> + Send + 'static,
    {
        is_sent(stack);
    }
    let layer = RoomsLayer::new(Rooms::new(), OpenRooms);
    let stack = ServiceBuilder::new().layer(layer).service(service_fn(service::handle));
    service_is_sent(&stack, |_: Inbound<ClientMessage, Authenticated<User>>| {});
}
