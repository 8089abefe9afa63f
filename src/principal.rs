//! Say who a user is.

/// Who an authenticated peer is, as rooms, limits and audit records need to know it.
pub trait Principal: Send + Sync + 'static {
    /// The user's id, unique within its tenant. It appears in audit records: no secrets.
    fn id(&self) -> &str;

    /// The tenant the user belongs to. Users of different tenants never share a room or a quota.
    fn tenant(&self) -> &str {
        ""
    }
}
