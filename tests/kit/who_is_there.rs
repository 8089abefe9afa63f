//! Connections are found, told and ended by whose they are, on a whole server.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use futures_util::FutureExt;
use serde_json::Value;
use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};
use tower::service_fn;
use tower_websocket::{
    Admission, AuthFailure, Authenticated, Close, CloseReason, ConnectionConfig, Connections,
    HandlerResult, HandshakeIdentity, Inbound, Message, Overflow, Quota, Reply, RequireAuthLayer,
    Retry, Session, SessionLimits, WebSocketEndpoint,
    testing::{Received, Records, TestPeer, TestServer},
};

use super::{Tokens, User, login};

async fn echo(asked: Inbound<Message, Authenticated<User>>) -> HandlerResult {
    Ok(Reply::one(asked.message))
}

fn server(connections: &Connections) -> TestServer {
    let endpoint = WebSocketEndpoint::new(RequireAuthLayer::new(Tokens), service_fn(echo));
    TestServer::endpoint(endpoint.connections(connections.clone()))
}

async fn enter(server: &TestServer, name: &str) -> TestPeer {
    let mut peer = server.connect("/").await;
    peer.send(login(name));
    let _: Value = peer.recv_json().await;
    peer
}

#[tokio::test(start_paused = true)]
async fn a_user_is_told_and_thrown_out_on_every_device_and_nobody_else() {
    let connections = Connections::new();
    let server = server(&connections);
    let mut devices = [enter(&server, "ada").await, enter(&server, "ada").await];
    let mut bob = enter(&server, "bob").await;
    assert_eq!(connections.user("ada").push(&Message::text("hi")).sent, 2);
    for device in &mut devices {
        device.assert_push("hi").await;
    }
    let kick = Close::application(4100, "removed", Retry::Stop).unwrap();
    assert_eq!(connections.user("ada").close(kick.clone()), 2);
    for device in &mut devices {
        device.assert_closed(kick.reason().clone()).await;
    }
    bob.assert_reply("still here", "still here").await;
    // It was thrown out, not banned: who may come in is for the verifier to say.
    enter(&server, "ada").await;
    drop((devices, bob));
    connections.shut_down(Close::GOING_AWAY);
    connections.ended().await;
}

/// The verifier has looked already when the user is thrown out.
// covers: AU-10, AU-12
#[tokio::test(start_paused = true)]
async fn a_login_under_way_is_over_when_its_user_is_thrown_out() {
    let connections = Connections::new();
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let (tells, waits) = (Arc::clone(&asked), Arc::clone(&answer));
    let door = RequireAuthLayer::from_fn(move |_, _| {
        let (asked, answer) = (Arc::clone(&tells), Arc::clone(&waits));
        async move {
            asked.notify_one();
            let _permit = answer.acquire().await.map_err(|_| AuthFailure::Unavailable)?;
            Ok(Session::new("ada".to_owned()).session_id("s-1"))
        }
    });
    let records = Records::new();
    let endpoint = WebSocketEndpoint::new(door, service_fn(echo)).audit(records.clone());
    let server = TestServer::endpoint(endpoint.connections(connections.clone()));
    let mut early = server.connect("/").await;
    early.send("let me in");
    early.send("and hear me");
    asked.notified().await;
    assert_eq!(connections.user("ada").revoke(), 0);
    answer.add_permits(9);
    early.assert_closed(CloseReason::Revoked).await;
    let names: Vec<_> = records.events().iter().map(|it| it.name()).collect();
    assert_eq!(names[..2], ["connected", "auth.failed"]);
    // The next one looks after it.
    let mut fresh = server.connect("/").await;
    fresh.send("let me in");
    fresh.assert_reply("hi", "hi").await;
    assert_eq!(connections.session("s-1").count(), 1);
}

/// The same of a handshake whose session was looked up before the log-out.
// covers: AU-10
#[tokio::test(start_paused = true)]
async fn a_log_out_ends_every_tab_and_the_one_that_is_opening() {
    let connections = Connections::new();
    let endpoint = WebSocketEndpoint::new(RequireAuthLayer::handshake(), service_fn(echo));
    let endpoint = endpoint.handshake_identity::<User>().unwrap();
    let server = TestServer::endpoint(endpoint.connections(connections.clone()));
    let known = || HandshakeIdentity::new(Session::new("ada".to_owned()).session_id("s-1"));
    let open = |identity| server.handshake("/").extension(identity).connect();
    let mut tabs = [open(known()).await, open(known()).await];
    let late = known();
    assert_eq!(connections.session("s-1").revoke(), 2);
    for tab in &mut tabs {
        tab.assert_closed(CloseReason::Revoked).await;
    }
    let mut opening = open(late).await;
    opening.send("hear me");
    opening.assert_closed(CloseReason::Revoked).await;
}

