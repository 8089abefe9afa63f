//! Do something with all connections of a user or a session.

use std::{any::TypeId, fmt};

use tokio::runtime::Handle;

use super::{BATCH, Shared};
use crate::{
    close::Close,
    connection::Connection,
    layers::Encode,
    login::{SessionKey, SessionLimits, Subject},
    message::{EncodeError, Message},
    outbound::SendError,
};

/// The connections of one user, or of one session, at each moment: made by
/// [`Connections::user`](super::Connections::user), [`user_in`](super::Connections::user_in) and
/// [`session`](super::Connections::session).
#[must_use]
pub struct Selected<'a> {
    shared: &'a Shared,
    subject: Subject,
    /// Tenant and id, if it is a user's: a hash alone could be another's.
    user: Option<(Option<Box<str>>, Box<str>)>,
}

/// How many connections a message was queued for.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pushed {
    /// Those that will get it, if they stay.
    pub sent: usize,
    /// Those that read too slowly, and close with 1013 for it.
    pub full: usize,
    /// Those that are about to end anyway.
    pub closed: usize,
    /// Those that take no message so long.
    pub too_large: usize,
    /// Those whose peer reads another codec's messages, which got nothing.
    pub other_codec: usize,
}

impl<'a> Selected<'a> {
    pub(super) fn of_user(shared: &'a Shared, tenant: Option<&str>, id: &str) -> Self {
        let subject = Subject::User(shared.hash_of(tenant, id));
        Self { shared, subject, user: Some((tenant.map(Box::from), id.into())) }
    }

    pub(super) fn of_session(shared: &'a Shared, id: &[u8]) -> Self {
        Self { shared, subject: Subject::Session(SessionKey::of(id)), user: None }
    }

    /// Up to `most` of them, the oldest first.
    pub fn list(&self, most: usize) -> Vec<Connection> {
        let mut list = Vec::new();
        self.for_each_while(|connection| {
            if list.len() == most {
                return false;
            }
            list.push(connection);
            true
        });
        list
    }

    /// How many there are. They are counted one by one.
    pub fn count(&self) -> usize {
        let mut count = 0;
        self.for_each_while(|_| {
            count += 1;
            true
        });
        count
    }

    /// Sends each of them a message that its peer has not asked for, as [`Connection::push`] does.
    ///
    /// [`push_by`](Self::push_by) writes a value as its endpoint would.
    pub fn push(&self, message: &Message) -> Pushed {
        self.push_if(message, |_| true)
    }

    /// Sends each of them `value`, written once by `codec`: that of the endpoint's
    /// [`DecodeLayer`](crate::DecodeLayer), which writes its replies. A connection whose layer is known by now to have a
    /// codec of another type gets nothing, and counts as [`other_codec`](Pushed::other_codec): a registry may
    /// be that of several endpoints.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if `codec` has no form for `value`; no connection got anything.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_websocket::{Connections, Json};
    ///
    /// #[derive(serde::Serialize)]
    /// struct Told {
    ///     build: &'static str,
    /// }
    ///
    /// let connections = Connections::new();
    /// let pushed = connections.user("ada").push_by(&Json::default(), &Told { build: "green" })?;
    /// assert_eq!(pushed.sent, 0);
    /// # Ok::<(), tower_websocket::EncodeError>(())
    /// ```
    pub fn push_by<T, C: Encode<T>>(&self, codec: &C, value: &T) -> Result<Pushed, EncodeError> {
        let message = codec.encode(value)?;
        let by_it = |it: &Connection| it.codec().is_none_or(|it| it == TypeId::of::<C>());
        Ok(self.push_if(&message, by_it))
    }

    fn push_if(&self, message: &Message, reads: impl Fn(&Connection) -> bool) -> Pushed {
        // Copied once: it may wait in many queues, and is not to hold what it was cut from.
        let message = message.clone().detached();
        let mut pushed = Pushed::default();
        self.for_each_while(|connection| {
            if !reads(&connection) {
                pushed.other_codec += 1;
                return true;
            }
            match connection.push(message.clone()) {
                Ok(()) => pushed.sent += 1,
                Err(SendError::Full(_)) => pushed.full += 1,
                Err(SendError::TooLarge(_)) => pushed.too_large += 1,
                Err(_) => pushed.closed += 1,
            }
            true
        });
        pushed
    }

