//! Put a connection into a room without being asked by its peer.
//!
//! Such memberships are kept with the connection, and not in a layer: there need not be one, and nobody need
//! have logged in. The connection is in a room once, whoever has put it there.

use std::{error::Error, fmt, num::NonZeroUsize, sync::Arc};

use crate::{
    connection::Connection,
    foreign::Caught,
    quota::RateKeyValue,
    room::{
        entry::Entry,
        join_refused::JoinRefused,
        name::RoomKey,
        publisher::Publisher,
        scope::{Joined, RoomNotice},
        shares::Holder,
        store::RoomStore,
        subscriptions::Subscriptions,
    },
};

/// Why the application could not put a connection into a room.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum JoinError {
    /// The connection is closed or closing.
    Closed,
    /// The room has as many members as it may have, there are as many rooms as there may be, or the user or
    /// the address has as many memberships as it may have; or the application has put the connection into 1,000
    /// others.
    Full,
    /// The connection's [`DecodeLayer`](crate::DecodeLayer) has another codec than the rooms.
    Codec,
    /// The application has put the connection into another room of this name, of another tenant: its peer
    /// could not tell them apart.
    Name,
    /// The notice cannot be written, or is larger than any message to the connection may be.
    Encode,
}

/// The rooms that the application has put a connection into.
pub(super) type Hosted<R> = Subscriptions<(), R>;

/// Makes `connection` a member of the room `key`; says whether it was none.
pub(super) fn join<R: From<RoomNotice> + 'static>(
    store: &RoomStore<R>,
    key: &RoomKey,
    connection: &Connection,
) -> Result<bool, JoinError> {
    store.encoder.check(connection).map_err(|_| JoinError::Codec)?;
    store.encoder.speak(R::from);
    let name = key.name();
    let joined = |_| R::from(RoomNotice::Joined(Joined::new(name.clone())));
    let welcome = store.encoder.welcome(false, joined).map_err(|_| JoinError::Encode)?;
    let hosted = connection.attached().get_or_make(store.owner(), || Hosted::<R>::new(MOST));
    let hosted = hosted.ok_or(JoinError::Closed)?;
    let (id, holder) = holder(connection);
    // Without hooks: who has joined somebody knows.
    let publisher = Arc::new(Publisher::new(holder, Arc::clone(&store.quotas), None));
    let join = store.enter(key, name, connection.clone(), id, publisher, ROOMS_EACH);
    let admitted = join.and_then(|join| {
        hosted.admit(name, join, Caught::new(Arc::new(())), &welcome, Entry::default())
    });
    match admitted {
        // It may have ended before there was anything to detach from it.
        Ok(_) if !connection.outbound().is_open() => {
            connection.attached().drop_all();
            Err(JoinError::Closed)
        }
        Ok(_) => Ok(true),
        Err(JoinRefused::Already)
            if hosted.current(name).is_some_and(|(it, _)| it.key() != key) =>
        {
            Err(JoinError::Name)
        }
        Err(JoinRefused::Already) => Ok(false),
        Err(JoinRefused::Closed) => Err(JoinError::Closed),
        Err(JoinRefused::NoticeTooLarge) => Err(JoinError::Encode),
        // Somebody removes it at this moment: then that is how it is.
        Err(JoinRefused::Removed) => Ok(false),
        Err(_) => Err(JoinError::Full),
    }
}

/// Under which id the connection is in rooms, and whose shares it takes. Who has not logged in goes by
/// the connection.
fn holder(connection: &Connection) -> (Arc<str>, Holder) {
    let address = connection.client_ip();
    match connection.user_id() {
        Some(id) => {
            let tenant = connection.tenant().map(|it| &**it);
            let user = RateKeyValue::of((tenant, &**id));
            (Arc::clone(id), Holder { user, address })
        }
        None => {
            let id: Arc<str> = connection.id().to_string().into();
            let user = RateKeyValue::of(&*id);
            (id, Holder { user, address })
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the connection is closed",
            Self::Full => "there is no place left in the room, or for the user or the address",
            Self::Codec => "the connection's layer has another codec than the rooms",
            Self::Name => "the connection is in another room of this name",
            Self::Encode => "the notice could not be written, or is too large",
        })
    }
}

impl Error for JoinError {}

/// Rooms that the application may put a connection into: more than anybody would, and few records of it.
const MOST: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// What a connection may be in by itself, unless that is set: shares go by it.
const ROOMS_EACH: NonZeroUsize = NonZeroUsize::new(100).unwrap();
