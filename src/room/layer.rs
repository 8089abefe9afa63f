//! Answer join and leave, and let messages through only from members.
//!
//! [`InRooms`] reads a message's [`Scope`] once and does one of four things:
//!
//! 1. `Join`: asks the policy and makes the peer a member. The answer is [`RoomNotice::Joined`], or
//!    [`RoomNotice::Refused`] with one code whatever the reason. A room that the peer is in already is
//!    answered the same, without asking the policy again; to be asked again, a peer leaves first.
//! 2. `Leave`: answers [`RoomNotice::Left`], whether the peer was in the room or not.
//! 3. `Within`: hands the message on with the proof [`Member`], or closes the connection with 1008. A peer
//!    that was removed from the room and neither left nor joined it since is answered
//!    [`RoomNotice::Removed`]: it may not have heard of it yet.
//! 4. `Connection`: hands the message on with a [`Member`] that is in no room.
//!
//! One message to a full room is ten thousand deliveries, so a limit on messages alone says little
//! about what a member can make the server send. What a user publishes is therefore charged to a
//! quota of its own, shared by all of its connections: for each message the members of the room times
//! the KiB of its payload, begun ones included.

use std::{
    fmt,
    marker::PhantomData,
    num::NonZeroUsize,
    sync::Arc,
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

use crate::{
    close::{Close, CloseReason},
    connection::Connection,
    foreign::Caught,
    layers::{
        Authenticated, Failure, Inbound, Reply,
        binding::{Binding, Own},
        future::{ResponseFuture, Unchanged},
        ready_on_call::ReadyOnCall,
    },
    principal::Principal,
    room::{
        entrant::Entrant,
        entry::{Loading, RoomState, StateOf},
        handle::RoomHandle,
        hooks::MemberHooks,
        hosted::Hosted,
        join_refused::JoinRefused,
        joining::Joining,
        member::Member,
        name::{RoomKey, RoomName},
        policy::RoomPolicy,
        rooms::Rooms,
        scope::{Left, Removed, RoomNotice, RoomScoped, Scope},
        subscriptions::{RoleOf, Subscriptions},
    },
};

/// Layer that applies [`InRooms`].
///
/// See the [module docs](crate::room) for an example.
#[must_use]
pub struct RoomsLayer<U, P, R> {
    rooms: Rooms<R>,
    policy: Arc<P>,
    max_rooms: NonZeroUsize,
    hooks: MemberHooks<U>,
    state: StateOf<U, R>,
    /// The users that the policy decides about.
    users: PhantomData<fn(U)>,
}

impl<U: Principal, P: RoomPolicy<U>, R> RoomsLayer<U, P, R> {
    /// Lets `policy` decide who gets into `rooms`.
    pub fn new(rooms: Rooms<R>, policy: P) -> Self {
        Self {
            rooms,
            policy: Arc::new(policy),
            max_rooms: DEFAULT_MAX_ROOMS_PER_CONNECTION,
            hooks: MemberHooks::default(),
            state: StateOf(None),
            users: PhantomData,
        }
    }

    /// How many rooms one connection may be in: 100 unless set. It bounds what one connection can
    /// make the server hold, and how many copies of a busy server's traffic it can ask for.
    pub fn max_rooms_per_connection(mut self, rooms: NonZeroUsize) -> Self {
        self.max_rooms = rooms;
        self
    }

    /// Calls `hook` when a peer has joined a room: it is a member by then. Hooks that were given before are
    /// called before. If one panics, the others are called all the same, and the connection closes with 1011.
    ///
    /// Each membership is told of once here and once to [`on_left`](Self::on_left), in this order, also those
    /// of which there is no audit record. It runs in the connection's own turn and is not to block.
    ///
    /// # Example
    ///
    /// Who is there, said to everybody who is:
    ///
    /// ```
    /// # use tower_websocket::{OpenRooms, RoomNotice, Rooms, RoomsLayer};
    /// # #[derive(serde::Serialize)]
    /// # struct Answer(String);
    /// # impl From<RoomNotice> for Answer {
    /// #     fn from(notice: RoomNotice) -> Self {
    /// #         Self(notice.code().to_owned())
    /// #     }
    /// # }
    /// let rooms = Rooms::<Answer>::new();
    /// let says = |rooms: &Rooms<Answer>, what: &'static str| {
    ///     let rooms = rooms.clone();
    ///     move |room: &_, user: &tower_websocket::Authenticated<String>, _: &_| {
    ///         let (lobby, line) = (rooms.at(room), Answer(format!("{} {what}", **user)));
    ///         tokio::spawn(async move { lobby.broadcast(&line).await });
    ///     }
    /// };
    /// let layer = RoomsLayer::new(rooms.clone(), OpenRooms)
    ///     .on_joined(says(&rooms, "is here"))
    ///     .on_left(says(&rooms, "has left"));
    /// # let _ = layer;
    /// ```
    pub fn on_joined(
        mut self,
        hook: impl Fn(&RoomKey, &Authenticated<U>, &Connection) + Send + Sync + 'static,
    ) -> Self {
        self.hooks.on_joined(Arc::new(hook));
        self
    }

    /// Loads with `load` what a joiner is told of its room before it hears what is said there: its state, from
    /// wherever that is.
    ///
    /// The order is this: the peer becomes a member, and is told [`Joined`](RoomNotice::Joined); then `load` is
    /// called, and what is published from here on is kept for the peer; then it is told the state, and what was
    /// kept. So nothing is missing between the two, whenever the state was read. What was published after the
    /// peer had joined and before the state was read is in both: where that matters, the state says its
    /// position ([`RoomState::at`]), and each message is heard either in the state or behind it. For that the
    /// application keeps the position of what it has published last beside the state, and changes the two
    /// together; or it changes the state first and publishes the change then, and changes are such that hearing
    /// one twice does no harm.
    ///
    /// Who comes back and is [given what it missed](crate::room::Joined::recovered) needs no state, and gets
    /// none; nor does who joins a [keyed](crate::room::Keyed) room, whose values are its state. The peer's further messages wait while the state is loaded, within
    /// [`handler_timeout`](crate::ConnectionConfig::handler_timeout), and what is kept for it counts as what
    /// it is behind.
    ///
    /// If `load` fails, the connection is closed for the reason that it gives.
    ///
    /// # Example
    ///
    /// ```
    /// # use std::sync::{Arc, Mutex};
    /// # use tower_websocket::{Authenticated, OpenRooms, RoomNotice, Rooms, RoomsLayer, room::RoomState};
    /// # type User = String;
    /// # #[derive(Clone, serde::Serialize)]
    /// # struct Answer(String);
    /// # impl From<RoomNotice> for Answer {
    /// #     fn from(notice: RoomNotice) -> Self {
    /// #         Self(notice.code().to_owned())
    /// #     }
    /// # }
    /// let topic = Arc::new(Mutex::new(Answer("none".to_owned())));
    /// let layer = RoomsLayer::new(Rooms::<Answer>::new(), OpenRooms).with_state(
    ///     move |_room, _user: Authenticated<User>, _connection| {
    ///         let topic = Arc::clone(&topic);
    ///         async move { Ok(RoomState::new([topic.lock().unwrap().clone()])) }
    ///     },
    /// );
    /// # let _ = layer;
    /// ```
    pub fn with_state<F>(
        mut self,
        load: impl Fn(RoomKey, Authenticated<U>, Connection) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<RoomState<R>, Close>> + Send + 'static,
    {
        self.state.0 = Some(Arc::new(move |room, user, connection| {
            Box::pin(load(room, user, connection)) as Loading<R>
        }));
        self
    }

    /// Calls `hook` when a peer has left a room: because it asked to, was removed, or its connection has
    /// ended. It is no member by then.
    ///
    /// It runs where that was found out, which may be in a drop, or in the task of who removes somebody, and is
    /// not to block. Panics are dealt with as in [`on_joined`](Self::on_joined).
    pub fn on_left(
        mut self,
        hook: impl Fn(&RoomKey, &Authenticated<U>, &Connection) + Send + Sync + 'static,
    ) -> Self {
        self.hooks.on_left(Arc::new(hook));
        self
    }
}

impl<S, U: Principal, P: RoomPolicy<U>, R> Layer<S> for RoomsLayer<U, P, R> {
    type Service = InRooms<S, U, P, R>;

    fn layer(&self, inner: S) -> Self::Service {
        InRooms {
            inner: ReadyOnCall::new(inner),
            binding: Binding::default(),
            rooms: self.rooms.clone(),
            policy: Arc::clone(&self.policy),
            hooks: self.hooks.clone(),
            state: self.state.clone(),
            subscriptions: Arc::new(Subscriptions::new(self.max_rooms)),
        }
    }
}

/// Lets messages through to rooms that the peer is in; made by [`RoomsLayer`] for one connection.
pub struct InRooms<S, U: Principal, P: RoomPolicy<U>, R> {
    /// Made ready for a message that reaches it, and never for a join or a leave.
    inner: ReadyOnCall<S>,
    binding: Binding,
    rooms: Rooms<R>,
    policy: Arc<P>,
    hooks: MemberHooks<U>,
    state: StateOf<U, R>,
    /// Shared with a join under way; when both are dropped, the connection has left all rooms.
    subscriptions: Arc<Subscriptions<P::Role, R>>,
}

impl<S, U, P, R> InRooms<S, U, P, R>
where
    U: Principal,
    P: RoomPolicy<U>,
    R: From<RoomNotice>,
{
    /// The room `name`, if the peer may speak there. The memberships are those of the connection that the
    /// service belongs to.
    fn admit(
        &self,
        _: &Own,
        name: &RoomName,
        user: &U,
        connection: &Connection,
    ) -> Option<(RoomHandle<R>, RoleOf<P::Role>)>
    where
        R: 'static,
    {
        self.subscriptions.current(name).or_else(|| {
            let (room, _) = self.hosted(user, name, connection)?.current(name)?;
            Some((room, Caught::none()))
        })
    }

    /// The rooms that the application has put the connection into, if what `name` means for `user` is among
    /// them: a room of the same name that is another tenant's is not what it asks for.
    fn hosted(&self, user: &U, name: &RoomName, connection: &Connection) -> Option<Arc<Hosted<R>>>
    where
        R: 'static,
    {
        let hosted = self.rooms.hosted(connection)?;
        hosted.is_of(name, &self.policy.key(user, name)).then_some(hosted)
    }

    /// Whether the peer was removed from the room `name`, and has not left it since, nor joined.
    fn is_removed(&self, name: &RoomName, user: &U, connection: &Connection) -> bool
    where
        R: 'static,
    {
        let hosted = || self.hosted(user, name, connection).is_some_and(|it| it.is_removed(name));
        self.subscriptions.is_removed(name) || hosted()
    }

    fn leave(&self, _: &Own, name: &RoomName, user: &U, connection: &Connection) -> Reply<R>
    where
        R: 'static,
    {
        self.subscriptions.leave(name);
        if let Some(hosted) = self.hosted(user, name, connection) {
            hosted.leave(name);
        }
        Reply::one(R::from(RoomNotice::Left(Left::new(name.clone()))))
    }
}

impl<S, T, Proof, U, P, R> Service<Inbound<T, Proof>> for InRooms<S, U, P, R>
where
    Proof: Entrant<U>,
    S: Service<Inbound<T, Member<U, R, P::Role>>, Response = Reply<R>>,
    S::Error: Into<Failure<R>>,
    T: RoomScoped,
    U: Principal,
    P: RoomPolicy<U>,
    R: From<RoomNotice> + 'static,
{
    type Response = Reply<R>;
    type Error = Failure<R>;
    type Future = ResponseFuture<S, Inbound<T, Member<U, R, P::Role>>, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, inbound: Inbound<T, Proof>) -> Self::Future {
        let own = match self.binding.admit("rooms", inbound.connection()) {
            Ok(own) => own,
            Err(reason) => return ResponseFuture::refused(reason),
        };
        let (message, proof, connection) = inbound.into_parts();
        let user = proof.into_user();
        let member = match message.scope() {
            Scope::Join(join) => {
                let encoder = &self.rooms.store().encoder;
                if let Err(reason) = encoder.check(&connection) {
                    return ResponseFuture::refused(reason);
                }
                encoder.speak(R::from);
                let join = Joining {
                    rooms: self.rooms.clone(),
                    policy: Arc::clone(&self.policy),
                    hooks: self.hooks.clone(),
                    state: self.state.clone(),
                    subscriptions: Arc::clone(&self.subscriptions),
                    name: join.room().clone(),
                    since: join.position(),
                    user,
                    connection,
                };
                return ResponseFuture::boxed(Box::pin(join.run()));
            }
            Scope::Leave(name) => {
                return ResponseFuture::ready(Ok(self.leave(&own, name, &user, &connection)));
            }
            Scope::Within(name) => match self.admit(&own, name, &user, &connection) {
                Some(room) => Ok(Member::claim(user, Some(room))),
                None if self.is_removed(name, &user, &connection) => {
                    connection.refuse("rooms", JoinRefused::Removed.rule(), None, None);
                    let notice = RoomNotice::Removed(Removed::new(name.clone()));
                    return ResponseFuture::ready(Ok(Reply::one(R::from(notice))));
                }
                None => Err(Close::because(CloseReason::NotAMember)),
            },
            Scope::Connection => Ok(Member::claim(user, None)),
        };
        match member {
            Ok(member) => {
                let inbound = Inbound::new(message, member, connection);
                self.inner.call(inbound, Unchanged)
            }
            Err(close) => {
                connection.refuse("rooms", close.reason().rule(), None, None);
                ResponseFuture::refused(close)
            }
        }
    }
}

impl<U, P, R> Clone for RoomsLayer<U, P, R> {
    fn clone(&self) -> Self {
        Self {
            rooms: self.rooms.clone(),
            policy: Arc::clone(&self.policy),
            max_rooms: self.max_rooms,
            hooks: self.hooks.clone(),
            state: self.state.clone(),
            users: PhantomData,
        }
    }
}

impl<U, P, R> fmt::Debug for RoomsLayer<U, P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomsLayer")
            .field("rooms", &self.rooms)
            .field("max_rooms_per_connection", &self.max_rooms)
            .finish_non_exhaustive()
    }
}

impl<S, U: Principal, P: RoomPolicy<U>, R> fmt::Debug for InRooms<S, U, P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rooms = self.subscriptions.len();
        f.debug_struct("InRooms").field("rooms", &rooms).finish_non_exhaustive()
    }
}

/// Phoenix's default for channels of one transport; a page with more open rooms than this is rare.
const DEFAULT_MAX_ROOMS_PER_CONNECTION: NonZeroUsize = NonZeroUsize::new(100).unwrap();
