//! Carry what a peer sent, or is to get.

use std::{error::Error, fmt, ops::Deref};

use bytes::Bytes;
use serde::Serialize;
use tokio_tungstenite::tungstenite;

/// One whole data message, as the peer sent it or as it will be sent.
///
/// Pings, pongs, close frames and fragments never get this far.
#[expect(clippy::exhaustive_enums, reason = "RFC 6455 §5.6 has two kinds of data frame")]
#[derive(Clone, Eq, PartialEq)]
pub enum Message {
    /// UTF-8 text.
    Text(Utf8Bytes),
    /// Bytes.
    Binary(Bytes),
}

/// Bytes that are known to be UTF-8, cheap to clone.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Utf8Bytes(tungstenite::Utf8Bytes);

/// A value of the application's own could not be written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct EncodeError;

impl Message {
    /// A text message.
    pub fn text(text: impl Into<Utf8Bytes>) -> Self {
        Self::Text(text.into())
    }

    /// A text message: `value` as JSON.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if JSON has no form for `value`, as for a map whose keys are no strings.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        serde_json::to_string(value).map(Self::text).map_err(|_| EncodeError)
    }

    /// A binary message. A `Vec` should have no more capacity than it needs: what is queued is charged
    /// by its length.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::Binary(bytes.into())
    }

    /// The payload's length in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The payload.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The text, if it is a text message.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// A message whose payload holds little more than itself.
    ///
    /// A payload from the wire is a slice of the connection's read buffer: kept in a queue or a
    /// history, a byte of it would hold the whole buffer. A buffer that is held here alone
    /// is no smaller for that, so a small payload is copied in any case.
    pub(crate) fn detached(self) -> Self {
        match self {
            Self::Text(text) => Self::Text(text.detached()),
            Self::Binary(bytes) if is_alone(&bytes) => Self::Binary(bytes),
            Self::Binary(bytes) => Self::Binary(Bytes::copy_from_slice(&bytes)),
        }
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.0.into(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// An empty binary message.
impl Default for Message {
    fn default() -> Self {
        Self::Binary(Bytes::new())
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Binary(bytes) => write!(f, "Binary({} bytes)", bytes.len()),
        }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message could not be encoded")
    }
}

impl Error for EncodeError {}

impl Utf8Bytes {
    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) fn from_frame(text: tungstenite::Utf8Bytes) -> Self {
        Self(text)
    }

    fn detached(self) -> Self {
        if is_alone(self.0.as_ref()) { self } else { Self(self.as_str().into()) }
    }
}

impl Deref for Utf8Bytes {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl From<String> for Utf8Bytes {
    fn from(mut text: String) -> Self {
        // What is queued is charged by its length; what it holds must not be twice that.
        text.shrink_to_fit();
        Self(text.into())
    }
}

impl From<&str> for Utf8Bytes {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Utf8Bytes({} bytes)", self.len())
    }
}

/// Whether a payload holds no buffer that is much larger than itself: the engine's read buffers have
/// 1 KiB, or what one frame needs.
fn is_alone(bytes: &Bytes) -> bool {
    bytes.is_unique() && bytes.len() >= 1024
}

#[cfg(test)]
#[path = "tests/message.rs"]
mod tests;
