//! Know of a login what its end goes by: when it began, and by which session; and who was thrown out since.

use std::{
    hash::{BuildHasher, RandomState},
    num::NonZeroU64,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};

pub use self::limits::SessionLimits;
#[cfg(test)]
pub(crate) use self::voided::MAX_NOTES;
pub(crate) use self::voided::{Subject, Voided};

mod limits;
mod voided;

/// A login, as the code that ends it needs to know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Login {
    /// What was revoked after this moment is not to be let in any more.
    pub(crate) began: Moment,
    /// The session of the application's that it came by, if that has a name.
    pub(crate) session: Option<SessionKey>,
}

/// A point in the order of logins and of what ends them. No clock has to tell which of two came first.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct Moment(u64);

/// A session of the application's, by a keyed hash: what an application calls a session is often all that
/// it takes to have it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct SessionKey(NonZeroU64);

static LATEST: AtomicU64 = AtomicU64::new(0);

impl Login {
    /// One that begins now, by no session.
    #[cfg(test)]
    pub(crate) fn now() -> Self {
        Self { began: Moment::now(), session: None }
    }
}

impl Moment {
    /// Before whatever is ended from here on.
    pub(crate) fn now() -> Self {
        Self(LATEST.load(Ordering::SeqCst))
    }

    /// After each login that has begun, and before those that have not.
    pub(crate) fn next() -> Self {
        Self(LATEST.fetch_add(1, Ordering::SeqCst).saturating_add(1))
    }
}

impl SessionKey {
    pub(crate) fn of(id: &[u8]) -> Self {
        // One key for the process, so that the code that names a session need not know where it is.
        static KEY: OnceLock<RandomState> = OnceLock::new();
        let hash = KEY.get_or_init(RandomState::new).hash_one(id);
        Self(NonZeroU64::new(hash).unwrap_or(NonZeroU64::MIN))
    }

    pub(crate) fn get(self) -> u64 {
        self.0.get()
    }
}
