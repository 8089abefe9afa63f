//! What a client holds: 32 random bytes, as text.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::{TicketError, TicketHash};

/// A ticket: 43 characters of base64url. It lets its holder in, once. `Debug` does not show it.
#[derive(Clone)]
pub struct Ticket(String);

/// 256 bits cannot be guessed, and need no salt where they are kept.
const BYTES: usize = 32;

impl Ticket {
    pub(super) fn random() -> Result<Self, TicketError> {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes).map_err(|_| TicketError::Unavailable)?;
        Ok(Self(BASE64URL_NOPAD.encode(&bytes)))
    }

    /// What has the form of a ticket: the one way to write 32 bytes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; BYTES];
        let fits = BASE64URL_NOPAD.decode_len(text.len()).ok()? == BYTES;
        (fits && BASE64URL_NOPAD.decode_mut(text.as_bytes(), &mut bytes).is_ok())
            .then(|| Self(text.to_owned()))
    }

    /// Whether `text` has the form of one, so that a verifier of several kinds of credentials knows whose it
    /// is.
    pub fn is_like(text: &str) -> bool {
        Self::parse(text).is_some()
    }

    /// The text to hand to the client.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn hash(&self) -> TicketHash {
        TicketHash(Sha256::digest(self.0.as_bytes()).into())
    }
}

/// Its text, as for the answer to the client that asked for it.
impl Serialize for Ticket {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(..)")
    }
}
