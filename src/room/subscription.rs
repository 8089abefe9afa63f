//! Own a connection's membership of a room, from the join to the end.
//!
//! A [`PendingJoin`] is in the room's books but gets nothing; admitting it makes a [`Subscription`].
//! Dropping either takes it out, so that whatever owned it, a future or a connection, leaves nobody
//! behind.

use std::sync::Arc;

use crate::{
    audit::{AuditEvent, LeftAll},
    connection::Connection,
    outbound::Seat,
    room::{
        directory::RoomLease,
        encoder::Welcome,
        entry::{Admitted, Entry},
        join_refused::JoinRefused,
        name::RoomName,
        pace::UsersPace,
        state::{Removed, Room, Subscriber},
    },
};

/// A join under way.
pub(super) struct PendingJoin<R>(Subscription<R>);

/// A connection's membership of a room. Dropping it leaves the room.
pub(super) struct Subscription<R> {
    subscriber: Arc<Subscriber<R>>,
    /// The same, as the connection's write side knows it; not before it is admitted.
    seat: Option<Arc<dyn Seat>>,
}

impl<R> PendingJoin<R> {
    pub(super) fn new(
        lease: RoomLease<Room<R>>,
        name: &RoomName,
        connection: Connection,
        user: Arc<str>,
        pace: Arc<UsersPace>,
    ) -> Self {
        let subscriber = Room::enter(lease, name, connection, user, pace);
        Self(Subscription { subscriber, seat: None })
    }

    /// Queues what is said in `welcome` for the joiner and makes it a member, in one step.
    pub(super) fn admit(
        self,
        welcome: &Welcome,
        entry: Entry,
    ) -> Result<(Subscription<R>, Admitted), JoinRefused>
    where
        R: 'static,
    {
        let Self(mut subscription) = self;
        let subscriber = Arc::clone(&subscription.subscriber);
        let seat: Arc<dyn Seat> = subscription.subscriber.clone();
        let admitted = subscriber.admit(&seat, welcome, entry)?;
        subscription.seat = Some(seat);
        Ok((subscription, admitted))
    }
}

impl<R> Subscription<R> {
    pub(super) fn subscriber(&self) -> &Arc<Subscriber<R>> {
        &self.subscriber
    }

    fn leave(&self) -> Option<Removed<R>> {
        self.subscriber.leave(self.seat.as_ref())
    }

    /// Whether the membership still holds; `false` after the user was removed.
    pub(super) fn is_current(&self) -> bool {
        !self.subscriber.is_gone()
    }
}

/// Leaves the rooms of all `subscriptions`, which are one connection's, with one record.
pub(super) fn leave_all<R>(subscriptions: impl IntoIterator<Item = Subscription<R>>) {
    let removed = subscriptions.into_iter().filter_map(|it| it.leave());
    let mut left: Vec<_> = removed.filter_map(Removed::give_back).collect();
    left.iter().for_each(|it| it.tell_hooks_left());
    left.retain(|it| it.is_recorded());
    left.sort_unstable_by(|a, b| a.room().label().cmp(b.room().label()));
    match &left[..] {
        [] => {}
        [subscriber] => subscriber.record_left(),
        [first, ..] => {
            let rooms = left.iter().take(NAMED_ROOMS).map(|it| Arc::clone(it.room().label()));
            let left = LeftAll { count: left.len(), rooms: rooms.collect() };
            first.connection().record(AuditEvent::LeftAll(left));
        }
    }
}

impl<R> Drop for Subscription<R> {
    fn drop(&mut self) {
        let left = self.leave().and_then(Removed::give_back);
        if let Some(subscriber) = left {
            subscriber.announce_left();
        }
    }
}

/// Rooms that the record of a connection's end names: enough to know it again, and not a list of
/// whatever length it likes.
const NAMED_ROOMS: usize = 8;
