//! Say what becomes of a message over the quota.

use self::sealed::SealedExcess;
use crate::{close::Close, layers::Failure};

/// What happens to a message over the quota: [`CloseOnExcess`], [`WaitOnExcess`], or a `Fn() -> R` that
/// makes the answer.
///
/// There is nothing to implement.
#[diagnostic::on_unimplemented(
    message = "`{Self}` makes no answer of type `{R}`",
    note = "`reply_with` takes a `Fn() -> R` that makes what the stack answers: `Message` before \
            `DecodeLayer`, your reply's type behind it"
)]
pub trait OnExcess<R>: SealedExcess<R> {
    /// The failure it ends in, or `None` to let it wait until the quota allows it.
    fn on_excess(&self) -> Option<Failure<R>>;
}

/// Close the connection with 1008 `rate limited`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct CloseOnExcess;

/// Let the message wait until the quota allows it, and read nothing meanwhile.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct WaitOnExcess;

impl<R> OnExcess<R> for CloseOnExcess {
    fn on_excess(&self) -> Option<Failure<R>> {
        Some(Close::RATE_LIMITED.into())
    }
}

impl<R> OnExcess<R> for WaitOnExcess {
    fn on_excess(&self) -> Option<Failure<R>> {
        None
    }
}

impl<R, F: Fn() -> R> OnExcess<R> for F {
    fn on_excess(&self) -> Option<Failure<R>> {
        Some(Failure::Reply(self()))
    }
}

/// What only this file can implement.
mod sealed {
    #[expect(unnameable_types, reason = "not to be named outside")]
    pub trait SealedExcess<R> {}
}

impl<R> SealedExcess<R> for CloseOnExcess {}
impl<R> SealedExcess<R> for WaitOnExcess {}
impl<R, F: Fn() -> R> SealedExcess<R> for F {}
