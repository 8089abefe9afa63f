//! Name the close reason for what the scanner, the engine or the budget refused, and record it.

use std::io;

use tokio_tungstenite::tungstenite::{Error, error::ProtocolError::ResetWithoutClosingHandshake};

use crate::{
    close::CloseReason,
    connection::Connection,
    driver::{engine::Engine, scanner::Violation, transport::Transport},
};

/// Why reading failed with `error`.
///
/// The error's text is never looked at: it may repeat what the peer sent.
pub(crate) fn reason_of_read_error<Io: Transport>(
    error: &Error,
    engine: &Engine<Io>,
    connection: &Connection,
) -> CloseReason {
    let judged_by_wire = matches!(error, Error::Io(it) if it.kind() == io::ErrorKind::InvalidData);
    // A violation counts when the engine gets there: what it refuses itself stood before.
    let violation = engine.violation().filter(|_| judged_by_wire);
    let (reason, observed, limit) = match (violation, error) {
        (Some(violation), _) => of_violation(violation),
        (None, _) if engine.is_over_budget() => (CloseReason::Overloaded, None, None),
        (None, Error::Capacity(_)) => (CloseReason::MessageTooLarge, None, None),
        (None, Error::Utf8(_)) => (CloseReason::InvalidUtf8, None, None),
        (None, Error::Protocol(ResetWithoutClosingHandshake)) => return CloseReason::Lost,
        (None, Error::Protocol(_)) => (CloseReason::ProtocolError, None, None),
        (None, _) if judged_by_wire => (CloseReason::ProtocolError, None, None),
        (None, _) => return CloseReason::Lost,
    };
    connection.refuse("frames", reason.rule(), observed, limit);
    reason
}

/// The reason, what was seen, and what is allowed.
fn of_violation(violation: Violation) -> (CloseReason, Option<u64>, Option<u64>) {
    match violation {
        Violation::Protocol(_) => (CloseReason::ProtocolError, None, None),
        Violation::TooLarge { size, limit } => {
            (CloseReason::MessageTooLarge, Some(size), Some(limit.into()))
        }
        Violation::TooManyFragments(limit) => {
            (CloseReason::TooManyFragments, None, Some(limit.into()))
        }
        Violation::TooManyControlFrames(limit) => {
            (CloseReason::TooManyControlFrames, None, Some(limit.into()))
        }
    }
}
