//! The log of a room against a list of all that was ever said.

use super::bytes::{byte, number};

pub use crate::room::driven::{LogOperation, LogRun};

impl LogOperation {
    /// Takes one from the front of `input`, if there is any more.
    pub fn read(input: &mut &[u8]) -> Option<Self> {
        let kind = byte(input)?;
        Some(match kind % 12 {
            0 | 1 => Self::Say(2 + number(input, 1)),
            2 => Self::Say(2 + number(input, 2) % (LONG)),
            3 => Self::Offer(number(input, 1) % 32),
            4 => Self::Stand(number(input, 1)),
            5 => Self::LetGo(number(input, 1)),
            6 => Self::Read(number(input, 1), number(input, 1), number(input, 2)),
            7 => Self::View(number(input, 2)),
            8 | 9 => Self::Trim,
            10 => match number(input, 1) {
                0..32 => Self::Cut,
                time => Self::Pass(time as u64 * 20),
            },
            _ => Self::Find(number(input, 1)),
        })
    }
}

impl LogRun {
    /// The log that the front of `input` says.
    pub fn read(input: &mut &[u8]) -> Self {
        Self::new(number(input, 1) % 64, number(input, 1) * 2_048)
    }
}

/// Frames on both sides of what is copied.
const LONG: usize = 8 * 1024;
