//! Call the hooks of an application, each of them.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::Result,
};

use crate::foreign;

/// Hooks of one kind, in the order in which they were given. Clones share them.
pub(crate) struct Hooks<H: ?Sized>(Arc<Vec<Arc<H>>>);

impl<H: ?Sized> Hooks<H> {
    pub(crate) fn add(&mut self, hook: Arc<H>) {
        Arc::make_mut(&mut self.0).push(hook);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls each hook: one that panics does not keep the others from hearing of it.
    ///
    /// # Errors
    ///
    /// The first panic.
    pub(crate) fn call(&self, call: impl Fn(&H)) -> Result<()> {
        let called = self.0.iter().map(|hook| catch_unwind(AssertUnwindSafe(|| call(hook))));
        foreign::first_panic(called)
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

#[cfg(test)]
mod tests {
    use std::{
        panic::panic_any,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::foreign::tests::Panics;

    // covers: XX-04
    #[test]
    fn hooks_that_throw_what_panics_again_keep_nobody_from_being_called() {
        let mut hooks = Hooks::<dyn Fn()>::default();
        let called = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let count = Arc::clone(&called);
            hooks.add(Arc::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
                panic_any(Panics);
            }));
        }
        assert_eq!(foreign::run(|| drop(hooks.call(|hook| hook()))), None, "the first panic");
        assert_eq!(called.load(Ordering::Relaxed), 3);
    }
}
