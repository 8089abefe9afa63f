//! WebSocket endpoints as a stack of tower layers, hardened by default.

pub use self::{
    audit::{AuditEvent, AuditSink, Closed, Refusal, TracingSink},
    budget::MemoryBudget,
    close::{ApplicationClose, CloseCode, CloseReason, InvalidClose, Retry},
    connection::ConnectionConfig,
    handle::{Connection, ConnectionId},
    message::{
        Anonymous, AuthFailure, Authenticate, Authenticated, DecodeLayer, Failure,
        HandleErrorLayer, Handler, Inbound, Json, JsonLimits, Message, PayloadBytes, Principal,
        Quota, RateLimitLayer, Reply, RequireAuthLayer, Session, Utf8Bytes,
    },
    outbound::{OutboundSender, SendError},
    room::{
        Member, OpenRooms, Room, RoomKey, RoomName, RoomNotice, RoomPolicy, RoomScoped, Rooms,
        RoomsLayer, Scope,
    },
    upgrade::{
        Admission, OriginPolicy, PeerAddr, UpgradeRejection, UpgradeRejectionKind, WebSocketLayer,
    },
};

pub mod connection;
pub mod message;
pub mod room;
pub mod upgrade;

mod audit;
pub mod budget;
mod clock;
mod close;
mod handle;
mod outbound;

#[doc(hidden)]
pub mod internal;
