//! Find the connections of a user or a session, wherever in the application one is asked for them.
//!
//! `selected` has what can be done with them, `index` where they are.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    num::NonZeroUsize,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use self::index::Index;
pub use self::selected::{Pushed, Selected};
use crate::{
    close::{Close, CloseReason},
    connection::{Connection, Registry},
    login::{Login, Subject, Voided},
};

mod index;
mod selected;

/// The connections of one or several endpoints: who is there, by user and by session.
///
/// Given to an endpoint ([`WebSocketEndpoint::connections`](crate::WebSocketEndpoint::connections)), it has
/// each of its connections from the handshake to the end, and finds those of a user who has logged in. Clones
/// are the same registry.
///
/// | to | call |
/// |---|---|
/// | tell a user something, on all devices | [`user`](Self::user)`(..).`[`push`](Selected::push), [`push_by`](Selected::push_by) |
/// | throw a user out, to stay away (*kick*) | `user(..).`[`close`](Selected::close) with a [`Close`] of yours |
/// | void what a user or session came in by, so that it comes back with something fresh (*revoke*) | `user(..)` or [`session`](Self::session)`(..).`[`revoke`](Selected::revoke) |
/// | slow a user down | `user(..).`[`limit`](Selected::limit) |
/// | bound the devices of a user | [`max_per_user`](Self::max_per_user) |
/// | show who is there | [`iter_page`](Self::iter_page) |
///
/// A login that was under way does not let in a user who was thrown out meanwhile: what began before the
/// call is refused with the reason of the call, whenever it is done. It costs at most 160 bytes for each connection.
///
/// # Example
///
/// ```
/// use std::num::NonZeroUsize;
/// use tower_websocket::{Close, Connections, Message, Overflow, Retry};
///
/// const KICKED: Close = match Close::application(4100, "removed by a moderator", Retry::Stop) {
///     Ok(kicked) => kicked,
///     Err(_) => panic!("4100 is an application's"),
/// };
///
/// let twenty = NonZeroUsize::new(20).unwrap();
/// let connections = Connections::new().max_per_user(twenty, Overflow::CloseOldest);
/// # fn endpoint(endpoint: tower_websocket::WebSocketEndpoint, connections: Connections) {
/// let endpoint = endpoint.connections(connections.clone());
/// # }
///
/// let told = connections.user("ada").push(&Message::text("the build is green"));
/// assert_eq!(told.sent, 0); // she has no connection
/// connections.user("mallory").close(KICKED);
/// connections.session("what the cookie says").revoke();
/// ```
#[derive(Clone, Default)]
pub struct Connections {
    shared: Arc<Shared>,
    max_per_user: Option<(NonZeroUsize, Overflow)>,
}

/// What becomes of one connection too many of a user.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Overflow {
    /// The user's oldest is closed with 4409 `replaced`, and its client does not come back: of two that
    /// did, each would throw the other out, for ever.
    CloseOldest,
    /// The new one is closed with 1013 `too many connections`, and its client tries again later: one whose
    /// network is gone counts until a ping finds it out.
    Refuse,
}

/// Where a page of [`Connections::iter_page`] ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cursor {
    at: At,
    /// The number of the first that came after the first page.
    until: u64,
}

/// The last on a page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum At {
    Unknown(u64),
    User((u64, u64)),
}

#[derive(Default)]
struct Shared {
    /// Keys the hashes of users, so that no user can choose a name to share another's.
    key: RandomState,
    serial: AtomicU64,
    count: AtomicUsize,
    /// Those without a user: not yet, or not any more. By their number.
    unknown: Index<u64>,
    /// By a hash of whose they are, and their number: the oldest first.
    users: Index<(u64, u64)>,
    sessions: Index<(u64, u64)>,
    voided: Voided,
    /// What opens from here on is closed with this.
    shut: OnceLock<Close>,
    /// Told when there is nothing left.
    empty: Notify,
}

impl Connections {
    /// A registry without a limit on the connections of a user.
    pub fn new() -> Self {
        Self::default()
    }

    /// At most so many connections of one user, whatever the endpoint. Default: no limit, because only the
    /// application knows; 20 are every tab of every device of one person.
    ///
    /// One too many is found at the login. To be set before the registry is given to an endpoint: clones
    /// that were made before do not know of it.
    #[must_use]
    pub fn max_per_user(mut self, max: NonZeroUsize, overflow: Overflow) -> Self {
        self.max_per_user = Some((max, overflow));
        self
    }

