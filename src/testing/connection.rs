//! A connection without a socket, to call a handler directly.

use std::{
    any::Any,
    collections::VecDeque,
    fmt,
    future::{Ready, ready},
    net::SocketAddr,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

use super::Records;
use crate::{
    audit::Audit,
    client_addr::ClientAddr,
    close::{Close, CloseReason},
    connection::Connection,
    connections::Connections,
    driver::ConnectionConfig,
    layers::{Anonymous, Authenticated, Failure, Inbound, Reply, Session},
    login::Moment,
    message::Message,
    outbound::drained::drain,
    principal::Principal,
    room::{
        JoinDenied, JoinRequest, Member, RoomKey, RoomName, RoomNotice, RoomPolicy, RoomScoped,
        Rooms, RoomsLayer, Scope,
    },
};

/// A connection that is not served: what is sent to its peer stays in its queue, to be looked at.
///
/// With it a handler is called as the function that it is. It makes the proofs that the layers would
/// have made, which nothing else can.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use tower_websocket::{
///     Authenticated, HandlerResult, Inbound, Reply, testing::{TestConnection, assert_reply},
/// };
///
/// async fn add(
///     numbers: Inbound<Vec<u32>, Authenticated<&'static str>>,
/// ) -> HandlerResult<u32> {
///     Ok(Reply::one(numbers.message.iter().sum()))
/// }
///
/// let ada = TestConnection::new();
/// let proof = ada.authenticated("ada");
/// assert_reply(add(ada.inbound(vec![1, 2], proof)).await, 3);
/// # }
/// ```
pub struct TestConnection {
    connection: Connection,
    records: Records,
    /// Taken from the connection's queue, and not looked at yet.
    pushed: VecDeque<Message>,
    closed: Option<CloseReason>,
    /// What holds its memberships, by the room's name.
    rooms: Vec<(RoomName, Box<dyn Any + Send>)>,
}

impl TestConnection {
    /// A connection within the default bounds, whose peer has not logged in.
    pub fn new() -> Self {
        Self::with(&ConnectionConfig::new(), None)
    }

    /// A connection within other bounds, from an address.
    pub fn with(config: &ConnectionConfig, peer: Option<SocketAddr>) -> Self {
        let records = Records::default();
        let limits = config.outbound_limits();
        let client = peer.map(|it| ClientAddr::new(it, it.ip(), false));
        let connection = Connection::new(client, limits, None, Audit::new(records.clone()));
        let (pushed, rooms) = Default::default();
        Self { connection, records, pushed, closed: None, rooms }
    }

    /// The handle that a handler gets.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What was recorded of it.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// The proof of a peer that has shown nothing.
    pub fn anonymous(&self) -> Anonymous {
        Anonymous::claim()
    }

    /// The proof that the peer is `user`. The connection has the user's id from now on.
    ///
    /// # Panics
    ///
    /// If it has another user's: a connection is one user's for good.
    #[track_caller]
    pub fn authenticated<U: Principal>(&self, user: U) -> Authenticated<U> {
        let refused = |close| panic!("it is not let in: {close}");
        self.logged_in(Session::new(user)).unwrap_or_else(refused)
    }

    /// The proof that the peer has `session`.
    ///
    /// # Errors
    ///
    /// Why the [`Connections`] that it is [in](Self::enter) do not let it in.
    ///
    /// # Panics
    ///
    /// As [`authenticated`](Self::authenticated).
    #[track_caller]
    pub fn logged_in<U: Principal>(&self, session: Session<U>) -> Result<Authenticated<U>, Close> {
        let login = session.login(Moment::now());
        let user = session.into_user();
        self.connection.authenticated(&*user, None, login)?;
        let known = self.connection.user_id().map(|it| &**it);
        assert_eq!(known, Some(user.id()), "whose connection it is");
        Ok(Authenticated::claim(user))
    }

    /// Is in `connections` from now on, as what an endpoint serves, until it is dropped.
    pub fn enter(&self, connections: &Connections) {
        Arc::new(connections.clone()).register(&self.connection);
    }

    /// Makes `user` a member of the room `name` of its tenant, as `role`, and returns the proof. It
    /// stays one until it [leaves](Self::leave) or is removed, or until this connection is dropped.
    /// The notice that it joined is taken out of the queue.
    ///
    /// # Panics
    ///
    /// If `name` is no room's name, if it is a member already, or if the room is full.
    pub async fn join<U, R, Role>(
        &mut self,
        rooms: &Rooms<R>,
        user: &Authenticated<U>,
        name: &str,
        role: Role,
    ) -> Member<U, R, Role>
    where
        U: Principal,
        Role: Clone + Send + Sync + 'static,
        R: From<RoomNotice> + Send + 'static,
    {
        let name: RoomName = name.parse().expect("a room's name");
        // Only what was joined here can be joined already; to look costs as much as the room is large.
        if self.rooms.iter().any(|(it, _)| *it == name) {
            let there = rooms.at(&RoomKey::of(&**user, name.clone())).members().await;
            let there = there.expect("the rooms say who is in them");
            let already = there.iter().any(|it| it.connection_id == self.connection.id());
            assert!(!already, "{:?} is in {name} already", user.id());
        }
        let kept = Keep::default();
        // What the layer lets through gives the proof; the layer keeps the membership.
        let mut stack = RoomsLayer::new(rooms.clone(), As(role)).layer(kept.clone());
        for ask in [Ask::Join(name.clone()), Ask::Within(name.clone())] {
            // A refusal shows: the handler is not reached.
            let _ = stack.call(self.inbound(ask, user.clone())).await;
        }
        self.take();
        self.pushed.pop_back();
        self.rooms.push((name, Box::new(stack)));
        let member = kept.0.lock().unwrap().take();
        member.expect("the room refuses the user")
    }

    /// Leaves the rooms of this name.
    pub fn leave(&mut self, name: &str) {
        self.rooms.retain(|(it, _)| it.as_str() != name);
    }

    /// The proof of a member whose message is about no room.
    pub fn in_no_room<U, R, Role>(&self, user: &Authenticated<U>) -> Member<U, R, Role> {
        Member::claim(user.clone(), None)
    }

    /// `message` as it would come from this connection.
    pub fn inbound<M, P>(&self, message: M, proof: P) -> Inbound<M, P> {
        Inbound::new(message, proof, self.connection.clone())
    }

    /// The next message that was pushed to the peer, or published to a room it is in.
    pub fn pushed(&mut self) -> Option<Message> {
        self.take();
        self.pushed.pop_front()
    }

    /// Why it was told to close, or would be closed by now. It takes no messages any more then.
    pub fn close_reason(&mut self) -> Option<CloseReason> {
        self.take();
        self.closed.clone()
    }

    /// Takes what is queued, as the driver of a peer that reads at once does.
    fn take(&mut self) {
        let drained = drain(self.connection.outbound(), usize::MAX);
        self.pushed.extend(drained.messages);
        if self.closed.is_none() {
            let asked = self.connection.take_signals().and_then(|it| it.close);
            self.closed = asked
                .map(CloseReason::from)
                .or(drained.overflowed.then_some(CloseReason::SlowConsumer))
                .or(drained.evicted.then_some(CloseReason::Overloaded));
        }
        if self.closed.is_some() {
            self.connection.outbound().close();
        }
    }
}

impl Drop for TestConnection {
    fn drop(&mut self) {
        self.connection.leave_registry();
    }
}

impl Default for TestConnection {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TestConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestConnection")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

/// What a connection asks of the layer, to get at a member's proof.
enum Ask {
    Join(RoomName),
    Within(RoomName),
}

impl RoomScoped for Ask {
    fn scope(&self) -> Scope<'_> {
        match self {
            Self::Join(name) => Scope::Join(name.into()),
            Self::Within(name) => Scope::Within(name),
        }
    }
}

/// Lets everybody in, as this.
struct As<Role>(Role);

impl<U: Principal, Role: Clone + Send + Sync + 'static> RoomPolicy<U> for As<Role> {
    type Role = Role;

    async fn join(&self, _: JoinRequest<'_, U>) -> Result<Role, JoinDenied> {
        Ok(self.0.clone())
    }
}

/// A handler that keeps its sender's proof.
struct Keep<P>(Arc<Mutex<Option<P>>>);

impl<P> Clone for Keep<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P> Default for Keep<P> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<U, R, Role: Clone> Service<Inbound<Ask, Member<U, R, Role>>> for Keep<Member<U, R, Role>> {
    type Response = Reply<R>;
    type Error = Failure<R>;
    type Future = Ready<Result<Reply<R>, Failure<R>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure<R>>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, inbound: Inbound<Ask, Member<U, R, Role>>) -> Self::Future {
        *self.0.lock().unwrap() = Some(inbound.proof().clone());
        ready(Ok(Reply::none()))
    }
}
