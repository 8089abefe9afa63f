//! Bring a peer into a room: ask the policy, admit it, and tell it the room's state.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;

use crate::{
    close::Close,
    connection::Connection,
    foreign::Caught,
    layers::{Authenticated, Failure, Reply},
    outbound::SendError,
    principal::Principal,
    quota::RateKeyValue,
    room::{
        directory::Listed,
        entry::{Admitted, Entry, RoomState, StateOf},
        hooks::MemberHooks,
        join_refused::JoinRefused,
        name::RoomName,
        policy::{JoinRequest, RoomPolicy},
        position::Position,
        publisher::Publisher,
        rooms::Rooms,
        scope::{Joined, Refused, Removed, RoomNotice},
        shares::Holder,
        subscription::PendingJoin,
        subscriptions::{RoleOf, Subscriptions},
    },
};

/// One join under way.
pub(super) struct Joining<U: Principal, P: RoomPolicy<U>, R> {
    pub(super) rooms: Rooms<R>,
    pub(super) policy: Arc<P>,
    pub(super) hooks: MemberHooks<U>,
    pub(super) state: StateOf<U, R>,
    pub(super) subscriptions: Arc<Subscriptions<P::Role, R>>,
    pub(super) name: RoomName,
    pub(super) since: Option<Position>,
    pub(super) user: Authenticated<U>,
    pub(super) connection: Connection,
}

impl<U: Principal, P: RoomPolicy<U>, R: From<RoomNotice> + 'static> Joining<U, P, R> {
    pub(super) async fn run(self) -> Result<Reply<R>, Failure<R>> {
        let refused = match self.decide().await {
            Ok((join, role)) => {
                let notice = |recovered| {
                    let joined = Joined::new(self.name.clone()).with_recovered(recovered);
                    R::from(RoomNotice::Joined(joined))
                };
                let encoder = &self.rooms.store().encoder;
                let welcome = encoder.welcome(self.since.is_some(), notice).map_err(Close::from)?;
                let entry = Entry { since: self.since, waits: self.state.0.is_some() };
                match self.subscriptions.admit(&self.name, join, role, &welcome, entry) {
                    Ok(Admitted::Hears) => return Ok(Reply::none()),
                    Ok(Admitted::Waits) => return self.begin().await,
                    Err(refused) => refused,
                }
            }
            Err(refused) => refused,
        };
        let notice = match refused {
            JoinRefused::Already => RoomNotice::Joined(Joined::new(self.name)),
            JoinRefused::Closed => return Ok(Reply::none()),
            // The application's words, and not the peer's doing.
            JoinRefused::NoticeTooLarge => return Err(Close::HANDLER_FAILED.into()),
            refused => {
                self.connection.refuse("rooms", refused.rule(), None, None);
                RoomNotice::Refused(Refused::new(self.name, refused.code()))
            }
        };
        Ok(Reply::one(R::from(notice)))
    }

    /// Loads the state, tells it, and lets the peer hear its room.
    async fn begin(self) -> Result<Reply<R>, Failure<R>> {
        let subscriber = self.subscriptions.subscriber(&self.name);
        let Some((load, subscriber)) = self.state.0.as_ref().zip(subscriber) else {
            return Ok(Reply::none());
        };
        let waiting = Waiting { joining: &self, is_over: false };
        let key = subscriber.room().key().clone();
        let RoomState { messages, at } =
            load(key, self.user.clone(), self.connection.clone()).await?;
        let encoder = &self.rooms.store().encoder;
        let messages = messages.iter().filter_map(Caught::get);
        let encoded: Result<Vec<_>, _> = messages.map(|it| encoder.encode(it)).collect();
        let begun = subscriber.begin(encoded.map_err(Close::from)?, at);
        waiting.end();
        match begun {
            Ok(()) | Err(SendError::Full(_) | SendError::Closed(_)) => Ok(Reply::none()),
            // The application's words, and not the peer's doing.
            Err(SendError::TooLarge(_)) => Err(Close::HANDLER_FAILED.into()),
        }
    }

    /// A join that the policy allows, and the role to be admitted in, or why there is none. A policy that
    /// panics has not said yes.
    async fn decide(&self) -> Result<(PendingJoin<R>, RoleOf<P::Role>), JoinRefused> {
        let hosted = || {
            let hosted = self.rooms.hosted(&self.connection)?;
            let key = self.policy.key(&self.user, &self.name);
            hosted.is_of(&self.name, &key).then(|| hosted.current(&self.name))?
        };
        if self.subscriptions.find(&self.name)? || hosted().is_some() {
            return Err(JoinRefused::Already);
        }
        let asked = async {
            let key = self.policy.key(&self.user, &self.name);
            let (connection, each) = (self.connection.clone(), self.subscriptions.max_rooms);
            let join = self.rooms.store().enter(
                &key,
                &self.name,
                connection,
                self.user_id(),
                self.publisher(),
                each,
            )?;
            let request = JoinRequest::new(&*self.user, &key, &self.connection);
            match self.policy.join(request).await {
                Ok(role) => Ok((join, Caught::new(Arc::new(role)))),
                Err(_) => Err(JoinRefused::Denied),
            }
        };
        let answer = AssertUnwindSafe(asked).catch_unwind().await;
        answer.unwrap_or(Err(JoinRefused::PolicyFailed))
    }

    /// What all rooms of the connection have in common: its turns, its shares, and the user's quota.
    fn publisher(&self) -> Arc<Publisher> {
        let subscriptions = &self.subscriptions;
        if let Some(publisher) = subscriptions.publisher.get() {
            return Arc::clone(publisher);
        }
        let user = RateKeyValue::of((self.user.tenant(), self.user.id()));
        let address = self.connection.client_ip();
        let quotas = Arc::clone(&self.rooms.store().quotas);
        let watch = self.hooks.watch(&self.user);
        let holder = Holder { user, address };
        let publisher = || Arc::new(Publisher::new(holder, quotas, watch));
        Arc::clone(subscriptions.publisher.get_or_init(publisher))
    }

    /// The user's id: the connection's own copy, which all of its rooms can share, where it has one.
    fn user_id(&self) -> Arc<str> {
        let id = self.user.id();
        let own = self.connection.user_id().filter(|own| ***own == *id);
        own.map_or_else(|| id.into(), Arc::clone)
    }
}

/// While this lives the peer hears nothing. If it does not come to that, because nobody waits for the state
/// any more, the peer is not in the room, and is told so.
struct Waiting<'a, U: Principal, P: RoomPolicy<U>, R: From<RoomNotice> + 'static> {
    joining: &'a Joining<U, P, R>,
    is_over: bool,
}

impl<U: Principal, P: RoomPolicy<U>, R: From<RoomNotice> + 'static> Waiting<'_, U, P, R> {
    fn end(mut self) {
        self.is_over = true;
    }
}

impl<U: Principal, P: RoomPolicy<U>, R: From<RoomNotice> + 'static> Drop for Waiting<'_, U, P, R> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let Joining { subscriptions, name, rooms, connection, .. } = self.joining;
        subscriptions.leave(name);
        let notice = RoomNotice::Removed(Removed::new(name.clone()));
        if let Some(message) = rooms.store().encoder.notice(notice, None) {
            let _closed = connection.outbound().push(message);
        }
    }
}
