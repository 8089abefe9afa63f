//! Say which rooms hold values by key, and how much.

use std::{error::Error, fmt, num::NonZeroUsize, sync::Arc};

use crate::room::{name::RoomKey, values::PLACE};

/// Rooms that hold values by key, of which members get the newest: prices, cursors, who is there. Given to
/// [`RoomsConfig::keyed`](crate::room::RoomsConfig::keyed).
///
/// In a keyed room [`set`](crate::room::RoomHandle::set) puts a message in place of what the key had, and
/// [`unset`](crate::room::RoomHandle::unset) tells that it has nothing any more; messages are not
/// [`broadcast`](crate::room::RoomHandle::broadcast) in it.
///
/// 1. A member that keeps up gets every value. One that is slow gets fewer, never an older one of a key
///    after a newer one, and the newest in the end.
/// 2. Who joins gets what every key has, and from there on what changes.
/// 3. Two keys are never one change: what must be seen together belongs into one value.
/// 4. The room keeps no [`History`](crate::room::History): who comes back gets what there is.
///
/// However slow its members are, a keyed room holds what its keys have, and for a while a message for each key
/// that has nothing any more: no member is closed for the values that it lacks, and no publisher waits for one.
/// A member that has missed more removals than there may be keys is told by a
/// [`RoomNotice::Gap`](crate::RoomNotice::Gap) to forget what it has heard of the room, and gets what every key
/// has.
///
/// | limit | default | over it |
/// |---|---|---|
/// | keys of a room | 1,024 | [`PublishError::TooManyKeys`](crate::room::PublishError::TooManyKeys) |
/// | bytes of a room, keys and values | 256 KiB | [`PublishError::TooManyBytes`](crate::room::PublishError::TooManyBytes) |
/// | bytes of all rooms, with what each key takes beside | 64 MiB | the same |
///
/// # Security
///
/// Where peers choose keys, one of them can take all of a room. A key that is the user's id is a place for
/// each.
///
/// # Example
///
/// ```
/// use tower_websocket::{Rooms, room::{Keyed, RoomsConfig}};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// // Rooms named `prices:dax` or `prices:mdax` are keyed, others are as ever.
/// let keyed = Keyed::new().only(|key| key.name().as_str().starts_with("prices:"));
/// let rooms: Rooms<String> = Rooms::with(RoomsConfig::new().keyed(keyed)?);
/// # Ok(())
/// # }
/// # example().unwrap();
/// ```
#[must_use]
#[derive(Clone)]
pub struct Keyed {
    pub(super) limits: KeyedLimits,
    /// None: all rooms are keyed.
    only: Option<Arc<Choice>>,
}

type Choice = dyn Fn(&RoomKey) -> bool + Send + Sync;

#[derive(Clone, Copy, Debug)]
pub(super) struct KeyedLimits {
    pub(super) keys: usize,
    /// Of keys and values.
    pub(super) bytes: usize,
    /// Of all rooms.
    pub(super) total: usize,
}

/// Limits of keyed rooms that cannot hold.
///
/// Its text is a sentence for whoever sets them, with the values.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyedConfigError {
    /// There could never be so many keys in so many bytes.
    TooFewBytes {
        /// What it is set to.
        max_keys: usize,
        /// What it is set to.
        max_bytes: usize,
        /// What it must be at least.
        least: usize,
    },
    /// All rooms together may not hold what one may.
    TooFewBytesInAll {
        /// What it is set to.
        max_total_bytes: usize,
        /// What it must be at least.
        least: usize,
    },
}

impl Keyed {
    /// All rooms are keyed, within the default limits.
    pub fn new() -> Self {
        let limits = KeyedLimits {
            keys: DEFAULT_MAX_KEYS,
            bytes: DEFAULT_MAX_BYTES,
            total: DEFAULT_MAX_TOTAL_BYTES,
        };
        Self { limits, only: None }
    }

    /// How many keys a room may have: 1,024 unless set. A member that joins is sent all of them.
    pub fn max_keys(mut self, keys: NonZeroUsize) -> Self {
        self.limits.keys = keys.get();
        self
    }

    /// How many bytes the keys and values of a room may have: 256 KiB unless set. It is what each member is
    /// sent that joins, and what one peer can make a room hold.
    pub fn max_bytes(mut self, bytes: NonZeroUsize) -> Self {
        self.limits.bytes = bytes.get();
        self
    }

    /// How many bytes all keyed rooms of these [`Rooms`](crate::Rooms) may take, with what each key takes beside its
    /// value: 64 MiB unless set. Values are never shed, so it is to be far below the
    /// [`MemoryBudget`](crate::MemoryBudget).
    pub fn max_total_bytes(mut self, bytes: NonZeroUsize) -> Self {
        self.limits.total = bytes.get();
        self
    }

    /// Keyed are only the rooms for which `choice` holds; it is asked when a room is joined or made. Others are
    /// logs.
    pub fn only(mut self, choice: impl Fn(&RoomKey) -> bool + Send + Sync + 'static) -> Self {
        self.only = Some(Arc::new(choice));
        self
    }

    /// The limits of the room `key`, if that is keyed.
    pub(super) fn limits_of(&self, key: &RoomKey) -> Option<KeyedLimits> {
        self.only.as_ref().is_none_or(|is_keyed| is_keyed(key)).then_some(self.limits)
    }

    /// The same, if its limits can hold.
    pub(super) fn checked(self) -> Result<Self, KeyedConfigError> {
        let KeyedLimits { keys: max_keys, bytes: max_bytes, total: max_total_bytes } = self.limits;
        let least = max_keys.saturating_mul(SMALLEST);
        if max_bytes < least {
            return Err(KeyedConfigError::TooFewBytes { max_keys, max_bytes, least });
        }
        let least = max_keys.saturating_mul(PLACE).saturating_add(max_bytes);
        if max_total_bytes < least {
            return Err(KeyedConfigError::TooFewBytesInAll { max_total_bytes, least });
        }
        Ok(self)
    }
}

impl Default for Keyed {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl KeyedConfigError {
    /// The name of the setting to change, as [`Keyed`] calls it.
    pub fn setting(&self) -> &'static str {
        match self {
            Self::TooFewBytes { .. } => "max_bytes",
            Self::TooFewBytesInAll { .. } => "max_total_bytes",
        }
    }
}

impl fmt::Display for KeyedConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setting = self.setting();
        match self {
            Self::TooFewBytes { max_keys, max_bytes, least } => write!(
                f,
                "{setting} is {max_bytes}, and a room may have {max_keys} keys: it must be {least} at \
                 least, for the smallest of them"
            ),
            Self::TooFewBytesInAll { max_total_bytes, least } => write!(
                f,
                "{setting} is {max_total_bytes}: it must be {least} at least, for one room that is full"
            ),
        }
    }
}

impl Error for KeyedConfigError {}

/// More than a page can show, and few enough for a joiner to be sent all of them.
const DEFAULT_MAX_KEYS: usize = 1_024;

/// A quarter of a kilobyte for each key.
const DEFAULT_MAX_BYTES: usize = 256 * 1024;

/// As much as the histories of all rooms: some hundred rooms that are full.
const DEFAULT_MAX_TOTAL_BYTES: usize = 64 * 1024 * 1024;

/// A key of one byte, and a frame with one byte of payload.
const SMALLEST: usize = 4;
