//! Put peers into rooms, and keep everybody else out.
//!
//! A peer that may speak to a room because it *says* that it is in it is the oldest hole of chat
//! servers; one that was removed and still hears everything is the second. Here a message that is for
//! a room reaches the handler only with a [`Member`], the proof that its sender is in that room, and
//! what the handler can publish to is the [`RoomHandle`] of that proof.
//!
//! 1. A message says by [`RoomScoped`] what it is about: joining, leaving, speaking within a room, or
//!    none. [`RoomsLayer`] takes joins and leaves itself and answers them with a [`RoomNotice`].
//! 2. A room is known by a [`RoomKey`]: its name, and the tenant of the *user*. Users of two tenants
//!    never meet.
//! 3. [`RoomPolicy::join`] decides who gets in, and as what. Whatever the reason, a refused join gets
//!    the same answer: whether a room exists cannot be asked.
//! 4. A message for a room that the peer is not in closes the connection with 1008; for one that it was
//!    removed from, and has not left or joined since, it is told so again: the message may have been under way.
//! 5. Membership is looked at again, under the room's lock, when a message is published. A [`RoomHandle`]
//!    that was kept is worth nothing once its peer has left, was removed, or is gone.
//! 6. When a connection ends, it leaves all of its rooms; each membership is recorded once as joined
//!    and once as left.
//!
//! Within a room everybody gets all messages in one order, and [`RoomNotice::Joined`] comes before
//! any of them. What is said before a peer leaves or is removed, and not yet written to it, it does not
//! hear. Delivery is at most once: it is not a record.
//!
//! Rooms can keep a [`History`] for those who come back ([`RoomsConfig::history`]). Each message says its
//! [`Position`] then; a peer that was cut off names the last one that it has heard ([`Join::since`]), and
//! gets exactly what it missed, or is told that something may be missing ([`Joined::recovered`]).
//!
//! A member that cannot keep up is closed with 1013, unless its room goes on without it
//! ([`SlowMember::Skip`]): then it hears a [`RoomNotice::Gap`] where something is missing, and from there on the
//! newest. So what a member hears is what the room said while it was there, in order and without a hole, but
//! for those that it is told of.
//!
//! A room can be [`Keyed`]: it holds values by key, and a member that is slow gets the newest of each instead of
//! all ([`RoomsConfig::keyed`], [`RoomHandle::set`]). Prices, cursors and who is there are that.
//!
//! The application is told of each membership ([`RoomsLayer::on_joined`], [`RoomsLayer::on_left`]), gives joiners
//! the state of their room ([`RoomsLayer::with_state`]), puts connections into rooms by itself
//! ([`RoomAdmin::join`]), and takes users out, who are told ([`RoomAdmin::remove`]).
//!
//! What is published is written once for all members, by the codec of the [`Rooms`]
//! ([`RoomsConfig::codec`]). A member reads what its own [`DecodeLayer`](crate::DecodeLayer) writes, so a
//! connection whose layer has a codec of another type is not let in: its first join closes it with 1011,
//! the record has the rule `stack.codec`, and whoever built the endpoint is told once, at `warn`.
//!
//! | limit | default | over it |
//! |---|---|---|
//! | rooms of one connection | 100 | the join is refused: `too_many_rooms` |
//! | memberships of one user | 1,000 | the same |
//! | memberships of one address | 5,000 | the same |
//! | members of one room | 10,000 | the join is refused: `join_refused` |
//! | rooms | 100,000 | the join is refused: `join_refused` |
//! | keys of a keyed room, and their bytes | 1,024, and 256 KiB | whoever sets more is told |
//!
//! # Example
//!
//! ```
//! use tower::{ServiceBuilder, service_fn};
//! use tower_websocket::{
//!     Close, HandlerResult, Inbound, Member, OpenRooms, Principal, Reply, RoomName, RoomNotice,
//!     RoomScoped,
//!     Rooms, RoomsLayer, Scope, layers::Failure,
//! };
//!
//! # type User = String;
//! enum Request {
//!     Enter(RoomName),
//!     Say(RoomName, String),
//! }
//!
//! impl RoomScoped for Request {
//!     fn scope(&self) -> Scope<'_> {
//!         match self {
//!             Self::Enter(room) => Scope::Join(room.into()),
//!             Self::Say(room, _) => Scope::Within(room),
//!         }
//!     }
//! }
//!
//! #[derive(serde::Serialize)]
//! enum Answer {
//!     Entered,
//!     Refused,
//!     Said { by: String, text: String },
//! }
//!
//! impl From<RoomNotice> for Answer {
//!     fn from(notice: RoomNotice) -> Self {
//!         match notice {
//!             RoomNotice::Joined(_) => Self::Entered,
//!             _ => Self::Refused,
//!         }
//!     }
//! }
//!
//! async fn say(
//!     inbound: Inbound<Request, Member<User, Answer>>,
//! ) -> HandlerResult<Answer> {
//!     let (request, sender, _) = inbound.into_parts();
//!     let Request::Say(_, text) = request else { return Err(Close::INVALID_MESSAGE.into()) };
//!     let said = Answer::Said { by: sender.id().to_owned(), text };
//!     sender.room()?.broadcast(&said).await?;
//!     Ok(Reply::none())
//! }
//!
//! let rooms = Rooms::new();
//! let stack = ServiceBuilder::new()
//!     .layer(RoomsLayer::new(rooms.clone(), OpenRooms))
//!     .service(service_fn(say));
//! # fn is_service<S: tower::Service<Inbound<Request, tower_websocket::Authenticated<User>>>>(_: S) {}
//! # is_service(stack);
//! ```
//!
//! # Deployment
//!
//! Rooms are those of one process: behind a balancer, the peers of a room must come to the same one.
//! Publishing waits while members that keep reading are far behind ([`RoomHandle::broadcast`]); it does not wait
//! for one that does not read, which is closed with 1013, nor in a room that goes on without those who are
//! behind.
//! One message costs as many deliveries as its room has members; where rooms are large, a rate limit
//! before this layer is what keeps a member from asking for that too often.

pub use self::{
    admin::{RoomAdmin, RoomError},
    config::RoomsConfig,
    entrant::Entrant,
    entry::RoomState,
    handle::RoomHandle,
    history::History,
    hosted::JoinError,
    keyed::{Keyed, KeyedConfigError},
    layer::{InRooms, RoomsLayer},
    member::Member,
    member_info::MemberInfo,
    name::{InvalidRoomName, RoomKey, RoomName},
    outcome::{PublishError, Published},
    policy::{JoinDenied, JoinRequest, OpenRooms, RoomPolicy},
    position::{InvalidPosition, Position},
    rooms::Rooms,
    scope::{Gap, Join, Joined, Left, Refused, Removed, RoomNotice, RoomScoped, Scope},
};
pub use crate::outbound::SlowMember;

mod name;
mod position;
mod history;
mod keyed;
mod scope;
mod policy;
mod entrant;
mod config;
mod entry;
mod joining;
mod layer;
mod join_refused;
mod member;
mod handle;
mod hooks;
mod subscriptions;
mod subscription;
mod rooms;
mod hosted;
mod admin;
mod member_info;
mod store;
mod encoder;
mod directory;
mod shares;
mod state;
mod removal;
mod announce;
mod lane;
mod log;
mod change;
mod values;
mod reading;
mod said;
mod members;
mod walker;
mod bounds;
mod outcome;
mod publisher;
mod pace;

#[cfg(any(test, feature = "testing"))]
pub(crate) mod driven;
#[cfg(test)]
pub(crate) mod tests;
