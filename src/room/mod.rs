//! Rooms.

pub use self::{
    future::ResponseFuture,
    layer::{InRooms, RoomsLayer},
    member::Member,
    name::{InvalidRoomName, RoomKey, RoomName},
    policy::{JoinDenied, OpenRooms, RoomPolicy},
    publish::{PublishError, Published, Room},
    registry::{MemberInfo, RoomRef, Rooms},
    scope::{RoomNotice, RoomScoped, Scope},
};

mod future;
mod layer;
mod member;
pub mod service;

mod name;
mod policy;
mod protocol;
mod publish;
mod registry;
mod scope;
mod seat;
mod text;

#[cfg(test)]
mod tests;
