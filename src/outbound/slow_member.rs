//! Say what becomes of who cannot keep up with a room.

/// What becomes of a member that is behind by more than may be held for it
/// ([`max_outbound_bytes`](crate::ConnectionConfig::max_outbound_bytes)), or for longer than it may be
/// ([`max_lag`](crate::room::RoomsConfig::max_lag)), and most of that is of this room.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SlowMember {
    /// Its connection is closed with 1013: what it gets has no hole. For what is said, and for what is counted.
    #[default]
    Close,
    /// It goes on with the newest, and is told so first
    /// ([`RoomNotice::Gap`](crate::RoomNotice::Gap)). For what is replaced by what comes after it: prices,
    /// places, a game's state.
    ///
    /// Nobody who publishes waits for it. Closed it is all the same, with 1013, when its socket takes nothing
    /// for [`write_timeout`](crate::ConnectionConfig::write_timeout), or when it is its own messages that pass
    /// the bound.
    Skip,
}
