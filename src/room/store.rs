//! Keep the rooms of a process together with how they write and where they record.

use std::{num::NonZeroUsize, sync::Arc};

use crate::{
    audit::{self, AuditRecord, AuditSink, TracingSink},
    connection::Connection,
    layers::Encode,
    quota::MeterTable,
    room::{
        config::RoomsConfig, directory::Directory, encoder::Encoder, join_refused::JoinRefused,
        name::RoomKey, publisher::Publisher, state::Room, subscription::PendingJoin,
    },
};

/// What [`Rooms`](crate::Rooms), and the application's handles on single ones, share.
pub(super) struct RoomStore<R> {
    pub(super) directory: Arc<Directory<Room<R>>>,
    pub(super) encoder: Arc<Encoder<R>>,
    /// What users publish, whichever endpoint they come by.
    pub(super) published: MeterTable,
    /// Where the application's own publications are recorded; members' go to their connections'.
    audit: Option<Arc<dyn AuditSink>>,
}

impl<R: 'static> RoomStore<R> {
    pub(super) fn new<C: Encode<R>>(config: RoomsConfig<C>) -> Self {
        let RoomsConfig { codec, limits, publish_quota, audit } = config;
        let encoder = Arc::new(Encoder::new(codec));
        let published = MeterTable::new(publish_quota, MAX_PUBLISHERS);
        Self { directory: Arc::new(Directory::new(limits)), encoder, published, audit }
    }

    /// Begins a join of `key`: before the policy is asked, so that a removal which comes while it is
    /// being asked meets this join too.
    pub(super) fn enter(
        &self,
        key: &RoomKey,
        connection: Connection,
        user: Arc<str>,
        publisher: Arc<Publisher>,
        rooms_each: NonZeroUsize,
    ) -> Result<PendingJoin<R>, JoinRefused> {
        let (directory, encoder) = (&self.directory, &self.encoder);
        let make = || Room::new(key.clone(), Arc::clone(directory), Arc::clone(encoder));
        let (lease, pace) = directory.lease(key, publisher, rooms_each, make)?;
        Ok(PendingJoin::new(lease, connection, user, pace))
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

/// As many as there are buckets in a rate limit.
const MAX_PUBLISHERS: usize = 100_000;
