//! Run code of the application's, and drop its values, where a panic must get no further.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    thread::Result,
};

/// Holds a value of the application's among what is ours. Dropping it never panics, so that a collection
/// of them is dropped whole, also while another panic goes by.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Caught<T> {
    /// There until it is dropped.
    value: Option<T>,
}

impl<T> Caught<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Some(value) }
    }

    /// Nothing.
    pub(crate) const fn none() -> Self {
        Self { value: None }
    }

    /// The value: it is always there, but for [`none`](Self::none).
    pub(crate) fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        self.value.as_mut()
    }

    /// The value, which is the caller's to drop.
    pub(crate) fn into_inner(mut self) -> Option<T> {
        self.value.take()
    }
}

impl<T: fmt::Debug> fmt::Debug for Caught<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => value.fmt(f),
            None => f.write_str("Caught"),
        }
    }
}

impl<T> Drop for Caught<T> {
    fn drop(&mut self) {
        discard(self.value.take());
    }
}

/// What `code` returns, or nothing if it panics.
pub(crate) fn run<T>(code: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(code)).map_err(discard_panic).ok()
}

/// Drops each of `values`, of which any may panic: several in one piece of drop glue would end the
/// process.
pub(crate) fn discard<T>(values: impl IntoIterator<Item = T>) {
    for value in values {
        let _ = run(|| drop(value));
    }
}

/// The first panic of several. The others are dropped here, and never while it unwinds.
pub(crate) fn first_panic(results: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    let mut first = Ok(());
    for result in results {
        match result {
            Err(thrown) if first.is_err() => discard_panic(thrown),
            Err(thrown) => first = Err(thrown),
            Ok(()) => {}
        }
    }
    first
}

/// What was thrown is a value of the application's, too.
fn discard_panic(thrown: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(thrown))) {
        std::mem::forget(again);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::*;

    /// Its destructor panics.
    pub(crate) struct Panics;

    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in a destructor");
        }
    }

    #[test]
    fn a_panic_ends_nothing_whatever_is_thrown() {
        assert_eq!(run(|| 1), Some(1));
        assert_eq!(run(|| panic!("a text")), None::<()>);
        assert_eq!(run(|| std::panic::panic_any(Panics)), None::<()>);
    }

    // covers: XX-04
    #[test]
    fn several_destructors_that_panic_are_several_panics_and_no_abort() {
        discard([Panics, Panics, Panics]);
        // Also while something else unwinds.
        struct Unwinding;
        impl Drop for Unwinding {
            fn drop(&mut self) {
                discard([Panics, Panics]);
            }
        }
        let unwound = run(|| {
            let _unwinding = Unwinding;
            panic!("first");
        });
        assert_eq!(unwound, None::<()>);
    }

    // covers: XX-04
    #[test]
    fn a_collection_of_values_that_panic_is_dropped_whole_while_another_panic_goes_by() {
        struct Counted<'a>(&'a Cell<usize>);
        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
                panic!("in a destructor");
            }
        }
        let gone = Cell::new(0);
        let unwound = run(|| {
            let _many: Vec<_> = (0..10).map(|_| Caught::new(Counted(&gone))).collect();
            panic!("first");
        });
        assert_eq!((unwound, gone.get()), (None::<()>, 10));
    }
}
