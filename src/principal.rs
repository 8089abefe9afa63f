//! Say who a user is.

use std::sync::Arc;

/// Who an authenticated peer is, as rooms, limits and audit records need to know it.
///
/// A string is a user by that id, of no tenant; a type of the application's own says more.
pub trait Principal: Send + Sync + 'static {
    /// The user's id, unique within its tenant. It appears in audit records: no secrets.
    fn id(&self) -> &str;

    /// The tenant the user belongs to, if there are tenants. Users of different tenants never share a
    /// room or a quota.
    fn tenant(&self) -> Option<&str> {
        None
    }
}

macro_rules! ids {
    ($($id:ty),*) => {$(
        impl Principal for $id {
            fn id(&self) -> &str {
                self
            }
        }
    )*};
}

ids!(String, &'static str, Arc<str>, Box<str>);
