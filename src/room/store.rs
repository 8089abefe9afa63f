//! Keep the rooms of a process together with how they write and where they record.

use std::{
    num::NonZeroUsize,
    sync::{Arc, atomic::AtomicUsize},
};

use crate::{
    audit::{self, AuditRecord, AuditSink, TracingSink},
    connection::Connection,
    layers::Encode,
    quota::{MeterTable, Quota},
    room::{
        config::{LagLimits, RoomsConfig},
        directory::Directory,
        encoder::Encoder,
        history::{History, Kept},
        join_refused::JoinRefused,
        log::Log,
        name::{RoomKey, RoomName},
        publisher::{Publisher, RoomQuotas},
        state::{Room, Settings},
        subscription::PendingJoin,
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
    /// Where the application's own publications are recorded; members' go to their connections'.
    audit: Option<Arc<dyn AuditSink>>,
}

impl<R: 'static> RoomStore<R> {
    pub(super) fn new<C: Encode<R>>(config: RoomsConfig<C>) -> Self {
        let RoomsConfig { codec, limits, publish_quota, history, lag, audit } = config;
        let encoder = Arc::new(Encoder::new(codec, history.is_some()));
        let quotas = Arc::new(RoomQuotas {
            published: MeterTable::new(publish_quota, MAX_PUBLISHERS),
            replayed: MeterTable::new(REPLAYED, MAX_PUBLISHERS),
        });
        let (directory, kept) = (Arc::new(Directory::new(limits)), Arc::default());
        Self { directory, encoder, quotas, history, lag, kept, audit }
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
        let (directory, encoder) = (&self.directory, &self.encoder);
        // Not under the directory's lock: it is the application's.
        let slow_member = self.lag.slow_members.of(key);
        let make = || {
            let log = Log::new(self.history.map(Kept::new), Arc::clone(&self.kept));
            let settings =
                Settings { ttl: self.history.map(|it| it.ttl), slow_member, max_lag: self.lag.age };
            Room::new(key.clone(), Arc::clone(directory), Arc::clone(encoder), log, settings)
        };
        let (lease, pace) = directory.lease(key, publisher, rooms_each, make)?;
        Ok(PendingJoin::new(lease, name, connection, user, pace))
    }
}

impl<R> RoomStore<R> {
    /// Records what the application itself did. It is done: a sink that panics does not undo it.
    pub(super) fn record(&self, record: &AuditRecord) {
        let _ = match &self.audit {
            Some(sink) => audit::tell(&**sink, record),
            None => audit::tell(&TracingSink::shared(), record),
        };
    }
}

/// A room's history each quarter of a second, and thirty-two at once, as who comes back to all of its rooms.
const REPLAYED: Quota = Quota::per_second(1024).burst(8 * 1024);

/// As many as there are buckets in a rate limit.
const MAX_PUBLISHERS: usize = 100_000;
