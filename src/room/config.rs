//! Say how many rooms there may be, and how large.

use std::{fmt, num::NonZeroUsize, sync::Arc, time::Duration};

use crate::{
    audit::AuditSink,
    layers::Json,
    outbound::SlowMember,
    quota::Quota,
    room::{
        history::History,
        keyed::{Keyed, KeyedConfigError},
        name::RoomKey,
        shares::ShareLimits,
    },
};

/// What the [`Rooms`](crate::Rooms) of a process may take, and how they write. Given to
/// [`Rooms::with`](crate::Rooms::with).
///
/// # Example
///
/// ```
/// use std::num::NonZeroUsize;
/// use tower_websocket::{Rooms, room::RoomsConfig};
///
/// let config = RoomsConfig::new().max_members(NonZeroUsize::new(500).unwrap());
/// let rooms: Rooms<String> = Rooms::with(config);
/// # assert!(rooms.is_empty());
/// ```
#[must_use]
#[derive(Clone)]
pub struct RoomsConfig<C = Json> {
    pub(super) codec: C,
    pub(super) limits: RoomLimits,
    /// How much one user may publish.
    pub(super) publish_quota: Quota,
    pub(super) history: Option<History>,
    pub(super) keyed: Option<Keyed>,
    pub(super) lag: LagLimits,
    /// Where the application's own publications are recorded; members' go to their connections'.
    pub(super) audit: Option<Arc<dyn AuditSink>>,
}

/// How far a member may be behind, and what becomes of one that is further.
#[derive(Clone, Default)]
pub(super) struct LagLimits {
    pub(super) slow_members: SlowMembers,
    pub(super) age: Option<Duration>,
}

#[derive(Clone)]
pub(super) enum SlowMembers {
    All(SlowMember),
    Each(Arc<dyn Fn(&RoomKey) -> SlowMember + Send + Sync>),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct RoomLimits {
    pub(super) members: NonZeroUsize,
    pub(super) rooms: NonZeroUsize,
    /// A part of `rooms` unless set.
    per_user: Option<NonZeroUsize>,
    per_address: Option<NonZeroUsize>,
}

impl RoomsConfig {
    /// The defaults: messages are written as JSON.
    pub fn new() -> Self {
        let limits = RoomLimits {
            members: DEFAULT_MAX_MEMBERS,
            rooms: DEFAULT_MAX_ROOMS,
            per_user: None,
            per_address: None,
        };
        let (codec, lag) = (Json::default(), LagLimits::default());
        let publish_quota = DEFAULT_PUBLISH_QUOTA;
        let (history, keyed, audit) = (None, None, None);
        Self { codec, limits, publish_quota, history, keyed, lag, audit }
    }
}

impl<C> RoomsConfig<C> {
    /// What writes the messages that are published: [`Json`] unless set.
    ///
    /// It has to be of the type that the members' [`DecodeLayer`](crate::DecodeLayer) has. A connection
    /// whose layer has another one is closed with 1011 when it joins, and the operator is told.
    pub fn codec<D>(self, codec: D) -> RoomsConfig<D> {
        let Self { limits, publish_quota, history, keyed, lag, audit, .. } = self;
        RoomsConfig { codec, limits, publish_quota, history, keyed, lag, audit }
    }

    /// How many members a room may have: 10,000 unless set. One message of one member is that many
    /// deliveries, which is what an attacker gains if it is raised.
    pub fn max_members(mut self, members: NonZeroUsize) -> Self {
        self.limits.members = members;
        self
    }

    /// How many rooms there may be: 100,000 unless set. It bounds the memory that names chosen by
    /// peers can take. Empty rooms do not count: they do not exist.
    pub fn max_rooms(mut self, rooms: NonZeroUsize) -> Self {
        self.limits.rooms = rooms;
        self
    }

    /// How many memberships one user may have, on all of its connections together. Unless set it is a
    /// fiftieth of [`max_rooms`](Self::max_rooms), 2,000 by default: twenty tabs and devices that are each
    /// in as many rooms as a connection may be in. It is never less than four times what
    /// [`RoomsLayer::max_rooms_per_connection`](crate::RoomsLayer::max_rooms_per_connection) allows: who
    /// comes back after a lost connection is in its rooms a second time until the first one is found
    /// to be dead.
    pub fn max_memberships_per_user(mut self, memberships: NonZeroUsize) -> Self {
        self.limits.per_user = Some(memberships);
        self
    }

    /// How many memberships the connections of one address may have, where
    /// [`Connection::client_ip`](crate::Connection::client_ip) tells it; an IPv6 /64 counts as one
    /// address, a /56 may have twice and a /48 four times as many. Unless set it is a tenth of
    /// [`max_rooms`](Self::max_rooms), 10,000 by default: an office of 1,000 people in ten rooms each. Raised, fewer addresses can take
    /// all rooms. It is never less than what one user may have.
    pub fn max_memberships_per_address(mut self, memberships: NonZeroUsize) -> Self {
        self.limits.per_address = Some(memberships);
        self
    }

