//! Say who may ask for rooms.

use self::sealed::SealedEntrant;
use crate::layers::Authenticated;

/// What a sender has shown who may ask for the rooms of users `U`: that it is one.
///
/// There is nothing to implement.
#[diagnostic::on_unimplemented(
    message = "`RoomsLayer` lets `Authenticated` users into rooms, and not `{Self}`",
    label = "lets in before anybody is authenticated",
    note = "`RequireAuthLayer` stands in front of `DecodeLayer`, and that in front of `RoomsLayer`",
    note = "a user of the policy is one of `RequireAuthLayer`: `RoomPolicy<U>` is for its `U`"
)]
pub trait Entrant<U>: SealedEntrant<U> {}

impl<U> Entrant<U> for Authenticated<U> {}

/// What only this file can implement.
mod sealed {
    use crate::layers::Authenticated;

    #[expect(unnameable_types, reason = "nobody outside is to name it")]
    pub trait SealedEntrant<U> {
        fn into_user(self) -> Authenticated<U>;
    }

    impl<U> SealedEntrant<U> for Authenticated<U> {
        fn into_user(self) -> Self {
            self
        }
    }
}
