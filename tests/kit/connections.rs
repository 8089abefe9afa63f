//! Connections without a socket, and handlers called directly.

use std::net::SocketAddr;

use serde_json::json;
use tower_websocket::{
    AuthFailure, Authenticate, Close, CloseReason, ConnectionConfig, Failure, Member, Message,
    Principal, Rooms,
    service::{self, ClientMessage, ServerMessage},
    testing::{
        TestConnection, assert_broadcast, assert_closed, assert_push, assert_reply, replies,
    },
};

use super::{Tokens, User, login};

#[tokio::test]
async fn a_connection_without_a_socket_keeps_what_it_is_told() {
    let mut ada = TestConnection::new();
    ada.connection().push(Message::text("hello")).unwrap();
    assert_push(&mut ada, "hello");
    assert_eq!(ada.pushed(), None);
    ada.connection().close(Close::FORBIDDEN);
    assert_eq!(ada.close_reason(), Some(CloseReason::Forbidden));
    assert!(ada.connection().push(Message::text("too late")).is_err());
}

#[tokio::test]
async fn a_connection_whose_messages_are_looked_at_never_fills_up_and_another_one_does() {
    let addr: SocketAddr = "192.0.2.1:5".parse().unwrap();
    let config = ConnectionConfig::new().max_outbound_messages(10.try_into().unwrap());
    let mut connection = TestConnection::with(&config, Some(addr));
    assert_eq!(connection.connection().peer_addr(), Some(addr));
    for n in 0..100 {
        connection.connection().push(Message::text(n.to_string())).unwrap();
        assert_push(&mut connection, n.to_string());
    }
    let pushed = (0..20).take_while(|_| connection.connection().push(Message::text("x")).is_ok());
    assert_eq!(pushed.count(), 10);
    assert_eq!(connection.close_reason(), Some(CloseReason::SlowConsumer));
}

#[tokio::test]
async fn members_are_in_their_rooms_until_they_leave() {
    let rooms = Rooms::<ServerMessage>::new();
    let (mut ada, mut bob) = (TestConnection::new(), TestConnection::new());
    let user = ada.authenticated(User::from("ada"));
    assert_eq!(ada.connection().user_id().map(|it| &**it), Some("ada"));
    let member = ada.join(&rooms, &user, "r", "chair").await;
    assert_eq!((member.role(), rooms.len()), (Some(&"chair"), 1));
    bob.join(&rooms, &bob.authenticated(User::from("bob")), "r", ()).await;

    let room = member.room().unwrap();
    room.broadcast(&ServerMessage::pong()).await.unwrap();
    assert_broadcast([&mut ada, &mut bob], json!({ "type": "pong" })).await;
    bob.leave("r");
    room.broadcast(&ServerMessage::pong()).await.unwrap();
    assert!(ada.pushed().is_some() && bob.pushed().is_none());
    drop((ada, member));
    assert!(rooms.is_empty());
}

#[tokio::test]
#[should_panic = "\"ada\" is in r already"]
async fn nobody_is_in_a_room_twice() {
    let rooms = Rooms::<ServerMessage>::new();
    let mut ada = TestConnection::new();
    let user = ada.authenticated(User::from("ada"));
    for _ in 0..2 {
        ada.join(&rooms, &user, "r", ()).await;
    }
}

#[tokio::test]
async fn what_a_handler_answers_is_told_from_what_closes() {
    let ada = TestConnection::new();
    let user = ada.authenticated(User::from("ada"));
    let outside: Member<User, ServerMessage> = ada.in_no_room(&user);
    let answer = service::handle(ada.inbound(ClientMessage::Ping, outside.clone())).await;
    assert_reply(answer, json!({ "type": "pong" }));
    let join = ClientMessage::join("r".parse().unwrap());
    assert_closed(service::handle(ada.inbound(join, outside)).await, CloseReason::InvalidMessage);
    let failed = Err::<_, Failure<&str>>(Failure::Reply("no"));
    assert_eq!(replies(failed), Ok(vec!["no"]));
}

#[tokio::test]
async fn a_verifier_is_called_directly() {
    let peer = TestConnection::new();
    let ask = |token: &str| Message::text(login(token).to_string());
    let session = Tokens.authenticate(&ask("ada"), peer.connection()).await.unwrap();
    assert_eq!(session.user().id(), "ada");
    let refused = Tokens.authenticate(&ask("nobody"), peer.connection()).await;
    assert_eq!(refused.err(), Some(AuthFailure::Rejected));
}
