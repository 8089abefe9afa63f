//! Name a room: what a peer may call it, and what it is called inside.
//!
//! A [`RoomName`] is what a peer sent, parsed: 1 to 64 of `A–Z a–z 0–9 : _ -`. There is nothing in it
//! that is a pattern, a path, a separator or a look-alike anywhere further on, and names are compared
//! byte by byte. A [`RoomKey`] is the name together with the tenant, which never comes from a message.

use std::{borrow::Borrow, error::Error, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    layers::{Constraint, Reworded},
    principal::Principal,
};

/// A room's name as peers write it: `[A-Za-z0-9:_-]{1,64}`. Cheap to clone.
///
/// # Example
///
/// ```
/// use tower_websocket::RoomName;
///
/// let lobby: RoomName = "lobby:2".parse()?;
/// assert_eq!(lobby.as_str(), "lobby:2");
/// assert!("../lobby".parse::<RoomName>().is_err());
/// # Ok::<(), tower_websocket::room::InvalidRoomName>(())
/// ```
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RoomName(Arc<str>);

/// What a room is known by inside: the tenant it belongs to, and its name there.
///
/// Two fields, never one string: no tenant and name can be read as another tenant and name.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct RoomKey {
    tenant: Option<Arc<str>>,
    name: RoomName,
}

/// Not a room name, and what it is instead: empty, too long, or with a character that it may not have.
/// It says nothing of the text that was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidRoomName(Constraint);

impl RoomName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoomName {
    type Err = InvalidRoomName;

    fn from_str(name: &str) -> Result<Self, InvalidRoomName> {
        let allowed = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b':' | b'_' | b'-');
        if name.is_empty() {
            return Err(InvalidRoomName(EMPTY));
        }
        // First: of these characters, the length is the same in bytes as anybody would count it.
        if !name.bytes().all(allowed) {
            return Err(InvalidRoomName(ALPHABET));
        }
        if name.len() > MAX_NAME {
            return Err(InvalidRoomName(TOO_LONG));
        }
        Ok(Self(name.into()))
    }
}

impl TryFrom<String> for RoomName {
    type Error = InvalidRoomName;

    fn try_from(name: String) -> Result<Self, InvalidRoomName> {
        name.parse()
    }
}

impl Borrow<str> for RoomName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for RoomName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = deserializer.deserialize_str(NameVisitor);
        name.map_err(|error| de::Error::custom(Reworded(error, NOT_A_NAME)))
    }
}

impl Serialize for RoomName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl RoomKey {
    /// The room `name` of users without a tenant.
    pub const fn new(name: RoomName) -> Self {
        Self { tenant: None, name }
    }

    /// The room `name` of `tenant`.
    ///
    /// # Security
    ///
    /// The tenant comes from the verified user or from the application itself, never from a message.
    pub fn in_tenant(tenant: impl Into<Arc<str>>, name: RoomName) -> Self {
        Self { tenant: Some(tenant.into()), name }
    }

    /// The room `name` of the tenant that `user` belongs to.
    pub fn of(user: &impl Principal, name: RoomName) -> Self {
        Self { tenant: user.tenant().map(Arc::from), name }
    }

    /// The tenant; `None` for a room of users without one.
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// The name within the tenant.
    pub fn name(&self) -> &RoomName {
        &self.name
    }
}

/// `tenant/name`, or `name` where there is no tenant. A name has no `/`, so the last one divides; a
/// tenant is escaped, so that the key is one line in a log.
impl fmt::Display for RoomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tenant {
            Some(tenant) => write!(f, "{}/{}", tenant.escape_debug(), self.name),
            None => fmt::Display::fmt(&self.name, f),
        }
    }
}

impl fmt::Debug for RoomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomKey").field("tenant", &self.tenant).field("name", &self.name).finish()
    }
}

impl fmt::Display for InvalidRoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NOT_A_NAME}: {}", self.0)
    }
}

impl InvalidRoomName {
    /// What the name has to be and is not, in a few words.
    pub fn constraint(&self) -> &'static str {
        self.0.as_str()
    }
}

impl Error for InvalidRoomName {}

struct NameVisitor;

impl de::Visitor<'_> for NameVisitor {
    type Value = RoomName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a room name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<RoomName, E> {
        name.parse().map_err(E::custom)
    }
}

/// Long enough for a UUID with a prefix, short enough for a log line and a bus subject.
const MAX_NAME: usize = 64;

const NOT_A_NAME: &str = "not a room name";
const EMPTY: Constraint = Constraint::new("empty");
const TOO_LONG: Constraint = Constraint::new("longer than 64 characters");
const ALPHABET: Constraint = Constraint::new("a character outside of A-Z a-z 0-9 : _ -");