    /// How much one user may publish in these rooms, on all of its connections together: members × KiB.
    /// Over it [`broadcast`](crate::room::RoomHandle::broadcast) fails with
    /// [`RateLimited`](crate::room::PublishError::RateLimited), which closes with 1008.
    ///
    /// The default is 100,000 each second, which is about 100 MB leaving the server for one user, and
    /// 1,000,000 at once: a message of 64 KiB to a room of 10,000 fits. A message that costs more
    /// than the whole burst is charged the burst. Raised, one user can fill the server's line.
    pub fn publish_quota(mut self, quota: Quota) -> Self {
        self.publish_quota = quota;
        self
    }

    /// What each room keeps of what it has said, for those who come back: nothing unless set.
    ///
    /// Every message says its position then, by which a client that was cut off asks for what it missed
    /// ([`Join::since`](crate::room::Join::since)). The codec has to have a place for it
    /// ([`Encode::encode_stamped`](crate::layers::Encode::encode_stamped)).
    pub fn history(mut self, history: History) -> Self {
        self.history = Some(history);
        self
    }

    /// What becomes of a member that cannot keep up: [`SlowMember::Close`] unless set, in all rooms. With
    /// [`SlowMember::Skip`] it goes on with the newest, is told so
    /// ([`RoomNotice::Gap`](crate::RoomNotice::Gap)), and there is a record of it
    /// ([`AuditEvent::Skipped`](crate::AuditEvent::Skipped)).
    ///
    /// What counts is what the connection lacks of all of its rooms and of its own. When that is too much, it
    /// is the room of which it lacks most that is asked, so that a quiet room does not lose its member to a
    /// loud one.
    pub fn slow_members(mut self, becomes: SlowMember) -> Self {
        self.lag.slow_members = SlowMembers::All(becomes);
        self
    }

    /// The same, as `becomes` says of each room. It is asked when somebody joins, before the policy is; if it
    /// panics, the join is refused.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_websocket::room::{SlowMember, RoomsConfig};
    ///
    /// let config = RoomsConfig::new().slow_members_of(|room| match room.name().as_str() {
    ///     name if name.starts_with("prices:") => SlowMember::Skip,
    ///     _ => SlowMember::Close,
    /// });
    /// # let _ = config;
    /// ```
    pub fn slow_members_of(
        mut self,
        becomes: impl Fn(&RoomKey) -> SlowMember + Send + Sync + 'static,
    ) -> Self {
        self.lag.slow_members = SlowMembers::Each(Arc::new(becomes));
        self
    }

    /// How old what a member gets may be: without a bound unless set. When its socket takes more and what
    /// comes next was said longer ago, the member is as one that is too many bytes behind. What it
    /// [missed](crate::room::Join::since) before it came may be older.
    pub fn max_lag(mut self, age: Duration) -> Self {
        self.lag.age = Some(age);
        self
    }

    /// Which rooms hold values by key, of which members get the newest, and how many: none unless set. Such
    /// rooms keep no [`history`](Self::history), and neither [`slow_members`](Self::slow_members) nor
    /// [`max_lag`](Self::max_lag) is for them.
    ///
    /// # Errors
    ///
    /// [`KeyedConfigError`] if the limits cannot hold together.
    pub fn keyed(mut self, keyed: Keyed) -> Result<Self, KeyedConfigError> {
        self.keyed = Some(keyed.checked()?);
        Ok(self)
    }

    /// Where [`RoomAdmin::broadcast`](crate::room::RoomAdmin::broadcast) is recorded: the process's
    /// [`TracingSink`](crate::TracingSink) unless set.
    pub fn audit(mut self, sink: impl AuditSink) -> Self {
        self.audit = Some(Arc::new(sink));
        self
    }
}

impl RoomLimits {
    /// What one user may have, and one address, if a connection may be in `rooms_each` rooms.
    pub(super) fn shares(&self, rooms_each: NonZeroUsize) -> ShareLimits {
        let part = |of: usize| NonZeroUsize::new(self.rooms.get() / of);
        let least = rooms_each.saturating_mul(CONNECTIONS_OF_A_USER);
        let user = self.per_user.or(part(USERS)).map_or(least, |it| it.max(least));
        let address = self.per_address.or(part(ADDRESSES)).map_or(user, |it| it.max(user));
        ShareLimits { user, address }
    }
}

impl SlowMembers {
    /// What it is in the room `key`. Code of the application's runs.
    pub(super) fn of(&self, key: &RoomKey) -> SlowMember {
        match self {
            Self::All(it) => *it,
            Self::Each(of) => of(key),
        }
    }
}

impl Default for SlowMembers {
    fn default() -> Self {
        Self::All(SlowMember::Close)
    }
}

impl Default for RoomsConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> fmt::Debug for RoomsConfig<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomsConfig").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// As many as there may be connections unless that is raised: everybody may be in one room.
const DEFAULT_MAX_MEMBERS: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// Below 150 MB if every room has one member, which is what an attacker would make:
/// `tests/table_memory.rs` measures it.
const DEFAULT_MAX_ROOMS: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

/// Most of a gigabit line, which no honest user fills.
const DEFAULT_PUBLISH_QUOTA: Quota = Quota::per_second(100_000).burst(1_000_000);

/// So many users are needed to take all rooms.
const USERS: usize = 50;

/// So many addresses are needed to take all rooms.
const ADDRESSES: usize = 10;

/// Connections of a user that may be in as many rooms as a connection may be in.
const CONNECTIONS_OF_A_USER: NonZeroUsize = NonZeroUsize::new(4).unwrap();
