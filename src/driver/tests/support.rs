//! Connections and frames, in few words.

use std::{future::ready, time::Duration};

use tower::service_fn;

pub(super) use crate::testing::{
    driven::served::Served,
    wire::{frame, frames},
};
use crate::{
    driver::ConnectionConfig,
    layers::{Anonymous, Failure, Inbound, Reply},
    message::Message,
};

/// A connection that answers every message with itself, at once.
pub(super) fn echo(config: ConnectionConfig) -> Served {
    let echo = |inbound: Inbound<Message, Anonymous>| {
        ready(Ok::<_, Failure<Message>>(Reply::one(inbound.message)))
    };
    Served::new(config, service_fn(echo))
}

/// The defaults, without pings.
pub(super) fn quiet() -> ConnectionConfig {
    ConnectionConfig::new().ping_interval(Duration::MAX)
}

pub(super) fn text(text: &str) -> Vec<u8> {
    frame(0x81, text)
}

pub(super) fn ping(payload: &[u8]) -> Vec<u8> {
    frame(0x89, payload)
}
