//! Properties that every endpoint should have, tried on one of yours.

use std::{fmt, ops::Range, time::Duration};

use futures_util::FutureExt;

use super::{
    Content, Heard, TestPeer, TestServer,
    crowd::{Crowd, ROOMS, USERS},
};
use crate::message::Message;

/// Tries your own stack, with your own messages, at random.
///
/// The clock has to be paused (`#[tokio::test(start_paused = true)]`): it passes when nothing else can
/// happen, which is how the end of what a message causes is known. Give the server quotas under which
/// a peer may say ten things a second.
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
/// # use tower_websocket::{*, room::service::{self, ClientMessage}};
/// # struct User(String);
/// # impl Principal for User { fn id(&self) -> &str { &self.0 } }
/// # struct Tokens;
/// # impl Authenticate for Tokens {
/// #     type User = User;
/// #     async fn authenticate(&self, m: &Message, _: &Connection) -> Result<Session<User>, AuthFailure> {
/// #         let token = service::credentials(m).ok_or(AuthFailure::Rejected)?;
/// #         Ok(Session::new(User(token.as_str().to_owned())))
/// #     }
/// # }
/// # let messages = ServiceBuilder::new()
/// #     .layer(RequireAuthLayer::new(Tokens))
/// #     .layer(DecodeLayer::<ClientMessage>::json())
/// #     .layer(RoomsLayer::new(Rooms::new(), OpenRooms));
/// # let endpoint = WebSocketLayer::new(messages, service_fn(service::handle));
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
    path: String,
    login: Box<dyn Fn(usize) -> Message + 'a>,
    cases: u64,
    seed: u64,
}

impl<'a> Properties<'a> {
    /// Properties of the endpoint at `path`. Unless told otherwise, a peer is logged in by connecting.
    pub fn new(server: &'a TestServer, path: impl Into<String>) -> Self {
        let login = Box::new(|_| Message::default());
        Self { server, path: path.into(), login, cases: 64, seed: 0 }
    }

    /// What the `n`th user sends to log in.
    #[must_use]
    pub fn login<C: Content>(mut self, login: impl Fn(usize) -> C + 'a) -> Self {
        self.login = Box::new(move |n| login(n).message());
        self
    }

    /// How many times to try; 64 unless set.
    #[must_use]
    pub fn cases(mut self, cases: u64) -> Self {
        self.cases = cases;
        self
    }

    /// Where the random choices begin. The default is always the same; a failure names the seed that
    /// repeats it in one case.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Nothing of the application runs before authentication: whatever of `messages` somebody sends
    /// who has not logged in, whole or in parts, alone or with credentials behind, the connection is
    /// closed, nothing is answered, and `calls`, which says how often your handler has run, stays what
    /// it was.
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
            let mut peer = self.server.connect(&self.path).await;
            for _ in 0..random.usize(1..4) {
                let message = messages[random.usize(..messages.len())].clone();
                match random.u8(..3) {
                    0 => peer.send(message),
                    1 => peer.send_in_fragments(message, random.usize(1..4)),
                    _ => peer.send_in_pieces(message, random.usize(1..20)),
                }
            }
            if random.bool() {
                peer.send((self.login)(0));
            }
            quiet().await;
            let heard = all(&mut peer);
            let refused = [Heard::Ended].as_slice();
            match heard.split_first() {
                Some((Heard::Closed { .. }, rest)) if rest == refused => {}
                _ => panic!("seed {seed}: a stranger was not just closed, but heard {heard:?}"),
            }
            assert_eq!(calls(), before, "seed {seed}: the handler ran for a stranger");
        }
        let before = calls();
        for message in messages {
            let peer = self.log_in(0).await;
            peer.send(message);
            quiet().await;
        }
        assert!(calls() > before, "the handler does not run after a login either");
    }

    /// No message leaves a room except to its members, and all of them hear the same in one order: a
    /// few users join and leave rooms with your `join` and `leave`, say things with your `say`, to
    /// rooms that they are in and to others, hang up and come back.
    ///
    /// What is said in a room has to come to each of its members with its text somewhere in it, the
    /// sender included, as [`Room::broadcast`](crate::Room::broadcast) does it.
    ///
    /// # Panics
    ///
    /// If somebody hears what is not for them, or does not hear what is, or if members hear it in
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
                    5 => crowd.leave(user, room, leave(room)),
                    6 => crowd.come_back(user).await,
                    7 if !crowd.is_in(user, room) => {
                        crowd.tell(user, |text| say(room, text));
                        quiet().await;
                        crowd.check(room, &[]);
                        // It may have been closed for that.
                        crowd.come_back(user).await;
                    }
                    _ => {
                        let members = crowd.members(room);
                        let told = members.iter().map(|&it| crowd.tell(it, |text| say(room, text)));
                        let told: Vec<_> = told.collect();
                        quiet().await;
                        crowd.check(room, &told);
                    }
                }
                quiet().await;
                crowd.check(room, &[]);
            }
        }
    }

    fn seeds(&self) -> Range<u64> {
        self.seed..self.seed + self.cases
    }

    /// A peer that has logged in and heard what is said to that.
    pub(super) async fn log_in(&self, user: usize) -> TestPeer {
        let mut peer = self.server.connect(&self.path).await;
        let login = (self.login)(user);
        if !login.is_empty() {
            peer.send(login);
        }
        quiet().await;
        let heard = all(&mut peer);
        let open = heard.iter().all(|it| matches!(it, Heard::Message(_)));
        assert!(open, "user {user} cannot log in: {heard:?}");
        peer
    }
}

impl fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Properties")
            .field("path", &self.path)
            .field("cases", &self.cases)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// Waits until nothing more happens.
async fn quiet() {
    // Panics if the clock is not paused: then nothing here would be known.
    tokio::time::advance(Duration::ZERO).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// All that has come by now.
pub(super) fn all(peer: &mut TestPeer) -> Vec<Heard> {
    let mut heard = Vec::new();
    while let Some(it) = peer.hear().now_or_never() {
        let ended = it == Heard::Ended;
        heard.push(it);
        if ended {
            break;
        }
    }
    heard
}

const OPERATIONS: usize = 40;
