//! Keep the rooms of a process together with how they write and where they record.

use std::{
    num::NonZeroUsize,
    sync::{Arc, atomic::AtomicUsize},
};

use crate::{
    audit::{self, AuditRecord, AuditSink, TracingSink},
    connection::Connection,
    layers::Encode,
    outbound::SlowMember,
    quota::{MeterTable, Quota},
    room::{
        change::Pin,
        config::{LagLimits, RoomsConfig},
        directory::Directory,
        encoder::Encoder,
        history::{History, Kept},
        join_refused::JoinRefused,
        keyed::{Keyed, KeyedLimits},
        log::Log,
        name::{RoomKey, RoomName},
        outcome::Undelivered,
        publisher::{Publisher, RoomQuotas},
        said::Said,
        state::{Room, Settings},
        subscription::PendingJoin,
        values::Values,
    },
};

/// What [`Rooms`](crate::Rooms), and the application's handles on single ones, share.
pub(super) struct RoomStore<R> {
    pub(super) directory: Arc<Directory<Room<R>>>,
    pub(super) encoder: Arc<Encoder<R>>,
    /// What users may do, whichever endpoint they come by.
    pub(super) quotas: Arc<RoomQuotas>,
    history: Option<History>,
    lag: LagLimits,
    /// What the histories of all rooms take.
    kept: Arc<AtomicUsize>,
    keyed: Option<Keyed>,
    /// What all keyed rooms take.
    valued: Arc<AtomicUsize>,
    /// Where the application's own publications are recorded; members' go to their connections'.
    audit: Option<Arc<dyn AuditSink>>,
}

/// What a room is to be.
#[derive(Clone, Copy)]
enum Kind {
    Keyed(KeyedLimits),
    /// What becomes of who cannot keep up with it.
    Log(SlowMember),
}

impl<R: 'static> RoomStore<R> {
    pub(super) fn new<C: Encode<R>>(config: RoomsConfig<C>) -> Self {
        let RoomsConfig { codec, limits, publish_quota, history, keyed, lag, audit } = config;
        let encoder = Arc::new(Encoder::new(codec, history.is_some()));
        let quotas = Arc::new(RoomQuotas {
            published: MeterTable::new(publish_quota, MAX_PUBLISHERS),
            replayed: MeterTable::new(REPLAYED, MAX_PUBLISHERS),
        });
        let (kept, valued) = (Arc::default(), Arc::default());
        let directory = Arc::new(Directory::new(limits));
        Self { directory, encoder, quotas, history, lag, kept, keyed, valued, audit }
    }

    /// Begins a join of `key`, which the peer calls `name`: before the policy is asked, so that a removal which comes while it is
    /// being asked meets this join too.
    pub(super) fn enter(
        &self,
        key: &RoomKey,
        name: &RoomName,
        connection: Connection,
        user: Arc<str>,
        publisher: Arc<Publisher>,
        rooms_each: NonZeroUsize,
    ) -> Result<PendingJoin<R>, JoinRefused> {
        // Not under the directory's lock: it is the application's.
        let kind = self.kind(key);
        let make = || self.make(key, kind);
        let (lease, pace) = self.directory.lease(key, publisher, rooms_each, make)?;
        Ok(PendingJoin::new(lease, name, connection, user, pace))
    }

    /// The keyed room `key`, which is made if there is none, and what keeps it.
    pub(super) fn pin(&self, key: &RoomKey) -> Result<(Arc<Room<R>>, Pin), Undelivered> {
        let kind = self.kind(key);
        if !matches!(kind, Kind::Keyed(_)) {
            return Err(Undelivered::NotKeyed);
        }
        let pin = Directory::pin(&self.directory, key, || self.make(key, kind));
        let (room, pin) = pin.map_err(|_| Undelivered::TooManyRooms)?;
        Ok((room, Box::new(pin)))
    }

    fn make(&self, key: &RoomKey, kind: Kind) -> Room<R> {
        let (said, settings) = match kind {
            Kind::Keyed(limits) => {
                let values = Values::new(limits, Arc::clone(&self.valued));
                // Who is behind lacks nothing that would be old or gone, but removals, of which it is told so.
                let slow_member = SlowMember::Skip;
                let settings = Settings { ttl: None, slow_member, max_lag: None };
                (Said::Values(Box::new(values)), settings)
            }
            Kind::Log(slow_member) => {
                let log = Log::new(self.history.map(Kept::new), Arc::clone(&self.kept));
                let ttl = self.history.map(|it| it.ttl);
                (Said::Log(log), Settings { ttl, slow_member, max_lag: self.lag.age })
            }
        };
        let (directory, encoder) = (Arc::clone(&self.directory), Arc::clone(&self.encoder));
        Room::new(key.clone(), directory, encoder, said, settings)
    }

    /// What the application has chosen for the room `key`. Not to be asked under a lock.
    fn kind(&self, key: &RoomKey) -> Kind {
        match self.keyed_limits(key) {
            Some(limits) => Kind::Keyed(limits),
            None => Kind::Log(self.lag.slow_members.of(key)),
        }
    }
}

impl<R> RoomStore<R> {
    /// The limits of the room `key`, if it is keyed.
    pub(super) fn keyed_limits(&self, key: &RoomKey) -> Option<KeyedLimits> {
        self.keyed.as_ref().and_then(|keyed| keyed.limits_of(key))
    }

    /// By whom what is attached to connections is told apart. Memberships keep the directory where it is.
    pub(super) fn owner(&self) -> usize {
        Arc::as_ptr(&self.directory).addr()
    }

    /// Records what the application itself did. It is done: a sink that panics does not undo it.
    pub(super) fn record(&self, record: &AuditRecord) {
        let _ = match &self.audit {
            Some(sink) => audit::tell(&**sink, record),
            None => audit::tell(&TracingSink::shared(), record),
        };
    }
}

impl<R> Drop for RoomStore<R> {
    /// A room that the application keeps is kept by itself: it would be there for ever.
    fn drop(&mut self) {
        if self.keyed.is_some() {
            self.directory.all().iter().for_each(|room| room.unpin());
        }
    }
}

/// A room's history each quarter of a second, and thirty-two at once, as who comes back to all of its rooms.
const REPLAYED: Quota = Quota::per_second(1024).burst(8 * 1024);

/// As many as there are buckets in a rate limit.
const MAX_PUBLISHERS: usize = 100_000;
