//! Name the close reason for what the scanner or the engine refused, and record it.

use std::io;

use tokio_tungstenite::tungstenite::Error;

use crate::{close::CloseReason, connection::scanner::Violation, handle::Connection};

/// The scanner's verdict.
pub(crate) fn of_violation(violation: Violation, connection: &Connection) -> CloseReason {
    let (reason, observed, limit) = match violation {
        Violation::Protocol(_) => (CloseReason::ProtocolError, None, None),
        Violation::TooLarge { size, limit } => {
            (CloseReason::MessageTooLarge, Some(size), Some(limit))
        }
        Violation::TooManyFragments(limit) => (CloseReason::TooManyFragments, None, Some(limit)),
        Violation::TooManyControlFrames(limit) => {
            (CloseReason::TooManyControlFrames, None, Some(limit))
        }
    };
    connection.refuse("frames", reason.rule(), observed, limit.map(u64::from));
    reason
}

/// Whether the engine failed because the wire handed nothing on, and not by a judgment of its own.
pub(crate) fn is_scanner_verdict(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::InvalidData)
}

/// An error of the engine's own. Its text is never looked at: it may repeat what the peer sent.
pub(crate) fn of_error(error: &Error) -> CloseReason {
    use tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;
    match error {
        Error::Capacity(_) => CloseReason::MessageTooLarge,
        Error::Utf8(_) => CloseReason::InvalidUtf8,
        Error::Protocol(ResetWithoutClosingHandshake) => CloseReason::Lost,
        Error::Protocol(_) => CloseReason::ProtocolError,
        error if is_scanner_verdict(error) => CloseReason::ProtocolError,
        _ => CloseReason::Lost,
    }
}
