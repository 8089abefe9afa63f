//! Let an application say why it ends a connection, and nothing that only the crate can know.

use std::{error::Error, fmt};

use super::{CloseCode, CloseReason, Retry};

/// Why an application ends a connection: one of its constants, or a reason of the application's own.
///
/// That a peer is dead, broke the protocol or showed wrong credentials is found out by what looked, and
/// cannot be said here: so what the audit log says of it was seen. What a layer of this crate found is
/// handed through a stack as a `Close`, too; its [`reason`](Self::reason) tells.
///
/// # Example
///
/// ```
/// use tower_websocket::{Close, CloseCode, CloseReason, Retry};
///
/// assert_eq!(Close::FORBIDDEN.reason(), &CloseReason::Forbidden);
///
/// const KICKED: Close = match Close::application(4100, "kicked by a moderator", Retry::Stop) {
///     Ok(kicked) => kicked,
///     Err(_) => panic!("4100 is an application's"),
/// };
/// assert_eq!(KICKED.reason().code().map(u16::from), Some(4100));
/// # fn close(connection: &tower_websocket::Connection) {
/// connection.close(KICKED);
/// # }
/// ```
///
/// What the crate finds out does not compile:
///
/// ```compile_fail,E0277
/// # use tower_websocket::CloseReason;
/// # fn close(connection: &tower_websocket::Connection) {
/// connection.close(CloseReason::DeadPeer);
/// # }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Close(CloseReason);

/// The application's own close code, reason and retry word.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApplicationClose {
    pub(super) code: CloseCode,
    pub(super) text: &'static str,
    pub(super) retry: Retry,
}

/// Why a [`Close`] could not be made.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum InvalidClose {
    /// Applications have 4000 to 4999; 4401, 4403 and 4409 are this crate's.
    Code(u16),
    /// A close frame has room for 123 bytes of reason.
    ReasonTooLong(usize),
}

impl Close {
    /// A reason of the application's own: a code of 4000 to 4999 and a text of at most 123 bytes.
    ///
    /// # Errors
    ///
    /// [`InvalidClose`] if the code is out of that range or one of this crate's own, or if the text
    /// does not fit a control frame (RFC 6455 §5.5).
    pub const fn application(
        code: u16,
        text: &'static str,
        retry: Retry,
    ) -> Result<Self, InvalidClose> {
        let Some(code) = CloseCode::of_application(code) else {
            return Err(InvalidClose::Code(code));
        };
        if text.len() > MAX_REASON {
            return Err(InvalidClose::ReasonTooLong(text.len()));
        }
        Ok(Self(CloseReason::Application(ApplicationClose { code, text, retry })))
    }

    /// A reason that the crate found out.
    pub(crate) const fn because(reason: CloseReason) -> Self {
        Self(reason)
    }

    /// The reason: what the audit log and the peer are told.
    pub fn reason(&self) -> &CloseReason {
        &self.0
    }
}

impl From<Close> for CloseReason {
    fn from(close: Close) -> Self {
        close.0
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for Close {}

impl fmt::Display for InvalidClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "close code {code} is not an application's to send"),
            Self::ReasonTooLong(len) => write!(f, "close reason of {len} bytes, at most 123 fit"),
        }
    }
}

impl Error for InvalidClose {}

/// A control frame carries 125 bytes, two of them the code (RFC 6455 §5.5).
const MAX_REASON: usize = 123;
