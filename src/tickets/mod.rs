//! Hand out tickets, of which each lets one connection in, once.
//!
//! What a page logs in with is a cookie or a header, and neither is to be in the first message of a WebSocket:
//! a script cannot read the one, and would keep the other. So the page asks an HTTP endpoint of the
//! application for a ticket, which knows who asks in the way that it always does, and sends that. A ticket is
//! short-lived, and worth nothing once it was shown: what is left of it in a log or a heap opens nothing.
//!
//! `ticket` is what a client holds, `store` where it is kept meanwhile, `memory` the store in this process.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::Instant;

pub use self::{
    memory::MemoryTickets,
    store::{Stored, Taken, TicketError, TicketHash, TicketStore},
    ticket::Ticket,
};
use crate::{
    close::{Close, CloseReason},
    connection::Connection,
    layers::{AuthFailure, Authenticate, Session},
    login::{Moment, SessionKey, Subject, Voided},
    message::{EncodeError, Message},
    opaque::opaque_debug,
    principal::Principal,
    quota::Network,
};

mod memory;
mod store;
mod ticket;

/// Issues tickets for users `U`, and verifies them: an [`Authenticate`]. Clones are the same tickets.
///
/// A ticket is 32 random bytes. It is good for 30 s, which is a handshake on a slow line, and there are at
/// most 100,000 of them at once, of one user 16, so that a user who asks for a 17th loses the oldest. What is kept
/// is its SHA-256: of 256 random bits that needs no salt, nor a comparison in constant time. Redeeming it
/// *is* taking it out of the store, so that of a thousand who try at once one gets in. Shown a second time it
/// is refused as any other (4403), with a record by the rule `ticket.replayed`.
///
/// A user who was thrown out by [`Connections`](crate::Connections) while a ticket was under way does not get
/// in by it; [`revoke_user`](Self::revoke_user) is for where there are none.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_websocket::{RequireAuthLayer, Session, Tickets};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let tickets = Tickets::<String>::new();
/// let door = RequireAuthLayer::new(tickets.clone());
///
/// // In the application's own endpoint, once it knows who asks:
/// let session = Session::new("ada".to_owned()).expires_in(Duration::from_secs(3600));
/// let ticket = tickets.issue(session).await.expect("room for one more");
/// assert_eq!(ticket.as_str().len(), 43);
///
/// assert_eq!(tickets.redeem(ticket.as_str()).await.unwrap().user(), "ada");
/// assert!(tickets.redeem(ticket.as_str()).await.is_err());
/// # let _ = door;
/// # }
/// ```
///
/// # Deployment
///
/// The endpoint that issues them has to be as strict as the handshake: it goes by ambient credentials, too.
/// Answer to `POST` alone, and only with `Sec-Fetch-Site: same-origin` or a header that a page of another
/// origin cannot send without asking (`X-Requested-With`); with `Cache-Control: no-store`; at a rate for each
/// address; and [`TicketError::Full`] with 503 and `Retry-After`. `examples/reference-server` does so. In a URL
/// a ticket is refused, as every credential is.
pub struct Tickets<U, S = MemoryTickets> {
    shared: Arc<Shared<S>>,
    read: Arc<Read>,
    welcome: Option<Arc<Welcome<U>>>,
}

struct Shared<S> {
    store: S,
    /// Keys what stands for a user in the notes.
    key: RandomState,
    voided: Voided,
}

/// Finds a ticket in a message.
type Read = dyn Fn(&Message) -> Option<String> + Send + Sync;

/// What a user is told at the login.
type Welcome<U> = dyn Fn(&U, &Connection) -> Result<Message, EncodeError> + Send + Sync;

/// What is kept of a session.
#[derive(Deserialize, Serialize)]
struct Entry<U> {
    user: U,
    /// Milliseconds of Unix time.
    ends: Option<u64>,
    /// What is of meaning in this process alone.
    process: u64,
    began: Moment,
    session: Option<SessionKey>,
    /// From where alone it is good.
    client: Option<IpAddr>,
}

