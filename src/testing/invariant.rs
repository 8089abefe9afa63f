//! What holds for every endpoint, whatever its peers do.

use std::fmt;

/// One of the ten properties that this crate promises.
///
/// A test that shows one is marked `// holds: I4`. `docs/assurance/invariants.md` lists them, in the same words and with
/// the tests that show them.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Invariant {
    /// I1: authentication comes first.
    AuthFirst,
    /// I2: rooms are apart from each other.
    RoomsApart,
    /// I3: what is held is bounded.
    Bounded,
    /// I4: a connection ends once.
    OneEnd,
    /// I5: closes are documented.
    KnownCloses,
    /// I6: secrets stay secret.
    NoSecrets,
    /// I7: nobody waits for a slow peer.
    NoWaiting,
    /// I8: nothing leaks.
    AllReturned,
    /// I9: what a room says is heard in order.
    InOrder,
    /// I10: who comes back knows what it has.
    Recovered,
}

impl Invariant {
    /// All of them, in order.
    pub const ALL: &'static [Self] = &[
        Self::AuthFirst,
        Self::RoomsApart,
        Self::Bounded,
        Self::OneEnd,
        Self::KnownCloses,
        Self::NoSecrets,
        Self::NoWaiting,
        Self::AllReturned,
        Self::InOrder,
        Self::Recovered,
    ];

    /// Its name: `I1` to `I10`.
    pub const fn id(self) -> &'static str {
        match self {
            Self::AuthFirst => "I1",
            Self::RoomsApart => "I2",
            Self::Bounded => "I3",
            Self::OneEnd => "I4",
            Self::KnownCloses => "I5",
            Self::NoSecrets => "I6",
            Self::NoWaiting => "I7",
            Self::AllReturned => "I8",
            Self::InOrder => "I9",
            Self::Recovered => "I10",
        }
    }

    /// What it says.
    pub const fn statement(self) -> &'static str {
        match self {
            Self::AuthFirst => "nothing of the application runs before authentication",
            Self::RoomsApart => "no frame leaves a room except to its members, in one order",
            Self::Bounded => "what one peer can make the server hold is bounded",
            Self::OneEnd => {
                "after a close reason is set nothing is handed up, and exactly one close event is \
                 recorded"
            }
            Self::KnownCloses => "every close on the wire is in the table",
            Self::NoSecrets => "no secret in any log, reason or error",
            Self::NoWaiting => "a slow or dead member never delays another",
            Self::AllReturned => "all tasks, permits, memberships and descriptors come back",
            Self::InOrder => {
                "what a member hears of a room is what the room said while it was in it, in order, each \
                 once, and without a gap that it is not told of; of a keyed room, of each key newer and newer \
                 values, and in the end the newest"
            }
            Self::Recovered => {
                "who comes back gets exactly what it missed, or is told that it does not"
            }
        }
    }

    /// Panics with its name, its words and what was `seen`, unless it `holds`.
    #[track_caller]
    pub(crate) fn assert(self, holds: bool, seen: impl FnOnce() -> String) {
        assert!(holds, "{self}: {}", seen());
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id(), self.statement())
    }
}
