//! What can happen to rooms and the peers in them, as a value.

use crate::testing::driven::bytes::{byte, number};

/// One thing that happens. Peers and rooms are places in [`PEERS`] and [`ROOMS`].
#[derive(Clone, Debug)]
pub enum Operation {
    Say(usize, Saying),
    /// The policy decides about the join that the peer waits for.
    Decide(usize, Verdict),
    /// The application tells a room of the peer's tenant, in so many bytes more or less.
    Announce(usize, usize, usize),
    /// The application removes the peer's user from a room.
    Remove(usize, usize),
    /// The application closes the connection.
    Close(usize),
    /// The connection breaks.
    Cut(usize),
    /// From now on the peer takes so many bytes more.
    Slow(usize, usize),
    /// It takes everything again.
    Fast(usize),
    /// The connection's task is dropped, and the same user connects anew.
    Return(usize),
    /// So many milliseconds pass.
    Late(u64),
}

/// What a peer says.
#[derive(Clone, Debug)]
pub enum Saying {
    Join(usize),
    Leave(usize),
    /// In so many bytes more or less.
    Chat(usize, usize),
    Bye,
}

/// What a policy decides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    Yes,
    No,
    Panics,
}

/// Tenant and user of each peer: one user is there twice, one name in both tenants.
pub const PEERS: [(&str, &str); 5] =
    [("a", "alice"), ("a", "alice"), ("a", "bob"), ("b", "alice"), ("b", "carol")];

/// The policy lets everybody into the first two, takes its time about the third, and says no to the next. The
/// last goes on without those who are behind.
pub const ROOMS: [&str; 5] = ["r0", "r1", "ask", "no", "live"];

pub(super) const ASK: usize = 2;
pub(super) const NO: usize = 3;
pub const LIVE: usize = 4;

impl Operation {
    /// Takes one operation from the front of `input`, if there is any more.
    pub fn read(input: &mut &[u8]) -> Option<Self> {
        let kind = byte(input)? % 16;
        if kind == 15 {
            return Some(Self::Late(4 * number(input, 1) as u64));
        }
        let place = number(input, 1);
        let (peer, room) = (place % PEERS.len(), place / PEERS.len() % ROOMS.len());
        Some(match kind {
            0 | 1 => Self::Say(peer, Saying::Join(room)),
            2 => Self::Say(peer, Saying::Leave(room)),
            3..=5 => Self::Say(peer, Saying::Chat(room, 3 * number(input, 1))),
            6 => Self::Say(peer, Saying::Bye),
            // Not one that panics: libFuzzer takes it for a finding.
            7 if room == 0 => Self::Decide(peer, Verdict::No),
            7 => Self::Decide(peer, Verdict::Yes),
            8 => Self::Announce(peer, room, 3 * number(input, 1)),
            9 => Self::Remove(peer, room),
            10 => Self::Close(peer),
            11 => Self::Cut(peer),
            12 => Self::Slow(peer, number(input, 2) % 4000),
            13 => Self::Fast(peer),
            _ => Self::Return(peer),
        })
    }
}
