//! Decode a message that comes in pieces, as a whole connection does it.

use std::{
    future::{Ready, ready},
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use serde_json::Value;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    driver::ConnectionConfig,
    layers::{Anonymous, DecodeLayer, Failure, Inbound, Reply},
    testing::wire,
};

use super::served::Served;

/// What reaches the handler when the peer sends `text` in so many fragments, and the wire cuts those
/// into chunks of so many bytes: what was decoded, or nothing.
pub async fn decode(text: &str, fragments: usize, chunk: usize) -> Option<Value> {
    let kept = Kept::default();
    let stack = DecodeLayer::<Value>::json().anonymous().layer(kept.clone());
    let mut served = Served::new(ConnectionConfig::new(), stack);
    for bytes in wire::fragments(1, [0; 4], text.as_bytes(), fragments).concat().chunks(chunk) {
        served.send(bytes).await;
    }
    drop(served);
    Arc::into_inner(kept.0)?.into_inner().ok()?
}

/// Keeps what it was called with.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Option<Value>>>);

impl Service<Inbound<Value, Anonymous>> for Kept {
    type Response = Reply<Value>;
    type Error = Failure<Value>;
    type Future = Ready<Result<Reply<Value>, Failure<Value>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, inbound: Inbound<Value, Anonymous>) -> Self::Future {
        *self.0.lock().unwrap() = Some(inbound.message);
        ready(Ok(Reply::none()))
    }
}
