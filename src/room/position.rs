//! Say how far somebody has heard a room, so that it can come back to there.

use std::{error::Error, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// A place in what a room has said: behind the message with this number, of this log. As text it is
/// `epoch-number`, as in `k3h9x2ab-17`.
///
/// A log begins anew, with another epoch, when its room has been empty for too long, or when the process
/// starts. Positions of two epochs have nothing to do with each other.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Position {
    pub(super) epoch: Epoch,
    pub(super) number: u64,
}

/// Which log of a room a position is of.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Epoch([u8; EPOCH]);

/// Not a position.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidPosition;

impl Position {
    /// The number of the last message before it. The first message of a log has number 1.
    pub const fn number(&self) -> u64 {
        self.number
    }
}

impl Epoch {
    /// One that was not there before: 41 random bits.
    pub(super) fn new() -> Self {
        let (random, _) = Uuid::new_v4().as_u64_pair();
        let mut left = random;
        Self(std::array::from_fn(|_| {
            let letter = u8::try_from(left % 36).unwrap_or(0);
            left /= 36;
            if letter < 10 { b'0' + letter } else { b'a' + (letter - 10) }
        }))
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let (epoch, number) = text.split_once('-').ok_or(InvalidPosition)?;
        let epoch: [u8; EPOCH] = epoch.as_bytes().try_into().map_err(|_| InvalidPosition)?;
        let digits = (1..=MOST_DIGITS).contains(&number.len());
        if !digits || !number.bytes().all(|it| it.is_ascii_digit()) {
            return Err(InvalidPosition);
        }
        if !epoch.iter().all(u8::is_ascii_alphanumeric) {
            return Err(InvalidPosition);
        }
        let number = number.parse().map_err(|_| InvalidPosition)?;
        Ok(Self { epoch: Epoch(epoch), number })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.epoch.0 {
            write!(f, "{}", char::from(letter))?;
        }
        write!(f, "-{}", self.number)
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| de::Error::custom("not a position"))
    }
}

impl fmt::Display for InvalidPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a position: eight letters or digits, a dash, and up to sixteen digits")
    }
}

impl Error for InvalidPosition {}

const EPOCH: usize = 8;

/// A number that JavaScript can count to.
const MOST_DIGITS: usize = 16;
