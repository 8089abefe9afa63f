//! WebSocket endpoints as a stack of tower layers, hardened by default.

pub use self::{
    audit::{AuditEvent, AuditSink, Closed, Refusal, TracingSink},
    close::{ApplicationClose, CloseCode, CloseReason, InvalidClose, Retry},
    handle::{Connection, ConnectionId},
    message::{Anonymous, Authenticated, Failure, Inbound, Message, Principal, Reply, Utf8Bytes},
    outbound::{OutboundSender, SendError},
    room::{
        Member, OpenRooms, Room, RoomKey, RoomName, RoomNotice, RoomPolicy, RoomScoped, Rooms,
        RoomsLayer, Scope,
    },
};

pub mod message;
pub mod room;

mod audit;
mod close;
mod handle;
mod outbound;
