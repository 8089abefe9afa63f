//! What is spoken is agreed on in the handshake, and a token that is carried there is a login.

use tower::{layer::util::Identity, service_fn};
use tower_websocket::{
    Anonymous, AuditEvent, AuthFailure, Authenticated, CloseReason, Handler, HandlerResult,
    HandshakeIdentity, Inbound, Message, Reply, RequireAuthLayer, Session, WebSocketEndpoint,
    layers::Handshake,
    testing::{Records, TestPeer, TestServer},
    upgrade::Subprotocols,
};

const SECRET: &str = "s3cret-s3cret-s3cret";

fn ours() -> Subprotocols {
    Subprotocols::new(["chat.v2", "chat.v1"]).unwrap()
}

fn spoken(peer: &TestPeer) -> Option<&str> {
    peer.response().headers().get("sec-websocket-protocol").map(|it| it.to_str().unwrap())
}

/// Says what is spoken.
async fn what(asked: Inbound<Message, Anonymous>) -> HandlerResult {
    Ok(Reply::one(Message::text(asked.connection().protocol().unwrap_or("nothing"))))
}

// covers: HS-18
#[tokio::test(start_paused = true)]
async fn what_both_speak_stands_in_the_answer_and_with_the_connection() {
    let endpoint = |ours| {
        WebSocketEndpoint::new(Identity::new(), service_fn(what))
            .allow_anonymous()
            .subprotocols(ours)
    };
    let server = TestServer::endpoint(endpoint(ours()));
    let offer = |offers: &str| server.handshake("/").header("sec-websocket-protocol", offers);
    for (offers, chosen) in
        [("chat.v1, chat.v2", Some("chat.v2")), ("chat.v1", Some("chat.v1")), ("mqtt", None)]
    {
        let mut peer = offer(offers).connect().await;
        assert_eq!(spoken(&peer), chosen);
        peer.assert_reply("", chosen.unwrap_or("nothing")).await;
    }
    assert_eq!(offer("chat.v1, chat.v1").send().await.unwrap_err().status(), 400);
    assert_eq!(offer(&",".repeat(8192)).send().await.unwrap_err().status(), 400);
    let strict = TestServer::endpoint(endpoint(ours().require()));
    let refused = strict.handshake("/").header("sec-websocket-protocol", "mqtt").send().await;
    assert_eq!(*refused.unwrap_err().body(), "subprotocol required\n");
    assert_eq!(strict.handshake("/").send().await.unwrap_err().status(), 400);
}

/// An endpoint that lets in whoever has the token.
fn endpoint(records: &Records) -> WebSocketEndpoint {
    let door = RequireAuthLayer::from_fn(async |credentials, _| match credentials.as_text() {
        Some(SECRET) => Ok(Session::new("ada".to_owned()).reply(Message::text("welcome"))),
        _ => Err(AuthFailure::Rejected),
    });
    WebSocketEndpoint::new(door, service_fn(whoami))
        .subprotocols(ours().token_prefix("bearer.").unwrap())
        .audit(records.clone())
}

async fn whoami(asked: Inbound<Message, Authenticated<String>>) -> HandlerResult {
    Ok(Reply::one(Message::text(asked.proof().user().clone())))
}

// covers: HS-18, LG-01
#[tokio::test(start_paused = true)]
async fn a_token_among_the_offers_is_a_login_and_is_seen_by_the_verifier_alone() {
    let records = Records::new();
    let server = TestServer::endpoint(endpoint(&records));
    let offer = |token: &str| {
        let offers = format!("chat.v1, bearer.{token}");
        server.handshake("/").header("sec-websocket-protocol", &offers)
    };
    let mut ada = offer(SECRET).connect().await;
    assert_eq!(spoken(&ada), Some("chat.v1"));
    // It comes without a message of hers.
    ada.assert_push("welcome").await;
    ada.assert_reply("who am I?", "ada").await;
    offer("wrong").connect().await.assert_closed(CloseReason::AuthFailed).await;
    // Whoever has none says it in the first message.
    let mut plain = server.connect("/").await;
    plain.assert_reply(SECRET, "welcome").await;
    let alone = server.handshake("/").header("sec-websocket-protocol", "bearer.x");
    assert_eq!(alone.send().await.unwrap_err().status(), 400);
    assert!(!format!("{:?}", records.all()).contains(SECRET));
    let offered = records.events().into_iter().find_map(|it| match it {
        AuditEvent::Connected(connected) => Some(connected.subprotocols),
        _ => None,
    });
    assert!(offered.unwrap().is_empty());
}

/// Says what its handshake has offered.
struct Offers(String);

impl Handler<Message, Authenticated<String>> for Offers {
    type Reply = Message;

    async fn handle(&mut self, _: Inbound<Message, Authenticated<String>>) -> HandlerResult {
        Ok(Reply::one(Message::text(self.0.clone())))
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_else_finds_it_in_the_request() {
    let door = RequireAuthLayer::first_of(Handshake::new(), super::Tokens);
    let endpoint = WebSocketEndpoint::with_handler(door, |_, request| {
        Offers(format!("{:?}", request.headers))
    });
    let endpoint = endpoint
        .handshake_identity::<String>()
        .unwrap()
        .subprotocols(ours().token_prefix("bearer.").unwrap());
    let server = TestServer::endpoint(endpoint);
    let known = HandshakeIdentity::new(Session::new("ada".to_owned()));
    let offers = format!("bearer.{SECRET}, chat.v1");
    let handshake = server.handshake("/").header("sec-websocket-protocol", &offers);
    // Whom the handshake has told of needs no token, and it is no message either.
    let mut ada = handshake.extension(known).connect().await;
    ada.send("what did I say?");
    let heard = format!("{:?}", ada.recv().await);
    assert!(heard.contains("chat.v1") && !heard.contains(SECRET), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn without_a_layer_for_logins_it_is_no_message_of_the_application() {
    let endpoint = WebSocketEndpoint::new(Identity::new(), service_fn(what)).allow_anonymous();
    let ours = ours().token_prefix("bearer.").unwrap();
    let server = TestServer::endpoint(endpoint.subprotocols(ours));
    let offer = |offers| server.handshake("/").header("sec-websocket-protocol", offers);
    let refused = offer("chat.v1, bearer.x").send().await.unwrap_err();
    assert_eq!(refused.status(), 500);
    offer("chat.v1").connect().await.assert_reply("", "chat.v1").await;
}
