//! Say what a store of tickets has to do.

use std::{error::Error, fmt, future::Future, sync::Arc, time::Duration};

/// Keeps tickets until they are used. [`MemoryTickets`](super::MemoryTickets) does so in this process; one of
/// yours may be shared by several: in Redis, `SET key entry NX EX ttl` and `GETDEL key`.
pub trait TicketStore: Send + Sync + 'static {
    /// Keeps `ticket` until it is taken, or its time is over.
    ///
    /// A store has a bound, or it is one more thing that a flood can fill.
    ///
    /// # Errors
    ///
    /// [`TicketError::Full`] at the bound, [`TicketError::Unavailable`] if it cannot be kept.
    fn put(&self, ticket: Stored) -> impl Future<Output = Result<(), TicketError>> + Send;

    /// Takes out what is kept under `hash`, so that of those who ask at the same time one gets it.
    ///
    /// # Errors
    ///
    /// [`TicketError::Unavailable`] if it is not known.
    fn take(&self, hash: &TicketHash) -> impl Future<Output = Result<Taken, TicketError>> + Send;
}

/// A ticket, as a store keeps it: nothing in it lets anybody in.
#[non_exhaustive]
#[derive(Clone)]
pub struct Stored {
    /// Its key.
    pub hash: TicketHash,
    /// Whose it is: the same for all tickets of one user, and another for every other user. For a bound for each.
    pub owner: String,
    /// What is given back by [`take`](TicketStore::take): JSON.
    pub entry: Vec<u8>,
    /// How long it is good for. The same for all.
    pub ttl: Duration,
}

/// The SHA-256 of a ticket.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct TicketHash(pub [u8; 32]);

/// What a store has under a hash.
#[non_exhaustive]
#[derive(Clone, Eq, PartialEq)]
pub enum Taken {
    /// What was put there. It is there no more.
    Entry(Vec<u8>),
    /// It was taken before, if the store knows: there is a copy.
    Replayed,
    /// Nothing that it knows of.
    Nothing,
}

/// Why there is no ticket.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TicketError {
    /// There are as many as there may be: 503, and `Retry-After`.
    Full,
    /// The store failed.
    Unavailable,
}

impl<S: TicketStore> TicketStore for Arc<S> {
    fn put(&self, ticket: Stored) -> impl Future<Output = Result<(), TicketError>> + Send {
        (**self).put(ticket)
    }

    fn take(&self, hash: &TicketHash) -> impl Future<Output = Result<Taken, TicketError>> + Send {
        (**self).take(hash)
    }
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "there are too many unused tickets",
            Self::Unavailable => "the store of tickets failed",
        })
    }
}

impl Error for TicketError {}

// Not what is kept: it names users, and in a log a hash tells which ticket it was.

impl fmt::Debug for TicketHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketHash(..)")
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

impl fmt::Debug for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Entry(_) => "Entry(..)",
            Self::Replayed => "Replayed",
            Self::Nothing => "Nothing",
        })
    }
}
