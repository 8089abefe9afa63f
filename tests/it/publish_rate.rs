//! What is said in a room costs its audience.

use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    DecodeLayer, OpenRooms, Quota, RequireAuthLayer, Rooms, RoomsLayer, WebSocketEndpoint,
    room::RoomsConfig,
    service::{self, ClientMessage},
};

use test_support::slow::{FrozenClock, Server, Tokens, quiet, say};

use super::rate_limit::assert_rate_limited;

fn publishing(quota: Quota) -> Server {
    let messages = ServiceBuilder::new()
        .layer(RequireAuthLayer::new(Tokens))
        .layer(DecodeLayer::<ClientMessage>::json())
        .layer(RoomsLayer::new(Rooms::with(RoomsConfig::new().publish_quota(quota)), OpenRooms));
    Server::start(
        WebSocketEndpoint::new(messages, service_fn(service::handle)).connection(quiet()).unwrap(),
    )
}

// covers: RM-16
#[tokio::test(start_paused = true)]
async fn a_message_is_charged_for_every_member_that_gets_it() {
    let _clock = FrozenClock::new();
    // Fifty KiB to a member: five messages to a room of ten.
    let server = publishing(Quota::per_second(1).burst(50));
    let mut members = Vec::new();
    for n in 0..9 {
        members.push(server.member(&format!("m{n}"), "crowd").await);
    }
    let mut sender = server.member("sender", "crowd").await;
    for _ in 0..5 {
        sender.text(&say("crowd", "hello")).await;
        assert!(sender.message().await.contains("hello"));
    }
    sender.text(&say("crowd", "too much")).await;
    assert_rate_limited(&mut sender).await;
    let refusals = server.audit.refusals();
    let refusal = &refusals[0];
    assert_eq!((refusals.len(), refusal.layer, refusal.rule), (1, "rooms", "room.publish_rate"));
    assert_eq!((refusal.observed, refusal.limit), (Some(10), Some(50)));
    for member in &mut members {
        for _ in 0..5 {
            assert!(member.message().await.contains("hello"));
        }
    }
    // The user's other connection shares the quota; another user has one of its own.
    let mut again = server.member("sender", "crowd").await;
    again.text(&say("crowd", "too much")).await;
    assert_rate_limited(&mut again).await;
    members[0].text(&say("crowd", "fine")).await;
    for member in &mut members {
        assert!(member.message().await.contains("fine"));
    }
}

// covers: RM-16
#[tokio::test(start_paused = true)]
async fn a_message_is_charged_for_each_kib_begun() {
    let _clock = FrozenClock::new();
    let server = publishing(Quota::per_second(1).burst(10));
    let mut sender = server.member("sender", "r").await;
    // Two KiB as JSON, to one member.
    for _ in 0..5 {
        sender.text(&say("r", &"x".repeat(1_000))).await;
        sender.message().await;
    }
    sender.text(&say("r", "x")).await;
    assert_rate_limited(&mut sender).await;
    // What alone costs more than the burst is charged the burst, not refused for ever.
    let server = publishing(Quota::per_second(1));
    let mut sender = server.member("sender", "r").await;
    sender.text(&say("r", &"x".repeat(1_000))).await;
    sender.message().await;
    sender.text(&say("r", "x")).await;
    assert_rate_limited(&mut sender).await;
}
