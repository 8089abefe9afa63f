//! How a connection is closed, in the form that is easiest to write.

use crate::close::{Close, CloseCode, CloseReason};

/// A close: a code, as a number or as a [`CloseCode`], or a [`CloseReason`] or [`Close`], which have a
/// text as well.
pub trait Closing: sealed::Closing {}

impl Closing for u16 {}
impl Closing for CloseCode {}
impl Closing for CloseReason {}
impl Closing for Close {}

pub(super) mod sealed {
    use super::*;

    #[expect(unnameable_types, reason = "which seals it")]
    pub trait Closing {
        fn code(&self) -> Option<u16>;

        /// `None` if any will do.
        fn text(&self) -> Option<&'static str> {
            None
        }
    }

    impl Closing for u16 {
        fn code(&self) -> Option<u16> {
            Some(*self)
        }
    }

    impl Closing for CloseCode {
        fn code(&self) -> Option<u16> {
            Some(u16::from(*self))
        }
    }

    impl Closing for CloseReason {
        fn code(&self) -> Option<u16> {
            self.code().map(u16::from)
        }

        fn text(&self) -> Option<&'static str> {
            Some(self.text())
        }
    }

    impl Closing for Close {
        fn code(&self) -> Option<u16> {
            Closing::code(self.reason())
        }

        fn text(&self) -> Option<&'static str> {
            Some(self.reason().text())
        }
    }
}
