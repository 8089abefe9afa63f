//! What the application's HTTP layers know of a peer counts as its login, or not, and never by half.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use tower::{layer::util::Identity, service_fn};
use tower_layer::Layer;
use tower_websocket::{
    Admission, Anonymous, Authenticated, CloseReason, Handler, HandlerResult, HandshakeIdentity,
    Inbound, Message, OriginPolicy, Reply, RequireAuthLayer, Session, UpgradeRejectionKind,
    WebSocketEndpoint,
    layers::Handshake,
    testing::{Records, TestServer},
    upgrade::InvalidOrigin,
};

use super::{Tokens, User, login};

/// Says who asks, and what.
async fn whoami(asked: Inbound<Message, Authenticated<User>>) -> HandlerResult {
    let said = asked.message.as_text().unwrap_or_default();
    Ok(Reply::one(Message::text(format!("{}: {said}", asked.proof().user()))))
}

fn known(user: &str) -> HandshakeIdentity {
    HandshakeIdentity::new(Session::new(user.to_owned()))
}

/// An endpoint of those whom the handshake has told of.
fn strict() -> WebSocketEndpoint {
    endpoint(RequireAuthLayer::handshake())
}

fn endpoint<A>(door: RequireAuthLayer<A>) -> WebSocketEndpoint
where
    A: tower_websocket::Authenticate<User = User>,
{
    WebSocketEndpoint::new(door, service_fn(whoami)).handshake_identity::<User>().unwrap()
}

/// The status of a handshake with `identity`, and by which rule it was refused.
async fn refusal(
    endpoint: WebSocketEndpoint,
    identity: Option<HandshakeIdentity>,
) -> (u16, &'static str) {
    let records = Records::new();
    let server = TestServer::endpoint(endpoint.audit(records.clone()));
    let handshake = server.handshake("/");
    let handshake = match identity {
        Some(identity) => handshake.extension(identity),
        None => handshake,
    };
    let refused = handshake.send().await.expect_err("it is let in");
    assert_eq!(records.connected(), 0);
    let rule = records.events().into_iter().find_map(|event| match event {
        tower_websocket::AuditEvent::UpgradeRefused(refused) => Some(refused.rule),
        _ => None,
    });
    (refused.status().as_u16(), rule.expect("a record"))
}

// covers: AU-01
#[tokio::test(start_paused = true)]
async fn whom_the_handshake_has_told_of_says_nothing_but_messages() {
    let records = Records::new();
    let server = TestServer::endpoint(strict().audit(records.clone()));
    let mut ada = server.handshake("/").extension(known("ada")).connect().await;
    // No deadline waits for a login, and the first message may be as long as any.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let long = "x".repeat(5_000);
    ada.assert_reply(&*long, &*format!("ada: {long}")).await;
    // What would be credentials is a message, too.
    let again = login("grace").to_string();
    ada.assert_reply(&*again, &*format!("ada: {again}")).await;
    let names: Vec<_> = records.events().iter().map(|it| it.name()).collect();
    assert_eq!(names, ["connected", "authenticated"]);
    assert_eq!(records.all()[1].user.as_deref(), Some("ada"));
}

#[tokio::test(start_paused = true)]
async fn who_is_nobody_is_answered_401_and_leaves_nothing_behind() {
    let one = NonZeroUsize::MIN;
    let admission = Admission::new().max_connections(one).max_unauthenticated(one);
    let server = TestServer::endpoint(strict().admission(admission));
    for _ in 0..3 {
        let refused = server.handshake("/").send().await.unwrap_err();
        assert_eq!(refused.status(), 401);
        assert_eq!(refused.headers()["www-authenticate"], "Cookie");
        assert_eq!(*refused.body(), "not authenticated\n");
    }
    let mut ada = server.handshake("/").extension(known("ada")).connect().await;
    ada.assert_reply("hi", "ada: hi").await;
    assert_eq!(refusal(strict(), None).await, (401, "auth.no_identity"));
}

#[tokio::test(start_paused = true)]
async fn a_page_can_be_told_in_a_close_frame() {
    let records = Records::new();
    let door = RequireAuthLayer::handshake().refuse_after_open();
    let server = TestServer::endpoint(endpoint(door).audit(records.clone()));
    let mut nobody = server.connect_sending("/", "let me in").await;
    nobody.assert_closed(CloseReason::Unidentified).await;
    let mut ada = server.handshake("/").extension(known("ada")).connect().await;
    ada.assert_reply("hi", "ada: hi").await;
    let names: Vec<_> = records.events().iter().map(|it| it.name()).take(2).collect();
    assert_eq!(names, ["connected", "auth.failed"]);
}

