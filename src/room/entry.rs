//! Give a joiner the state of its room, and then everything that comes later.

use std::{pin::Pin, sync::Arc};

use crate::{
    close::Close,
    connection::Connection,
    foreign::Caught,
    layers::Authenticated,
    message::Message,
    outbound::{Dropped, Seat, SendError},
    room::{name::RoomKey, position::Position, state::Subscriber},
};

/// What a joiner is to be told of a room before it hears what is said in it. See
/// [`RoomsLayer::with_state`](crate::RoomsLayer::with_state).
#[derive(Debug)]
pub struct RoomState<R> {
    /// The application's, of which each destructor may panic.
    pub(super) messages: Vec<Caught<R>>,
    pub(super) at: Option<Position>,
}

/// What loads it.
pub(super) type Loader<U, R> =
    dyn Fn(RoomKey, Authenticated<U>, Connection) -> Loading<R> + Send + Sync;

pub(super) type Loading<R> = Pin<Box<dyn Future<Output = Result<RoomState<R>, Close>> + Send>>;

/// What an endpoint has to load state with, if anything. Clones share it.
pub(super) struct StateOf<U, R>(pub(super) Option<Arc<Loader<U, R>>>);

impl<R> RoomState<R> {
    /// These messages, in order.
    pub fn new(messages: impl IntoIterator<Item = R>) -> Self {
        Self { messages: messages.into_iter().map(Caught::new).collect(), at: None }
    }

    /// There is nothing to be told.
    pub fn none() -> Self {
        Self { messages: Vec::new(), at: None }
    }

    /// All that was published up to `position`, and nothing later, is in it: the joiner hears what comes
    /// behind. It is what [`Published::position`](crate::room::Published::position) says, where rooms keep a
    /// [`History`](crate::room::History).
    pub fn at(mut self, position: Option<Position>) -> Self {
        self.at = position;
        self
    }
}

impl<U, R> Clone for StateOf<U, R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// How somebody comes in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    /// Up to where it has heard the room.
    pub(super) since: Option<Position>,
    /// It hears nothing before it [begins](Subscriber::begin), if it does not get what it has missed.
    pub(super) waits: bool,
}

/// How somebody has come in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Admitted {
    /// It hears the room.
    Hears,
    /// It hears nothing yet.
    Waits,
}

impl<R> Subscriber<R> {
    /// Tells it the room's state, in `messages`, and lets it hear what was said from when it joined on; or what is
    /// behind `at`, if the state says that all before is in it.
    pub(super) fn begin(
        &self,
        messages: Vec<Message>,
        at: Option<Position>,
    ) -> Result<(), SendError>
    where
        R: 'static,
    {
        let mut dropped = Dropped::default();
        let begun = {
            let mut members = self.room.lock();
            if self.is_gone() {
                return Ok(());
            }
            let from = at.and_then(|at| {
                let number = members.log.kept()?.next_behind(at)?;
                members.log.start_of(number)
            });
            // It was kept waiting by the application: that is no lag of its own.
            Seat::cursor(self).replays(members.log.end());
            self.outlet().begin_seat(self, from.unwrap_or(0), messages, &mut dropped)
        };
        self.outlet().relieve(&mut dropped);
        begun
    }
}
