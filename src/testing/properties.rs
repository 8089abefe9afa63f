//! Properties that every endpoint should have, tried on one of yours.

use std::{fmt, time::Duration};

use futures_util::FutureExt;
use http::Request;

use super::{
    Content, Received, TestPeer, TestServer,
    content::shown,
    crowd::{Crowd, ROOMS, USERS},
    handshake,
};
use crate::message::Message;

/// Tries your own stack, with your own messages, at random.
///
/// The clock has to be paused (`#[tokio::test(start_paused = true)]`): it passes when nothing else can
/// happen. After each step so much of it passes that whatever the step causes has
/// [settled](Self::settle). Give the server quotas for a few messages of each peer in that time.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use serde_json::json;
/// use tower_websocket::testing::{Properties, TestServer};
///
/// # use tower::{ServiceBuilder, service_fn};
/// # use tower_websocket::{*, service::{self, ClientMessage}};
/// # let auth = RequireAuthLayer::from_fn(async |m, _| {
/// #     let token = service::credentials(&m).ok_or(AuthFailure::Rejected)?;
/// #     Ok(Session::new(token.as_str().to_owned()))
/// # });
/// # let messages = ServiceBuilder::new()
/// #     .layer(auth)
/// #     .layer(DecodeLayer::<ClientMessage>::json())
/// #     .layer(RoomsLayer::new(Rooms::new(), OpenRooms));
/// # let endpoint = WebSocketEndpoint::new(messages, service_fn(service::handle));
/// let server = TestServer::endpoint(endpoint);
/// Properties::new(&server, "/")
///     .login(|n| json!({ "type": "auth", "token": format!("user-{n}") }))
///     .no_leak_between_rooms(
///         |room| json!({ "type": "join", "roomId": room }),
///         |room| json!({ "type": "leave", "roomId": room }),
///         |room, text| json!({ "type": "chat", "roomId": room, "text": text }),
///     )
///     .await;
/// # }
/// ```
pub struct Properties<'a> {
    server: &'a TestServer,
    request: Box<dyn Fn(usize) -> Request<()> + 'a>,
    login: Option<Box<dyn Fn(usize) -> Message + 'a>>,
    settle: Duration,
    cases: u64,
    seed: u64,
}

impl<'a> Properties<'a> {
    /// Properties of the endpoint at `path`. Unless told otherwise, a peer is logged in by connecting.
    pub fn new(server: &'a TestServer, path: impl Into<String>) -> Self {
        let path = path.into();
        let request = Box::new(move |_| handshake(&path).body(()).expect("a path"));
        let settle = Duration::from_secs(1);
        Self { server, request, login: None, settle, cases: 64, seed: 0 }
    }

    /// The handshake of the `n`th user, if it is not [`handshake()`]'s: with an origin or a cookie.
    #[must_use]
    pub fn request(mut self, request: impl Fn(usize) -> Request<()> + 'a) -> Self {
        self.request = Box::new(request);
        self
    }

    /// What the `n`th user sends to log in.
    #[must_use]
    pub fn login<C: Content>(mut self, login: impl Fn(usize) -> C + 'a) -> Self {
        self.login = Some(Box::new(move |n| login(n).message()));
        self
    }

    /// How long after it was caused everything has happened; a second unless set. A verifier, a policy
    /// or a handler that takes longer needs more. It is the paused clock's time and costs none.
    #[must_use]
    pub fn settle(mut self, time: Duration) -> Self {
        self.settle = time;
        self
    }

    /// How many times to try; 64 unless set.
    ///
    /// # Panics
    ///
    /// If it is zero, which would show nothing.
    #[must_use]
    pub fn cases(mut self, cases: u64) -> Self {
        assert!(cases > 0, "no cases show nothing");
        self.cases = cases;
        self
    }

    /// Where the random choices begin. The default is always the same; a failure names the seed that
    /// repeats it in one case, unless the cases before it have left something behind in the server.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Nothing of the application runs before authentication: whatever of `messages` a peer sends
    /// that has not logged in, as text and as binary, whole, cut short or in parts, alone or with
    /// credentials behind, the connection is closed, nothing is answered, and `calls`, which says how
    /// often your handler has run, stays what it was.
    ///
    /// # Panics
    ///
    /// If that does not hold, or if the handler does not run after a login either, so that nothing
    /// would have been shown.
    pub async fn nothing_before_auth<C: Content>(
        &self,
        messages: impl IntoIterator<Item = C>,
        calls: impl Fn() -> usize,
    ) {
        let messages: Vec<_> = messages.into_iter().map(|it| it.message()).collect();
        assert!(!messages.is_empty(), "no messages to try");
        for seed in self.seeds() {
            let mut random = fastrand::Rng::with_seed(seed);
            let before = calls();
            let mut peer = self.connect(0).await;
            let mut sent = Vec::new();
            for _ in 0..random.usize(1..4) {
                let message = changed(&messages[random.usize(..messages.len())], &mut random);
                sent.push(shown(&message));
                match random.u8(..3) {
                    0 => peer.send(message),
                    1 => peer.send_in_fragments(message, random.usize(1..4)),
                    _ => peer.send_in_pieces(message, random.usize(1..20)),
                }
            }
            if let Some(login) = self.login.as_ref().filter(|_| random.bool()) {
                peer.send(login(0));
            }
            self.settled().await;
            let heard = all(&mut peer);
            if !matches!(&heard[..], [Received::Closed { .. }, Received::Ended]) {
                panic!("seed {seed}: a stranger sent {sent:?}, was not just closed: {heard:?}");
            }
            assert_eq!(calls(), before, "seed {seed}: the handler ran for a stranger's {sent:?}");
        }
        let before = calls();
        for message in messages {
            let peer = self.log_in(0, self.seed).await;
            peer.send(message);
            self.settled().await;
        }
        assert!(calls() > before, "the handler does not run after a login either");
    }

