//! Keep the rooms that one connection is in.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use crate::{
    capacity,
    foreign::Caught,
    room::{
        encoder::Welcome,
        entry::{Admitted, Entry},
        handle::RoomHandle,
        join_refused::JoinRefused,
        name::{RoomKey, RoomName},
        publisher::Publisher,
        state::Subscriber,
        subscription::{PendingJoin, Subscription, leave_all},
    },
};

/// The rooms one connection is in. Its size is bounded by `max_rooms`.
pub(super) struct Subscriptions<Role, R> {
    rooms: Mutex<Entered<Role, R>>,
    pub(super) max_rooms: NonZeroUsize,
    /// Made when the user is known, at the first join.
    pub(super) publisher: OnceLock<Arc<Publisher>>,
}

/// By name, in order. Most connections are in one room or two: a list of them takes less than a map.
type Entered<Role, R> = Vec<(RoomName, Membership<Role, R>)>;

struct Membership<Role, R> {
    subscription: Subscription<R>,
    role: RoleOf<Role>,
}

/// A member's role, shared by its messages. It is the application's, and so is its destructor.
pub(super) type RoleOf<Role> = Caught<Arc<Role>>;

impl<Role, R> Subscriptions<Role, R> {
    pub(super) fn new(max_rooms: NonZeroUsize) -> Self {
        Self { rooms: Mutex::default(), max_rooms, publisher: OnceLock::new() }
    }

    /// How many rooms the connection is in, those included that it was removed from and has not left.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// The room and the role, if the connection is a member as far as can be told without the room's
    /// lock; publishing looks again, under it.
    pub(super) fn current(&self, name: &RoomName) -> Option<(RoomHandle<R>, RoleOf<Role>)> {
        let rooms = self.lock();
        let membership = get(&rooms, name).filter(|it| it.subscription.is_current())?;
        let subscriber = Arc::clone(membership.subscription.subscriber());
        Some((RoomHandle::new(subscriber), membership.role.clone()))
    }

    /// Whether what is called `name` here is the room of `key`.
    pub(super) fn is_of(&self, name: &RoomName, key: &RoomKey) -> bool {
        get(&self.lock(), name).is_some_and(|it| it.subscription.subscriber().room().key == *key)
    }

    /// Whether the connection was removed from the room `name`, and has not left it since, nor joined.
    pub(super) fn is_removed(&self, name: &RoomName) -> bool {
        get(&self.lock(), name).is_some_and(|it| !it.subscription.is_current())
    }

    /// The place of the connection in the room `name`, to begin to hear it.
    pub(super) fn subscriber(&self, name: &RoomName) -> Option<Arc<Subscriber<R>>> {
        get(&self.lock(), name).map(|it| Arc::clone(it.subscription.subscriber()))
    }

    /// Leaves the room `name`, if the connection is in it.
    pub(super) fn leave(&self, name: &RoomName) {
        let membership = {
            let mut rooms = self.lock();
            let membership = place(&rooms, name).ok().map(|at| rooms.remove(at));
            if let Some(less) = capacity::smaller(rooms.len(), rooms.capacity(), KEPT) {
                rooms.shrink_to(less);
            }
            membership
        };
        // The lock is free again: leaving takes the room's.
        drop(membership);
    }

    /// Whether the connection is in the room `name` already, or an error if it is in as many others
    /// as it may be.
    pub(super) fn find(&self, name: &RoomName) -> Result<bool, JoinRefused> {
        let (found, gone) = self.look(&mut self.lock(), name);
        drop(gone);
        found
    }

    /// Makes the peer a member, unless it was one before: then there is neither a second membership nor a
    /// second event, and no welcome is sent.
    pub(super) fn admit(
        &self,
        name: &RoomName,
        join: PendingJoin<R>,
        role: RoleOf<Role>,
        welcome: &Welcome,
        entry: Entry,
    ) -> Result<Admitted, JoinRefused>
    where
        R: 'static,
    {
        // Declared before the lock is taken, and so dropped when it is free again.
        let (found, _gone, _former);
        let mut rooms = self.lock();
        (found, _gone) = self.look(&mut rooms, name);
        if found? {
            return Err(JoinRefused::Already);
        }
        let (subscription, admitted) = join.admit(welcome, entry)?;
        let subscriber = Arc::clone(subscription.subscriber());
        let entered = (name.clone(), Membership { subscription, role });
        match place(&rooms, name) {
            Ok(at) => _former = rooms.get_mut(at).map(|it| std::mem::replace(it, entered)),
            Err(at) => {
                _former = None;
                if rooms.is_empty() {
                    rooms.reserve_exact(1);
                }
                rooms.insert(at, entered);
            }
        }
        drop(rooms);
        subscriber.announce(self.max_rooms);
        Ok(admitted)
    }

    /// What [`find`](Self::find) says, and the memberships of rooms that the connection was removed from:
    /// to be dropped when the lock is free again.
    fn look(
        &self,
        rooms: &mut Entered<Role, R>,
        name: &RoomName,
    ) -> (Result<bool, JoinRefused>, Entered<Role, R>) {
        if let Some(membership) = get(rooms, name) {
            return (Ok(membership.subscription.is_current()), Vec::new());
        }
        let mut gone = Vec::new();
        if rooms.len() >= self.max_rooms.get() {
            gone.extend(rooms.extract_if(.., |(_, it)| !it.subscription.is_current()));
        }
        let full = rooms.len() >= self.max_rooms.get();
        (if full { Err(JoinRefused::TooManyRooms) } else { Ok(false) }, gone)
    }

    /// Held to look at the map and to be admitted: never across an await. A room's lock may be taken
    /// under it, never the other way round. No code of the application's runs under it.
    fn lock(&self) -> MutexGuard<'_, Entered<Role, R>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Role, R> Drop for Subscriptions<Role, R> {
    fn drop(&mut self) {
        let rooms = self.rooms.get_mut().unwrap_or_else(PoisonError::into_inner);
        let entered = std::mem::take(rooms);
        let memberships = entered.into_iter().map(|(_, it)| (it.subscription, it.role));
        // Roles are the application's: they are dropped when the connection is in no room any more.
        let (subscriptions, _roles): (Vec<_>, Vec<_>) = memberships.unzip();
        leave_all(subscriptions);
    }
}

/// Where the room `name` is among those, or would be.
fn place<Role, R>(rooms: &Entered<Role, R>, name: &RoomName) -> Result<usize, usize> {
    rooms.binary_search_by(|(entered, _)| entered.cmp(name))
}

fn get<'a, Role, R>(
    rooms: &'a Entered<Role, R>,
    name: &RoomName,
) -> Option<&'a Membership<Role, R>> {
    let (_, membership) = rooms.get(place(rooms, name).ok()?)?;
    Some(membership)
}

/// Rooms: about as many as a list starts with.
const KEPT: usize = 4;
