//! Say what a message is charged.

use self::sealed::SealedCost;
use crate::message::Message;

/// What a message is charged: [`OneEach`], [`PayloadBytes`], or a `Fn(&M) -> u32`.
///
/// There is nothing to implement.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot say what a `{M}` costs",
    note = "`cost` takes a `Fn(&M) -> u32` of what the layer in front hands on: `Message` before \
            `DecodeLayer`, your type behind it; `cost_bytes` stands before it"
)]
pub trait Cost<M>: SealedCost<M> {
    /// The charge for `message`. What costs zero passes, also when the bucket is empty.
    fn cost(&self, message: &M) -> u32;
}

/// Each message costs one.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct OneEach;

/// A message costs the bytes of its payload. An empty one costs one: free, it could be sent without end.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct PayloadBytes;

impl<M> Cost<M> for OneEach {
    fn cost(&self, _: &M) -> u32 {
        1
    }
}

impl Cost<Message> for PayloadBytes {
    fn cost(&self, message: &Message) -> u32 {
        u32::try_from(message.len().max(1)).unwrap_or(u32::MAX)
    }
}

impl<M, F: Fn(&M) -> u32> Cost<M> for F {
    fn cost(&self, message: &M) -> u32 {
        self(message)
    }
}

/// What only this file can implement.
mod sealed {
    #[expect(unnameable_types, reason = "not to be named outside")]
    pub trait SealedCost<M> {}
}

impl<M> SealedCost<M> for OneEach {}
impl SealedCost<Message> for PayloadBytes {}
impl<M, F: Fn(&M) -> u32> SealedCost<M> for F {}
