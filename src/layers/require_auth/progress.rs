//! How far a connection's authentication is, and the one place that claims a proof.

use std::{
    panic::resume_unwind,
    sync::{Arc, OnceLock},
};

use super::{RequireAuthLayer, Way};
use crate::{
    audit::{AuditEvent, AuthFailed},
    close::{Close, CloseReason},
    connection::Connection,
    layers::{
        AuthFailure, Authenticate, Authenticated, Session,
        opening::{self, NotIdentified, Opening},
    },
    login::Moment,
    message::Message,
};

/// How far the connection's authentication is.
pub(super) enum Progress<U> {
    /// The next message is the first.
    Nothing,
    /// The future that verifies the peer leaves what it found here. If that was dropped before, there is nothing.
    Asked(Arc<OnceLock<Authenticated<U>>>),
    Done(Authenticated<U>),
}

impl<A: Authenticate> RequireAuthLayer<A> {
    /// How far a connection is that is about to open.
    pub(super) fn progress(&self) -> Progress<A::User> {
        // Made where there is no handshake, as in a test, it goes by the first message.
        opening::current(|opening| self.progress_after(opening)).unwrap_or(Progress::Nothing)
    }

    fn progress_after(&self, opening: &mut Opening) -> Progress<A::User> {
        opening.authenticates = true;
        if let Way::Message = self.way {
            return Progress::Nothing;
        }
        let missing = match opening.identity::<A::User>() {
            Ok(identity) => {
                let (layer, slot) = (self.clone(), Arc::new(OnceLock::new()));
                let left = Arc::clone(&slot);
                opening.enter = Some(Box::new(move |connection| {
                    // It is there: its type was looked at.
                    let Some(session) = identity.session() else { return };
                    match layer.admit(session, Moment::now(), connection, &left) {
                        Ok(Some(welcome)) => _ = connection.push(welcome),
                        Ok(None) => {}
                        Err(close) => connection.close(close),
                    }
                }));
                return Progress::Asked(slot);
            }
            Err(missing) => missing,
        };
        match (self.way, missing) {
            (Way::Message | Way::Either, NotIdentified::Missing) => {}
            (Way::HandshakeThenClose, NotIdentified::Missing) => {
                opening.enter = Some(Box::new(|connection| {
                    connection.close(refused(AuthFailure::Unidentified, connection));
                }));
            }
            (_, missing) => opening.refused = Some(missing),
        }
        Progress::Nothing
    }

    /// Claims the proof of the user who was verified, and leaves it in `slot`: the only place that does. Returns
    /// what the peer is told. A user who was thrown out since it asked, or is here too often, is not let in.
    pub(super) fn admit(
        &self,
        session: Session<A::User>,
        asked: Moment,
        connection: &Connection,
        slot: &OnceLock<Authenticated<A::User>>,
    ) -> Result<Option<Message>, Close> {
        let login = session.login(asked);
        let Session { user, expires, reply, limits, .. } = session;
        connection.authenticated(&*user, expires, login).inspect_err(|close| {
            let rule = close.reason().rule();
            connection.record(AuditEvent::AuthFailed(AuthFailed { rule }));
        })?;
        if let Some(limits) = limits {
            connection.limit(&limits);
        }
        let proof = slot.get_or_init(|| Authenticated::claim(user));
        if let Err(panic) = self.on_open.call(|hook| hook(proof, connection)) {
            resume_unwind(panic);
        }
        Ok(reply)
    }
}

/// Records why the peer was not let in.
pub(super) fn refused(failure: AuthFailure, connection: &Connection) -> Close {
    let reason = match failure {
        AuthFailure::Required => CloseReason::AuthRequired,
        AuthFailure::Rejected => CloseReason::AuthFailed,
        AuthFailure::Unidentified => CloseReason::Unidentified,
        AuthFailure::Unavailable => CloseReason::AuthUnavailable,
        AuthFailure::Throttled => CloseReason::TooManyFailedLogins,
    };
    connection.record(AuditEvent::AuthFailed(AuthFailed { rule: reason.rule() }));
    Close::because(reason)
}
