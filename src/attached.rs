//! Keep for a connection what others have to do with it, as long as it lasts.

use std::{
    any::Any,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use crate::foreign;

/// What is kept, and by whom. Boxed: few connections have any.
#[derive(Default)]
pub(crate) struct Attached(OnceLock<Box<Mutex<Kept>>>);

type Kept = Vec<(usize, Arc<dyn Any + Send + Sync>)>;

impl Attached {
    /// What `owner` keeps: `make` makes it, if it is not there yet.
    pub(crate) fn get_or_make<T: Any + Send + Sync>(
        &self,
        owner: usize,
        make: impl FnOnce() -> T,
    ) -> Option<Arc<T>> {
        let mut kept = lock(self.0.get_or_init(Box::default));
        if !kept.iter().any(|(it, _)| *it == owner) {
            kept.push((owner, Arc::new(make())));
        }
        of(&kept, owner)
    }

    /// The same, if it is there.
    pub(crate) fn get<T: Any + Send + Sync>(&self, owner: usize) -> Option<Arc<T>> {
        of(&lock(self.0.get()?), owner)
    }

    /// Whether there was ever anything.
    pub(crate) fn was_used(&self) -> bool {
        self.0.get().is_some()
    }

    /// The connection is over: nothing is kept any more.
    pub(crate) fn drop_all(&self) {
        if let Some(kept) = self.0.get() {
            // Dropped when the lock is free again.
            let kept = std::mem::take(&mut *lock(kept));
            foreign::discard(kept);
        }
    }
}

fn of<T: Any + Send + Sync>(kept: &Kept, owner: usize) -> Option<Arc<T>> {
    let (_, it) = kept.iter().find(|(it, _)| *it == owner)?;
    Arc::clone(it).downcast().ok()
}

/// Held for a look, or to add one. What is made under it is empty, and takes no other lock.
fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
