//! Tests a handler of yours: called directly, and behind its whole stack.
//!
//! Run with `cargo run --example testing --features testing`. In a project of yours, what is in `main`
//! here would be in two tests.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    AuthFailure, Authenticated, Close, CloseCode, DecodeLayer, HandlerResult, Inbound, Reply,
    RequireAuthLayer, Session, WebSocketEndpoint,
    testing::{TestConnection, TestServer, assert_reply},
};

/// A user is a name, and nothing else.
type Bidder = String;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bid {
    cents: u64,
}

#[derive(Serialize)]
struct Taken {
    bidder: String,
    cents: u64,
}

/// What is tested.
async fn bid(bid: Inbound<Bid, Authenticated<Bidder>>) -> HandlerResult<Taken, Close> {
    match bid.message.cents {
        0 => Err(Close::INVALID_MESSAGE),
        cents => Ok(Reply::one(Taken { bidder: bid.proof().user().clone(), cents })),
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() {
    // The handler alone.
    let ada = TestConnection::new();
    let proof = ada.authenticated(Bidder::from("ada"));
    let answer = bid(ada.inbound(Bid { cents: 250 }, proof.clone())).await;
    assert_reply(answer, json!({ "bidder": "ada", "cents": 250 }));
    let answer = bid(ada.inbound(Bid { cents: 0 }, proof)).await;
    assert_eq!(answer.err(), Some(Close::INVALID_MESSAGE));

    // The handler behind its stack, as its peers see it.
    let anybody = RequireAuthLayer::from_fn(async |name, _| match name.as_text() {
        Some(name) => Ok(Session::new(Bidder::from(name))),
        None => Err(AuthFailure::Required),
    });
    let messages = ServiceBuilder::new().layer(anybody).layer(DecodeLayer::json());
    let server = TestServer::endpoint(WebSocketEndpoint::new(messages, service_fn(bid)));
    let mut bob = server.connect("/").await;
    bob.send("bob");
    bob.assert_reply(json!({ "cents": 300 }), json!({ "bidder": "bob", "cents": 300 })).await;
    bob.send(json!({ "cents": -1 }));
    bob.assert_closed(CloseCode::POLICY).await;

    println!("the handler does what it should");
}
