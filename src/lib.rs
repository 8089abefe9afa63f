//! WebSocket endpoints as a stack of tower layers, hardened by default.

pub use self::{
    audit::{AuditEvent, AuditSink, Closed, Refusal, TracingSink},
    close::{ApplicationClose, CloseCode, CloseReason, InvalidClose, Retry},
    handle::{Connection, ConnectionId},
    message::{
        Anonymous, Authenticated, Failure, Inbound, Message, Principal, Reply, Utf8Bytes,
    },
    outbound::{OutboundSender, SendError},
    upgrade::{
        Admission, OriginPolicy, PeerAddr, UpgradeRejection, UpgradeRejectionKind, WebSocketLayer,
    },
};

pub mod upgrade;
pub mod message;

mod audit;
mod close;
mod handle;
mod outbound;

// The tests of `tests/it` are compiled into the crate until there is a connection stage.
#[cfg(test)]
extern crate self as tower_websocket;
