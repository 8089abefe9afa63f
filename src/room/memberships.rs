//! Keep the rooms that one connection is in.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use crate::{
    capacity,
    foreign::Caught,
    message::Message,
    quota::MeterTable,
    room::{
        RoomHandle, RoomName,
        join_refused::JoinRefused,
        publisher::Publisher,
        seat::{Membership, PendingJoin, leave_all},
    },
};

/// The rooms one connection is in. Its size is bounded by `max_rooms`.
pub(super) struct Memberships<Role, R> {
    places: Mutex<Places<Role, R>>,
    pub(super) max_rooms: NonZeroUsize,
    pub(super) published: Arc<MeterTable>,
    /// Made when the user is known, at the first join.
    pub(super) publisher: OnceLock<Arc<Publisher>>,
}

type Places<Role, R> = HashMap<RoomName, Place<Role, R>>;

struct Place<Role, R> {
    membership: Membership<R>,
    role: RoleOf<Role>,
}

/// A member's role, shared by its messages. It is the application's, and so is its destructor.
pub(super) type RoleOf<Role> = Caught<Arc<Role>>;

impl<Role, R> Memberships<Role, R> {
    pub(super) fn new(max_rooms: NonZeroUsize, published: Arc<MeterTable>) -> Self {
        Self { places: Mutex::default(), max_rooms, published, publisher: OnceLock::new() }
    }

    /// How many rooms the connection is in, those included that it was removed from and has not left.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// The room and the role, if the connection is a member as far as can be told without the room's
    /// lock; publishing looks again, under it.
    pub(super) fn current(&self, name: &RoomName) -> Option<(RoomHandle<R>, RoleOf<Role>)> {
        let places = self.lock();
        let place = places.get(name).filter(|it| it.membership.is_current())?;
        Some((place.membership.room(), place.role.clone()))
    }

    /// Leaves the room `name`, if the connection is in it.
    pub(super) fn leave(&self, name: &RoomName) {
        let place = {
            let mut places = self.lock();
            let place = places.remove(name);
            if let Some(less) = capacity::smaller(places.len(), places.capacity(), KEPT) {
                places.shrink_to(less);
            }
            place
        };
        // The lock is free again: leaving takes the room's.
        drop(place);
    }

    /// Whether the connection is in the room `name` already, or an error if it is in as many others
    /// as it may be.
    pub(super) fn find(&self, name: &RoomName) -> Result<bool, JoinRefused> {
        let (found, gone) = self.look(&mut self.lock(), name);
        drop(gone);
        found
    }

    /// Makes the peer a member, and returns whether it was one before: then there is neither a
    /// second membership nor a second event, and `notice` is not sent.
    pub(super) fn seat(
        &self,
        name: &RoomName,
        joining: PendingJoin<R>,
        role: RoleOf<Role>,
        notice: Message,
    ) -> Result<bool, JoinRefused> {
        // Declared before the lock is taken, and so dropped when it is free again.
        let (found, _gone, _former);
        let mut places = self.lock();
        (found, _gone) = self.look(&mut places, name);
        if found? {
            return Ok(true);
        }
        let membership = joining.seat(notice)?;
        let seat = Arc::clone(membership.seat());
        _former = places.insert(name.clone(), Place { membership, role });
        drop(places);
        seat.announce(self.max_rooms);
        Ok(false)
    }

    /// What [`find`](Self::find) says, and the places of rooms that the connection was removed from:
    /// to be dropped when the lock is free again.
    fn look(
        &self,
        places: &mut Places<Role, R>,
        name: &RoomName,
    ) -> (Result<bool, JoinRefused>, Vec<Place<Role, R>>) {
        if let Some(place) = places.get(name) {
            return (Ok(place.membership.is_current()), Vec::new());
        }
        let mut gone = Vec::new();
        if places.len() >= self.max_rooms.get() {
            gone.extend(places.extract_if(|_, it| !it.membership.is_current()).map(|(_, it)| it));
        }
        let full = places.len() >= self.max_rooms.get();
        (if full { Err(JoinRefused::TooManyRooms) } else { Ok(false) }, gone)
    }

    /// Held to look at the map and to take a seat: never across an await. A room's lock may be taken
    /// under it, never the other way round. No code of the application's runs under it.
    fn lock(&self) -> MutexGuard<'_, Places<Role, R>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Role, R> Drop for Memberships<Role, R> {
    fn drop(&mut self) {
        let places = self.places.get_mut().unwrap_or_else(PoisonError::into_inner);
        let places = std::mem::take(places).into_values().map(|it| (it.membership, it.role));
        // Roles are the application's: they are dropped when the connection is in no room any more.
        let (memberships, _roles): (Vec<_>, Vec<_>) = places.unzip();
        leave_all(memberships);
    }
}

/// Places: about as many as a map starts with.
const KEPT: usize = 4;