/// Why a ticket lets nobody in, with the rule of a record if there is more to say than that it failed.
type Refusal = (AuthFailure, Option<&'static str>);

impl<U> Tickets<U> {
    /// Tickets in the memory of this process.
    pub fn new() -> Self {
        Self::with(MemoryTickets::new())
    }
}

impl<U, S> Tickets<U, S> {
    /// Tickets in a store of yours, which several servers may share.
    pub fn with(store: S) -> Self {
        let (key, voided) = Default::default();
        let shared = Arc::new(Shared { store, key, voided });
        let read = |message: &Message| message.as_text().map(str::to_owned);
        Self { shared, read: Arc::new(read), welcome: None }
    }

    /// Finds the ticket in the first message by `read`, which says `None` to what is no login at all.
    /// Default: the message is the ticket.
    #[must_use]
    pub fn read_by(
        mut self,
        read: impl Fn(&Message) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.read = Arc::new(read);
        self
    }

    /// Tells each user who has come in what `welcome` says. Default: nothing.
    #[must_use]
    pub fn welcome(
        mut self,
        welcome: impl Fn(&U, &Connection) -> Result<Message, EncodeError> + Send + Sync + 'static,
    ) -> Self {
        self.welcome = Some(Arc::new(welcome));
        self
    }
}

impl<U, S> Tickets<U, S>
where
    U: Principal + Serialize + DeserializeOwned,
    S: TicketStore,
{
    /// A ticket for `session`, whose [limits](Session::limits) and [reply](Session::reply) are not kept: see
    /// [`welcome`](Self::welcome).
    ///
    /// # Errors
    ///
    /// [`TicketError::Full`] if there are too many that are not used yet: ask for patience.
    /// [`TicketError::Unavailable`] if the store cannot be reached, or the user cannot be written.
    pub async fn issue(&self, session: Session<U>) -> Result<Ticket, TicketError> {
        self.put(session, None).await
    }

    /// A ticket as of [`issue`](Self::issue) that is good only from `client`, the
    /// [address](crate::ClientAddr) that has asked for it; of IPv6 from its /64. From anywhere else it is
    /// refused (4403), with a record by the rule `ticket.client`, and is used up: there is a copy.
    ///
    /// A phone that changes its network between the two requests is refused too, and so is a client that
    /// reaches the endpoint by IPv6 and the WebSocket by IPv4: so this is not the default. The endpoint has to
    /// know its clients' addresses; of one that is unknown no such ticket is good.
    ///
    /// # Errors
    ///
    /// As of [`issue`](Self::issue).
    pub async fn issue_to(
        &self,
        client: IpAddr,
        session: Session<U>,
    ) -> Result<Ticket, TicketError> {
        self.put(session, Some(client)).await
    }

    async fn put(
        &self,
        session: Session<U>,
        client: Option<IpAddr>,
    ) -> Result<Ticket, TicketError> {
        let ticket = Ticket::random()?;
        let left = session.expires().map(|at| at.saturating_duration_since(Instant::now()));
        let entry = Entry {
            user: session.user(),
            ends: left.map(|left| now().saturating_add(millis(left))),
            process: process(),
            began: session.began(),
            session: session.key(),
            client,
        };
        let entry = serde_json::to_vec(&entry).map_err(|_| TicketError::Unavailable)?;
        let owner = owner(session.user());
        let stored = Stored { hash: ticket.hash(), owner, entry, ttl: TTL };
        self.shared.store.put(stored).await?;
        Ok(ticket)
    }

    /// The session that `ticket` is for, and the end of the ticket. One that is good from
    /// [one address](Self::issue_to) is not redeemed here: it is not known from where it comes.
    ///
    /// # Errors
    ///
    /// [`AuthFailure::Rejected`] if there is no such ticket, or no more;
    /// [`AuthFailure::Unavailable`] if the store cannot be reached.
    pub async fn redeem(&self, ticket: &str) -> Result<Session<U>, AuthFailure> {
        self.take(ticket, None).await.map_err(|(failure, _)| failure)
    }

    /// Has no ticket let in this user that was issued before.
    ///
    /// Of tickets that another process has issued it knows nothing: it refuses those that come here within
    /// a minute of the call. Connections are not closed by it:
    /// [`Connections::user`](crate::Connections::user) does that, and this with it.
    pub fn revoke_user(&self, tenant: Option<&str>, id: &str) {
        let close = Close::because(CloseReason::Revoked);
        self.shared.voided.note(self.shared.subject(tenant, id), close);
    }

    /// The same for a peer at `from`.
    async fn take(&self, ticket: &str, from: Option<IpAddr>) -> Result<Session<U>, Refusal> {
        // What has not the form of one is not asked for.
        let ticket = Ticket::parse(ticket).ok_or((AuthFailure::Rejected, None))?;
        let taken = self.shared.store.take(&ticket.hash()).await;
        let entry = match taken.map_err(|_| (AuthFailure::Unavailable, None))? {
            Taken::Entry(entry) => entry,
            Taken::Replayed => return Err((AuthFailure::Rejected, Some("ticket.replayed"))),
            Taken::Nothing => return Err((AuthFailure::Rejected, None)),
        };
        let Ok(Entry { user, ends, process: issuer, began, session, client }) =
            serde_json::from_slice::<Entry<U>>(&entry)
        else {
            return Err((AuthFailure::Unavailable, None));
        };
        // Another process has another order of moments, and other keys.
        let ours = issuer == process();
        let (began, key) = if ours { (began, session) } else { (Moment::default(), None) };
        let is_from = |client| from.is_some_and(|it| Network::is_one_host(it, client));
        if !client.is_none_or(is_from) {
            return Err((AuthFailure::Rejected, Some("ticket.client")));
        }
        let subject = self.shared.subject(user.tenant(), user.id());
        if self.shared.voided.since(subject, began).is_some() {
            return Err((AuthFailure::Rejected, Some("ticket.revoked")));
        }
        let session = Session::restored(user, began, key);
        Ok(match ends {
            Some(ends) => session.expires_in(Duration::from_millis(ends.saturating_sub(now()))),
            None => session,
        })
    }
}

impl<U, S> Authenticate for Tickets<U, S>
where
    U: Principal + Serialize + DeserializeOwned,
    S: TicketStore,
{
    type User = U;

    async fn authenticate(
        &self,
        credentials: &Message,
        connection: &Connection,
    ) -> Result<Session<U>, AuthFailure> {
        let ticket = (self.read)(credentials).ok_or(AuthFailure::Required)?;
        let taken = self.take(&ticket, connection.client_ip()).await;
        let session = taken.map_err(|(failure, rule)| {
            if let Some(rule) = rule {
                connection.refuse("tickets", rule, None, None);
            }
            failure
        })?;
        Ok(match &self.welcome {
            Some(welcome) => {
                let welcome = welcome(session.user(), connection)?;
                session.reply(welcome)
            }
            None => session,
        })
    }
}

impl<S> Shared<S> {
    fn subject(&self, tenant: Option<&str>, id: &str) -> Subject {
        Subject::User(self.key.hash_one((tenant, id)))
    }
}

impl<U, S> Clone for Tickets<U, S> {
    fn clone(&self) -> Self {
        let Self { shared, read, welcome } = self;
        let (shared, read) = (Arc::clone(shared), Arc::clone(read));
        Self { shared, read, welcome: welcome.clone() }
    }
}

impl<U> Default for Tickets<U> {
    fn default() -> Self {
        Self::new()
    }
}

opaque_debug! { [U, S] Tickets<U, S>; }

/// What stands for a user in a store: no two users share it.
fn owner<U: Principal>(user: &U) -> String {
    match user.tenant() {
        Some(tenant) => format!("{}:{tenant}{}", tenant.len(), user.id()),
        None => format!(":{}", user.id()),
    }
}

/// Milliseconds of Unix time: what stands in a store has to mean something elsewhere.
fn now() -> u64 {
    // By tokio's clock from a first look on, so that a clock that is set does not end a session.
    static FIRST: OnceLock<(Instant, Duration)> = OnceLock::new();
    let first = || {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (Instant::now(), unix)
    };
    let (at, unix) = FIRST.get_or_init(first);
    millis(unix.saturating_add(at.elapsed()))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A number of this process, which no other has.
fn process() -> u64 {
    static PROCESS: OnceLock<u64> = OnceLock::new();
    *PROCESS.get_or_init(|| RandomState::new().hash_one(std::process::id()))
}

/// A ticket is asked for when there is a use for it. This is a handshake on a slow line, with its retries.
const TTL: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