    /// Those of a user without a tenant: an id alone never means a tenant's user.
    pub fn user(&self, id: &str) -> Selected<'_> {
        Selected::of_user(&self.shared, None, id)
    }

    /// Those of a user of `tenant`.
    pub fn user_in(&self, tenant: &str, id: &str) -> Selected<'_> {
        Selected::of_user(&self.shared, Some(tenant), id)
    }

    /// Those that came in by the session that the application calls `id`
    /// ([`Session::session_id`](crate::Session::session_id)).
    pub fn session(&self, id: impl AsRef<[u8]>) -> Selected<'_> {
        Selected::of_session(&self.shared, id.as_ref())
    }

    /// How many there are, also of those who have not logged in.
    pub fn len(&self) -> usize {
        self.shared.count.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Up to `most` of them, behind those of the page before, and where to go on; nothing when there are
    /// no more. Each that is open from the first page to the last is on one, and on two if it logs in
    /// between them; no lock is held from one page to the next.
    ///
    /// They are in no order that means anything, but that those who have not logged in come first.
    pub fn iter_page(
        &self,
        after: Option<Cursor>,
        most: usize,
    ) -> (Vec<Connection>, Option<Cursor>) {
        let (shared, mut page) = (&self.shared, Vec::new());
        // A connection that opens later is on no page: there would always be one more.
        let until = after.map_or_else(|| shared.serial.load(Ordering::Relaxed), |it| it.until);
        let last = match after.map(|it| it.at) {
            Some(At::User(last)) => Some(last),
            unknown => {
                let last =
                    unknown.and_then(|it| if let At::Unknown(it) = it { Some(it) } else { None });
                if let Some(last) = shared.unknown.fill(&mut page, last, until, most) {
                    return (page, Some(Cursor { at: At::Unknown(last), until }));
                }
                None
            }
        };
        let last = shared.users.fill(&mut page, last, until, most);
        (page, last.map(|it| Cursor { at: At::User(it), until }))
    }

    /// Closes all of them, and from here on each that opens, as a server does that stops. Returns how many
    /// there were.
    pub fn shut_down(&self, close: impl Into<Close>) -> usize {
        let close = close.into();
        // Before the look: a connection that opens after it finds this.
        let _ = self.shared.shut.set(close.clone());
        let (mut closed, mut after) = (0, None);
        loop {
            let (page, next) = self.iter_page(after, BATCH);
            closed += page.len();
            page.iter().for_each(|it| it.close(close.clone()));
            if next.is_none() {
                return closed;
            }
            after = next;
        }
    }

    /// Waits until there is none, each with its record and its hooks.
    pub async fn ended(&self) {
        loop {
            let told = self.shared.empty.notified();
            let mut told = std::pin::pin!(told);
            // Before the look, so that the end is not missed in between.
            told.as_mut().enable();
            if self.is_empty() {
                return;
            }
            told.await;
        }
    }

    /// Counts `connection` in, until its end.
    pub(crate) fn register(self: &Arc<Self>, connection: &Connection) {
        let serial = self.shared.serial.fetch_add(1, Ordering::Relaxed);
        self.shared.count.fetch_add(1, Ordering::Relaxed);
        connection.set_registry(Arc::<Self>::clone(self), serial);
        self.shared.unknown.insert(serial, connection.clone());
        if let Some(close) = self.shared.shut.get() {
            connection.close(close.clone());
        }
    }

    /// Remembers for `time` at least which users were thrown out: a login may take so long.
    pub(crate) fn outlast(&self, time: Duration) {
        self.shared.voided.keep_for(time);
    }
}

impl Registry for Connections {
    fn enter(&self, connection: &Connection, serial: u64, login: Login) -> Result<(), Close> {
        let shared = &*self.shared;
        let Some(user) = shared.user_of(connection) else { return Ok(()) };
        shared.users.insert((user, serial), connection.clone());
        if let Some(session) = login.session {
            shared.sessions.insert((session.get(), serial), connection.clone());
        }
        // After they can be found: the one who throws them out notes it first, and looks then.
        let subjects = [Some(Subject::User(user)), login.session.map(Subject::Session)];
        let voided =
            subjects.into_iter().flatten().find_map(|it| shared.voided.since(it, login.began));
        let admitted = match (voided, self.max_per_user) {
            (Some(close), _) => Err(close),
            (None, Some((max, overflow))) => {
                shared.bound(connection, (user, serial), max, overflow)
            }
            (None, None) => Ok(()),
        };
        match admitted {
            Ok(()) => shared.unknown.remove(serial),
            // What was not let in is no device of the user's.
            Err(_) => shared.forget(connection, serial),
        }
        admitted
    }

    fn leave(&self, connection: &Connection, serial: u64) {
        let shared = &*self.shared;
        shared.forget(connection, serial);
        shared.unknown.remove(serial);
        if shared.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            shared.empty.notify_waiters();
        }
    }
}

impl Shared {
    fn hash_of(&self, tenant: Option<&str>, user: &str) -> u64 {
        self.key.hash_one((tenant, user))
    }

    /// The hash of the user whose `connection` is, once it has one.
    fn user_of(&self, connection: &Connection) -> Option<u64> {
        let user = connection.user_id()?;
        Some(self.hash_of(connection.tenant().map(|it| &**it), user))
    }

    /// It has no user any more.
    fn forget(&self, connection: &Connection, serial: u64) {
        if let Some(user) = self.user_of(connection) {
            self.users.remove((user, serial));
        }
        if let Some(session) = connection.session() {
            self.sessions.remove((session.get(), serial));
        }
    }

    /// Sees to it that there are no more than `max` of the user with this hash.
    fn bound(
        &self,
        connection: &Connection,
        (user, serial): (u64, u64),
        max: NonZeroUsize,
        overflow: Overflow,
    ) -> Result<(), Close> {
        let same = |it: &Connection| {
            it.user_id() == connection.user_id() && it.tenant() == connection.tenant()
        };
        let all = (user, 0)..=(user, u64::MAX);
        match overflow {
            Overflow::CloseOldest => {
                let replaced = Close::because(CloseReason::Replaced);
                // What is taken out does not count any more, however long its end takes.
                // Under the lock that its end has to pass: one that leaves meanwhile is found here, or there.
                let moved = |(_, serial), it: &Connection| self.unknown.insert(serial, it.clone());
                for oldest in self.users.take_oldest(all, max.get(), same, moved) {
                    oldest.close(replaced.clone());
                }
                Ok(())
            }
            Overflow::Refuse => {
                match self.users.take_if_over((user, serial), all, max.get(), same) {
                    Some(_) => Err(Close::because(CloseReason::TooManyOfUser)),
                    None => Ok(()),
                }
            }
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("len", &self.len())
            .field("max_per_user", &self.max_per_user)
            .finish_non_exhaustive()
    }
}

/// Handles that are taken out under a lock at a time: others wait for it no longer than some microseconds.
const BATCH: usize = 256;

#[cfg(test)]
mod tests;
