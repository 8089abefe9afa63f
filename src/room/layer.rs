//! Answer join and leave, and let messages through only from members.
//!
//! [`InRooms`] reads a message's [`Scope`] once and does one of four things:
//!
//! 1. `Join`: asks the policy and makes the peer a member. The answer is [`RoomNotice::Joined`], or
//!    [`RoomNotice::Refused`] with one code whatever the reason. A room that the peer is in already is
//!    answered the same, without asking the policy again; to be asked again, a peer leaves first.
//! 2. `Leave`: answers [`RoomNotice::Left`], whether the peer was in the room or not.
//! 3. `Within`: hands the message on with the proof [`Member`], or closes the connection with 1008.
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
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::FutureExt;
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
    quota::RateKeyValue,
    room::{
        entrant::Entrant,
        join_refused::JoinRefused,
        member::Member,
        name::RoomName,
        policy::{JoinRequest, RoomPolicy},
        position::Position,
        publisher::Publisher,
        rooms::Rooms,
        scope::{Joined, Left, Refused, RoomNotice, RoomScoped, Scope},
        shares::Holder,
        subscription::PendingJoin,
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
            users: PhantomData,
        }
    }

    /// How many rooms one connection may be in: 100 unless set. It bounds what one connection can
    /// make the server hold, and how many copies of a busy server's traffic it can ask for.
    pub fn max_rooms_per_connection(mut self, rooms: NonZeroUsize) -> Self {
        self.max_rooms = rooms;
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
    /// Shared with a join under way; when both are dropped, the connection has left all rooms.
    subscriptions: Arc<Subscriptions<P::Role, R>>,
}

impl<S, U, P, R> InRooms<S, U, P, R>
where
    U: Principal,
    P: RoomPolicy<U>,
    R: From<RoomNotice>,
{
    /// The proof that the peer may speak in the room `name`, or why not. The memberships are those of
    /// the connection that the service belongs to.
    fn admit(
        &self,
        _: &Own,
        name: &RoomName,
        user: Authenticated<U>,
    ) -> Result<Member<U, R, P::Role>, Close> {
        let room =
            self.subscriptions.current(name).ok_or(Close::because(CloseReason::NotAMember))?;
        Ok(Member::claim(user, Some(room)))
    }

    fn leave(&self, _: &Own, name: &RoomName) -> Reply<R> {
        self.subscriptions.leave(name);
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
                    subscriptions: Arc::clone(&self.subscriptions),
                    name: join.room().clone(),
                    since: join.position(),
                    user,
                    connection,
                };
                return ResponseFuture::boxed(Box::pin(join.run()));
            }
            Scope::Leave(name) => return ResponseFuture::ready(Ok(self.leave(&own, name))),
            Scope::Within(name) => self.admit(&own, name, user),
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

/// One join under way.
struct Joining<U: Principal, P: RoomPolicy<U>, R> {
    rooms: Rooms<R>,
    policy: Arc<P>,
    subscriptions: Arc<Subscriptions<P::Role, R>>,
    name: RoomName,
    since: Option<Position>,
    user: Authenticated<U>,
    connection: Connection,
}

impl<U: Principal, P: RoomPolicy<U>, R: From<RoomNotice> + 'static> Joining<U, P, R> {
    async fn run(self) -> Result<Reply<R>, Failure<R>> {
        let refused = match self.decide().await {
            Ok((join, role)) => {
                let notice = |recovered| {
                    let joined = Joined::new(self.name.clone()).with_recovered(recovered);
                    R::from(RoomNotice::Joined(joined))
                };
                let encoder = &self.rooms.store().encoder;
                let welcome = encoder.welcome(self.since.is_some(), notice).map_err(Close::from)?;
                match self.subscriptions.admit(&self.name, join, role, &welcome, self.since) {
                    Ok(false) => return Ok(Reply::none()),
                    Ok(true) => JoinRefused::Already,
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

    /// A join that the policy allows, and the role to be admitted in, or why there is none. A policy that
    /// panics has not said yes.
    async fn decide(&self) -> Result<(PendingJoin<R>, RoleOf<P::Role>), JoinRefused> {
        if self.subscriptions.find(&self.name)? {
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
        let publisher = || Arc::new(Publisher::new(Holder { user, address }, quotas));
        Arc::clone(subscriptions.publisher.get_or_init(publisher))
    }

    /// The user's id: the connection's own copy, which all of its rooms can share, where it has one.
    fn user_id(&self) -> Arc<str> {
        let id = self.user.id();
        let own = self.connection.user_id().filter(|own| ***own == *id);
        own.map_or_else(|| id.into(), Arc::clone)
    }
}

impl<U, P, R> Clone for RoomsLayer<U, P, R> {
    fn clone(&self) -> Self {
        Self {
            rooms: self.rooms.clone(),
            policy: Arc::clone(&self.policy),
            max_rooms: self.max_rooms,
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