#[tokio::test(start_paused = true)]
async fn who_has_no_identity_may_be_asked_for_credentials() {
    let door = || RequireAuthLayer::first_of(Handshake::new(), Tokens);
    let server = TestServer::endpoint(endpoint(door()));
    let mut ada = server.handshake("/").extension(known("ada")).connect().await;
    ada.assert_reply("hi", "ada: hi").await;
    let mut grace = server.connect("/").await;
    grace.send(login("grace"));
    let _: serde_json::Value = grace.recv_json().await;
    grace.assert_reply("hi", "grace: hi").await;
    server.connect("/").await.assert_closed(CloseReason::AuthTimeout).await;
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_nothing_fits_to_lets_nobody_in() {
    let other = || HandshakeIdentity::new(Session::new("ada"));
    assert_eq!(refusal(strict(), Some(other())).await, (500, "auth.identity_type"));
    // The endpoint and its stack mean different users.
    let door = RequireAuthLayer::handshake();
    let mixed = WebSocketEndpoint::new(door, service_fn(whoami));
    let mixed = mixed.handshake_identity::<&'static str>().unwrap();
    assert_eq!(refusal(mixed, Some(other())).await, (500, "auth.identity_type"));
    // Nobody asked for it in the stack, or in the endpoint.
    let unused = endpoint(RequireAuthLayer::new(Tokens));
    assert_eq!(refusal(unused, Some(known("ada"))).await, (500, "auth.identity_settings"));
    let unread = WebSocketEndpoint::new(RequireAuthLayer::handshake(), service_fn(whoami));
    assert_eq!(refusal(unread, Some(known("ada"))).await, (500, "auth.identity_settings"));
}

// covers: HS-04
#[tokio::test(start_paused = true)]
async fn cookies_never_count_where_any_page_may_connect() {
    let make = || WebSocketEndpoint::new(RequireAuthLayer::handshake(), service_fn(whoami));
    for (policy, named) in [
        (OriginPolicy::new().dangerous_allow_any_origin(), "any"),
        (OriginPolicy::new().trust("null").unwrap(), "null"),
        (OriginPolicy::new().trust("file://").unwrap(), "file://"),
    ] {
        let error = make().origin(policy.clone()).handshake_identity::<User>().unwrap_err();
        assert_eq!(error, InvalidOrigin::AnyPage(named));
        assert!(error.to_string().contains(named));
        // Set the other way round, where a setter has no error.
        let late = make().handshake_identity::<User>().unwrap().origin(policy);
        assert_eq!(refusal(late, Some(known("ada"))).await, (500, "auth.identity_settings"));
    }
    let server = TestServer::endpoint(strict());
    let page = |origin| server.handshake("/").origin(origin).extension(known("ada"));
    let refused = page("https://evil.example").send().await.unwrap_err();
    assert_eq!(refused.status(), 403);
    page("http://localhost").connect().await.assert_reply("hi", "ada: hi").await;
}

// covers: AU-10
#[tokio::test(start_paused = true)]
async fn the_end_of_the_session_is_the_end_of_the_connection() {
    let server = TestServer::endpoint(strict());
    let session = Session::new("ada".to_owned())
        .expires_in(Duration::from_secs(30))
        .reply(Message::text("welcome"));
    let identity = HandshakeIdentity::new(session);
    let mut ada = server.handshake("/").extension(identity.clone()).connect().await;
    ada.assert_push("welcome").await;
    tokio::time::sleep(Duration::from_secs(29)).await;
    ada.assert_reply("hi", "ada: hi").await;
    ada.assert_closed(CloseReason::SessionExpired).await;
    // What was known then is over by now.
    let mut late = server.handshake("/").extension(identity).connect().await;
    late.assert_push("welcome").await;
    late.assert_closed(CloseReason::SessionExpired).await;
}

#[tokio::test(start_paused = true)]
async fn hooks_are_told_and_one_that_panics_costs_the_connection() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tells = Arc::clone(&told);
    let door = RequireAuthLayer::handshake().on_open(move |user: &Authenticated<User>, _| {
        tells.lock().unwrap().push(user.user().clone());
        assert_ne!(user.user(), "bob");
    });
    let server = TestServer::endpoint(endpoint(door));
    let enter = |user: &str| server.handshake("/").extension(known(user)).connect();
    enter("ada").await.assert_reply("hi", "ada: hi").await;
    enter("bob").await.assert_closed(CloseReason::HandlerFailed).await;
    assert_eq!(*told.lock().unwrap(), ["ada", "bob"]);
}

/// Answers with what its handshake said.
struct Asked(String);

impl Handler<Message, Anonymous> for Asked {
    type Reply = Message;

    async fn handle(&mut self, _: Inbound<Message, Anonymous>) -> HandlerResult {
        Ok(Reply::one(Message::text(self.0.clone())))
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_makes_the_handler_sees_the_handshake_but_for_the_identity() {
    let endpoint = WebSocketEndpoint::with_handler(Identity::new(), |_, request| {
        assert!(request.extensions.get::<HandshakeIdentity>().is_none());
        let language = request.headers["accept-language"].to_str().unwrap();
        let tag = request.extensions.get::<u32>();
        Asked(format!("{} {language} {tag:?}", request.uri))
    });
    let server = TestServer::endpoint(endpoint.allow_anonymous());
    let handshake = server.handshake("/rooms/7?as=guest").header("accept-language", "de");
    let mut peer = handshake.extension(7_u32).extension(known("ada")).connect().await;
    peer.assert_reply("", "/rooms/7?as=guest de Some(7)").await;
}

/// A layer that is applied where there is no handshake, as by hand, lets nobody in by one.
#[tokio::test(start_paused = true)]
async fn a_stack_that_was_made_beforehand_knows_nobody() {
    use tower_service::Service;
    let door = RequireAuthLayer::<Handshake<User>>::handshake();
    let mut stack = door.layer(service_fn(whoami));
    let peer = tower_websocket::testing::TestConnection::new();
    let asked = peer.inbound(Message::text("hi"), peer.anonymous());
    let refused = stack.call(asked).await;
    tower_websocket::testing::assert_closed(refused, CloseReason::Unidentified);
}

#[test]
fn an_identity_shows_nobody() {
    assert_eq!(format!("{:?}", known("ada")), "HandshakeIdentity");
    assert_eq!(UpgradeRejectionKind::IdentityMissing.status(), 401);
}
