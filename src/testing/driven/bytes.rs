//! Read operations from a fuzzer's bytes.
//!
//! An operation is a byte that says which, then what it needs; where the input ends, zeros. A handler
//! that panics is missing: libFuzzer takes every panic for a finding, caught or not.

use crate::close::Close;

use super::operation::{Operation, Outcome, Sent};

impl Operation {
    /// Takes one operation from the front of `input`, if there is any more.
    pub fn read(input: &mut &[u8]) -> Option<Self> {
        let operation = byte(input)?;
        Some(match operation % 16 {
            kind @ 0..=2 => {
                let length = number(input, 1);
                let (sent, rest) = input.split_at(input.len().min(length));
                *input = rest;
                let chunk = if kind == 2 { 1 + number(input, 1) } else { usize::MAX };
                Self::Send(vec![Sent::Raw(sent.into())], chunk)
            }
            3 | 4 => Self::Send(vec![Sent::Text(number(input, 2) % 1500)], usize::MAX),
            5 | 6 => {
                let (first, size) = (byte(input).unwrap_or(0x89), number(input, 1) % 126);
                Self::Send(vec![Sent::Frame(first, size)], usize::MAX)
            }
            7 => match number(input, 2) {
                0 => Self::Room(None),
                room => Self::Room(Some(room % 5000)),
            },
            8 => Self::Piece(Some(1 + number(input, 2))),
            9 => Self::Late(4 * number(input, 1) as u64),
            10 => Self::Plan(match number(input, 1) {
                0..=127 => Outcome::Waits,
                128..=250 => Outcome::Replies(number(input, 1) % 8),
                _ => Outcome::Fails,
            }),
            11 => Self::Answer,
            12 | 13 => Self::Push(number(input, 2) % 3000),
            14 => {
                let close = number(input, 1) % Close::ALL.len();
                Self::Close(Close::ALL[close].clone())
            }
            _ if number(input, 1) < 128 => Self::End,
            _ => Self::BreakDown,
        })
    }
}

pub(super) fn byte(input: &mut &[u8]) -> Option<u8> {
    let (&byte, rest) = input.split_first()?;
    *input = rest;
    Some(byte)
}

/// A big-endian number of so many bytes.
pub(super) fn number(input: &mut &[u8], bytes: usize) -> usize {
    (0..bytes).fold(0, |sum, _| sum << 8 | usize::from(byte(input).unwrap_or(0)))
}
