//! Call the hooks of an application, each of them.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// Hooks of one kind, in the order in which they were given. Clones share them.
pub(crate) struct Hooks<H: ?Sized>(Arc<Vec<Arc<H>>>);

impl<H: ?Sized> Hooks<H> {
    pub(crate) fn add(&mut self, hook: Arc<H>) {
        Arc::make_mut(&mut self.0).push(hook);
    }

    /// Calls each hook: one that panics does not keep the others from hearing of it.
    ///
    /// # Errors
    ///
    /// The first panic.
    pub(crate) fn call(&self, call: impl Fn(&H)) -> Result<(), Box<dyn Any + Send>> {
        let mut called = Ok(());
        for hook in &*self.0 {
            called = called.and(catch_unwind(AssertUnwindSafe(|| call(hook))));
        }
        called
    }
}

impl<H: ?Sized> Clone for Hooks<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<H: ?Sized> Default for Hooks<H> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<H: ?Sized> fmt::Debug for Hooks<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hooks").field(&self.0.len()).finish()
    }
}
