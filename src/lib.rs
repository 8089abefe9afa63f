//! WebSocket endpoints as a stack of tower layers, hardened by default.

pub use self::{
    audit::{AuditEvent, AuditSink, Closed, Refusal, TracingSink},
    close::{ApplicationClose, CloseCode, CloseReason, InvalidClose, Retry},
    connection::ConnectionConfig,
    handle::{Connection, ConnectionId},
    message::{
        Anonymous, AuthFailure, Authenticate, Authenticated, DecodeLayer, Failure,
        HandleErrorLayer, Handler, Inbound, Json, JsonLimits, Message, PayloadBytes, Principal,
        Quota, RateLimitLayer, Reply, RequireAuthLayer, Session, Utf8Bytes,
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
pub mod connection;
mod handle;
mod outbound;