#[tokio::test(start_paused = true)]
async fn a_user_has_so_many_connections_on_all_endpoints_together() {
    let two = NonZeroUsize::new(2).unwrap();
    let connections = Connections::new().max_per_user(two, Overflow::CloseOldest);
    let (here, there) = (server(&connections), server(&connections));
    let mut first = enter(&here, "ada").await;
    let mut second = enter(&there, "ada").await;
    let mut third = enter(&here, "ada").await;
    first.assert_closed(CloseReason::Replaced).await;
    second.assert_reply("hi", "hi").await;
    third.assert_reply("hi", "hi").await;
    let strict = Connections::new().max_per_user(NonZeroUsize::MIN, Overflow::Refuse);
    let server = server(&strict);
    let _first = enter(&server, "ada").await;
    let mut second = server.connect("/").await;
    second.send(login("ada"));
    second.assert_closed(CloseReason::TooManyOfUser).await;
}

/// In a second of a clock that moves only while there is nothing to do: nothing of it waits for a timer.
// covers: AU-10
#[tokio::test(start_paused = true)]
async fn ten_thousand_connections_of_one_user_are_closed_within_a_second_while_others_talk() {
    const MANY: NonZeroUsize = NonZeroUsize::new(10_001).unwrap();
    let connections = Connections::new();
    let admission = Admission::new().max_connections(MANY).max_connections_per_peer(MANY);
    let endpoint = WebSocketEndpoint::new(RequireAuthLayer::new(Tokens), service_fn(echo))
        .connection(ConnectionConfig::new().ping_interval(Duration::from_secs(1_000_000)))
        .unwrap()
        .admission(admission.handshakes(Quota::per_second(1_000_000)))
        .connections(connections.clone());
    let server = TestServer::endpoint(endpoint);
    let mut bob = enter(&server, "bob").await;
    let mut many = Vec::new();
    for _ in 1..MANY.get() {
        many.push(enter(&server, "ada").await);
    }
    let began = Instant::now();
    assert_eq!(connections.user("ada").revoke(), many.len());
    // They are not in front of others: bob is answered while most have not been told.
    bob.assert_reply("hi", "hi").await;
    let mut waiting = Vec::new();
    for mut peer in many {
        match peer.recv().now_or_never() {
            Some(heard) => assert!(matches!(heard, Received::Closed { code: Some(4401), .. })),
            None => waiting.push(peer),
        }
    }
    assert!(waiting.len() > MANY.get() / 2, "only {} wait", waiting.len());
    for hundred in waiting.chunks_mut(100) {
        bob.assert_reply("hi", "hi").await;
        for peer in hundred {
            peer.assert_closed(CloseReason::Revoked).await;
        }
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    drop(waiting);
    assert_eq!(connections.user("bob").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_may_be_slowed_down_at_the_login_and_while_it_lives() {
    let connections = Connections::new();
    let door = RequireAuthLayer::from_fn(async |_, _| {
        let limits = SessionLimits::new().messages(Quota::per_minute(1).burst(2));
        Ok::<_, AuthFailure>(Session::new("ada".to_owned()).limits(limits))
    });
    let endpoint = WebSocketEndpoint::new(door, service_fn(echo));
    let server = TestServer::endpoint(endpoint.connections(connections.clone()));
    let mut slow = server.connect("/").await;
    slow.send("let me in");
    for _ in 0..2 {
        slow.assert_reply("hi", "hi").await;
    }
    slow.send("hi");
    slow.assert_closed(CloseReason::RateLimited).await;
    let mut calm = server.connect("/").await;
    calm.send("let me in");
    calm.assert_reply("hi", "hi").await;
    // Lifted, and set again.
    connections.user("ada").limit(&SessionLimits::new());
    for _ in 0..9 {
        calm.assert_reply("hi", "hi").await;
    }
    connections.user("ada").limit(&SessionLimits::new().messages(Quota::per_minute(1).burst(1)));
    calm.assert_reply("hi", "hi").await;
    calm.send("hi");
    calm.assert_closed(CloseReason::RateLimited).await;
}