    /// Closes each of them, and each that logs in by what began before this call. Returns how many were
    /// there.
    ///
    /// What a client does then is what the reason says: a *kick* is a
    /// [`Close::application`] with [`Retry::Stop`](crate::Retry::Stop). Those that log in after this call
    /// come in: whether they may is for the application to say.
    ///
    /// When it returns, none of them says anything any more. Each hears what its rooms say until it comes to its
    /// close frame: at once, if its socket takes it; of very many, each batch in turn with whatever else the
    /// runtime has to do, so that others need not wait for all of them. Who must not hear what is said next is
    /// [removed](crate::room::RoomAdmin::remove) from the room.
    pub fn close(&self, close: impl Into<Close>) -> usize {
        let close = close.into();
        // Before the look, so that a login that ends after it finds the note.
        self.shared.voided.note(self.subject, close.clone());
        let mut closed = Vec::new();
        self.for_each_while(|connection| {
            connection.close_at_its_turn(close.clone());
            closed.push(connection);
            true
        });
        let count = closed.len();
        wake_in_turns(closed);
        count
    }

    /// Closes each of them with 4401 `revoked`, as [`close`](Self::close) does: what they came in by is
    /// void, and a client with something fresh may come back with it. What a log-out calls, after it has ended
    /// the session.
    pub fn revoke(&self) -> usize {
        self.close(Close::REVOKED)
    }

    /// Has each of them do no more than this from now on. Returns how many there were. A login that is under
    /// way, or comes later, has what its session says.
    pub fn limit(&self, limits: &SessionLimits) -> usize {
        let mut limited = 0;
        self.for_each_while(|connection| {
            connection.limit(limits);
            limited += 1;
            true
        });
        limited
    }

    /// Calls `act` for each, without a lock, as long as it says so. Those that come meanwhile are newer,
    /// and may be missed.
    pub(super) fn for_each_while(&self, mut act: impl FnMut(Connection) -> bool) {
        let (index, key) = match self.subject {
            Subject::User(hash) => (&self.shared.users, hash),
            Subject::Session(session) => (&self.shared.sessions, session.get()),
        };
        let mut last = None;
        loop {
            let batch = index.within((key, 0)..=(key, u64::MAX), last, BATCH);
            let more = batch.len() == BATCH;
            last = batch.last().map(|(key, _)| *key);
            for (_, connection) in batch {
                if self.is_of(&connection) && !act(connection) {
                    return;
                }
            }
            if !more {
                return;
            }
        }
    }

    fn is_of(&self, connection: &Connection) -> bool {
        self.user.as_ref().is_none_or(|(tenant, id)| {
            connection.user_id().is_some_and(|it| **it == **id)
                && connection.tenant().map(|it| &**it) == tenant.as_deref()
        })
    }
}

/// Wakes the drivers of `connections`. All at once they would stand in front of everything else that the
/// runtime has to do; without a runtime there is nothing to stand in front of.
fn wake_in_turns(mut connections: Vec<Connection>) {
    let rest = connections.split_off(connections.len().min(AT_ONCE));
    connections.iter().for_each(Connection::wake);
    match Handle::try_current() {
        Ok(runtime) if !rest.is_empty() => {
            let mut waiting = Waiting(rest);
            runtime.spawn(async move {
                while !waiting.0.is_empty() {
                    tokio::task::yield_now().await;
                    waiting.wake(AT_ONCE);
                }
            });
        }
        _ => rest.iter().for_each(Connection::wake),
    }
}

/// Those that have not come to their turn. If their runtime ends before, theirs may be another: they are woken.
struct Waiting(Vec<Connection>);

impl Waiting {
    fn wake(&mut self, most: usize) {
        let from = self.0.len().saturating_sub(most);
        self.0.drain(from..).for_each(|it| it.wake());
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.wake(usize::MAX);
    }
}

impl fmt::Debug for Selected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selected").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// What ends in a millisecond or two.
const AT_ONCE: usize = 32;