    /// No message leaves a room except to its members, and all of them hear the same in one order: a
    /// few users join and leave rooms with your `join` and `leave`, say things with your `say`, to
    /// rooms that they are in and to others, hang up and come back.
    ///
    /// What is said in a room has to come to each of its other members with its text somewhere in it,
    /// as [`RoomHandle::broadcast`](crate::room::RoomHandle::broadcast) does it. Who says it may hear it, or not. The
    /// rooms are `room-1`, `room-10` and `Room-1`.
    ///
    /// # Panics
    ///
    /// If a member hears what is not for it, or does not hear what is, or if members hear it in
    /// different orders.
    pub async fn no_leak_between_rooms<J: Content, L: Content, S: Content>(
        &self,
        join: impl Fn(&str) -> J,
        leave: impl Fn(&str) -> L,
        say: impl Fn(&str, &str) -> S,
    ) {
        for seed in self.seeds() {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut crowd = Crowd::new(self, seed).await;
            for _ in 0..OPERATIONS {
                let (user, room) = (random.usize(..USERS), ROOMS[random.usize(..ROOMS.len())]);
                match random.u8(..12) {
                    0..=4 => crowd.join(user, room, join(room)),
                    5 if crowd.is_in(user, room) => {
                        crowd.leave(user, room, leave(room)).await;
                        // At once: it has left, whether everything has settled or not.
                        crowd.all_tell(room, |text| say(room, text));
                    }
                    6 => crowd.come_back(user).await,
                    7 if !crowd.is_in(user, room) => {
                        crowd.tell(user, |text| say(room, text));
                        self.settled().await;
                        crowd.check(room);
                        // It may have been closed for that.
                        crowd.come_back(user).await;
                    }
                    _ => crowd.all_tell(room, |text| say(room, text)),
                }
                self.settled().await;
                crowd.check(room);
            }
        }
    }

    fn seeds(&self) -> impl Iterator<Item = u64> {
        let first = self.seed;
        (0..self.cases).map(move |n| first.wrapping_add(n))
    }

    async fn connect(&self, user: usize) -> TestPeer {
        let answer = self.server.request((self.request)(user)).await;
        answer.unwrap_or_else(|response| panic!("user {user} is refused: {response:?}"))
    }

    /// A peer that has logged in and heard what is said to that.
    pub(super) async fn log_in(&self, user: usize, seed: u64) -> TestPeer {
        let mut peer = self.connect(user).await;
        if let Some(login) = &self.login {
            peer.send(login(user));
        }
        self.settled().await;
        let heard = all(&mut peer);
        let open = heard.iter().all(|it| matches!(it, Received::Message(_)));
        assert!(open, "seed {seed}: user {user} cannot log in: {heard:?}");
        peer
    }

    /// Waits until nothing more happens.
    pub(super) async fn settled(&self) {
        // Panics if the clock is not paused: then nothing here would be known.
        tokio::time::advance(Duration::ZERO).await;
        tokio::time::sleep(self.settle).await;
    }

    pub(super) fn settling(&self) -> Duration {
        self.settle
    }
}

impl fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Properties")
            .field("cases", &self.cases)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// The message, or something like it that is none.
fn changed(message: &Message, random: &mut fastrand::Rng) -> Message {
    match random.u8(..8) {
        0 => Message::binary(message.as_bytes().to_vec()),
        1 => Message::binary(b"\0"[..].to_vec()),
        2 => Message::text(String::new()),
        3 => Message::text("x"),
        4 => match message.as_text() {
            Some(text) => Message::text(text.chars().take(text.len() / 2).collect::<String>()),
            None => Message::binary(message.as_bytes()[..message.len() / 2].to_vec()),
        },
        _ => message.clone(),
    }
}

/// All that has come by now.
pub(super) fn all(peer: &mut TestPeer) -> Vec<Received> {
    let mut heard = Vec::new();
    while let Some(it) = peer.hear().now_or_never() {
        let ended = it == Received::Ended;
        heard.push(it);
        if ended {
            break;
        }
    }
    heard
}

const OPERATIONS: usize = 40;
