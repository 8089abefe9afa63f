//! Choose the code and the words a connection ends with: the only place that does.

use std::{error::Error, fmt};

/// Why a connection ended, or must end.
///
/// Every way a connection can end is a [`CloseReason`]. From it come the close code (RFC 6455
/// §7.4), the reason text on the wire, the rule id in the audit record, and what a client should do
/// next. Reason texts are constants: nothing that a peer sent is ever repeated.
///
/// | code | when | a client should |
/// |---|---|---|
/// | 1000 / 1001 | the peer is done / the server goes away | stop / backoff, but stop if `idle` |
/// | 1002, 1003, 1007, 1009 | protocol error, binary, bad UTF-8, too large | stop: it is a bug |
/// | 1005, 1006, never opened | lost, refused | full-jitter backoff |
/// | 1008 | invalid message, not a member, rate, rooms, fragments | stop; back off if `rate limited` |
/// | 1011 / 1013 | the handler failed / slow consumer, overload | backoff |
/// | 1012 | the server restarts; nothing here sends it, and clients know it | reconnect after the time in the reason |
/// | 4401 | not authenticated in time, expired, revoked | fresh ticket once, then stop |
/// | 4403 | authentication or authorization failed | stop |
/// | 4000–4999 others | the application's own | as the application says |
///
/// What was accepted for the peer before, as by a [`push`](crate::Connection::push) that returned
/// `Ok`, goes out before the close frame, unless the peer has forfeited it or cannot be written to:
///
/// | before the close frame goes out | when |
/// |---|---|
/// | the answer to the message that is handled, and what is queued | the application closes with 1000 or 1001; the peer is idle, or has closed |
/// | what is queued; the handler is dropped at once | the application or a layer closes with anything else, `rate limited` among it; a time for login, session or handler is over |
/// | nothing | the peer broke a rule of the frames: 1002, 1007, 1009, and 1008 for their number or time; it does not read or answer: `slow consumer`, `no pong`; the server needs the memory: `overloaded` |
///
/// All of it has [`close_timeout`](crate::ConnectionConfig::close_timeout); the rest is dropped then.
///
/// # Example
///
/// ```
/// use tower_websocket::{CloseCode, CloseReason, Retry};
///
/// assert_eq!(CloseReason::SlowConsumer.code(), Some(CloseCode::TRY_AGAIN_LATER));
/// assert_eq!(CloseReason::SlowConsumer.retry(), Retry::Backoff);
///
/// let kicked = CloseReason::application(4100, "kicked by a moderator", Retry::Stop)?;
/// assert_eq!(kicked.code().map(u16::from), Some(4100));
/// # Ok::<(), tower_websocket::InvalidClose>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CloseReason {
    /// The peer sent a close frame with this code, or with none (1005).
    PeerClosed(Option<u16>),
    /// The transport ended without a close frame. Nothing can be sent; 1006 is never on the wire.
    Lost,
    /// The application is done with this connection.
    Normal,
    /// The server goes away.
    GoingAway,
    /// The peer broke RFC 6455.
    ProtocolError,
    /// A binary message where only text is spoken.
    BinaryMessage,
    /// A text message that is not UTF-8.
    InvalidUtf8,
    /// A message over the size limit.
    MessageTooLarge,
    /// A message that is not what the endpoint's schema says.
    InvalidMessage,
    /// A message for a room that the peer has not joined.
    NotAMember,
    /// More messages than the quota.
    RateLimited,
    /// More frames than one message may have.
    TooManyFragments,
    /// More control frames than the budget.
    TooManyControlFrames,
    /// A message, or a control frame, that took too long from its first byte to its last.
    MessageTooSlow,
    /// The handler failed, panicked or was dropped before it was done.
    HandlerFailed,
    /// The handler took too long.
    HandlerTimeout,
    /// No pong in time: the peer is dead.
    DeadPeer,
    /// No message for longer than the idle timeout.
    Idle,
    /// The peer reads more slowly than it is written to.
    SlowConsumer,
    /// The socket took no byte for the whole write timeout.
    WriteTimeout,
    /// The server cannot take the message now.
    Overloaded,
    /// No valid credentials within the authentication deadline.
    AuthTimeout,
    /// The session is over.
    SessionExpired,
    /// The first message was not credentials.
    AuthRequired,
    /// The credentials were refused.
    AuthFailed,
    /// The verifier could not decide: it failed, or panicked.
    AuthUnavailable,
    /// The peer may not do this.
    Forbidden,
    /// The application's own reason; made by [`CloseReason::application`].
    Application(ApplicationClose),
}

/// What still goes out before a close frame.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Outgoing {
    Nothing,
    /// What is queued.
    Queued,
    /// That, and what the call in flight answers.
    Everything,
}

/// The application's own close code, reason and retry word.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApplicationClose {
    code: CloseCode,
    text: &'static str,
    retry: Retry,
}

/// What a client should do after a connection ended.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Retry {
    /// Reconnect with full-jitter exponential backoff.
    Backoff,
    /// Get fresh credentials and reconnect once.
    FreshTicket,
    /// Do not reconnect.
    Stop,
}

/// A close code that may stand in a close frame (RFC 6455 §7.4).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CloseCode(u16);

/// Why a [`CloseReason`] could not be made.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum InvalidClose {
    /// Applications have 4000 to 4999; 4401 and 4403 are this crate's.
    Code(u16),
    /// A close frame has room for 123 bytes of reason.
    ReasonTooLong(usize),
}

impl CloseReason {
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
        if code < 4000 || code > 4999 || code == 4401 || code == 4403 {
            return Err(InvalidClose::Code(code));
        }
        if text.len() > MAX_REASON {
            return Err(InvalidClose::ReasonTooLong(text.len()));
        }
        Ok(Self::Application(ApplicationClose { code: CloseCode(code), text, retry }))
    }

    /// The code that goes on the wire; `None` if there is nobody to tell ([`CloseReason::Lost`]) or
    /// the peer closed without one. A peer that closed with a code is answered with the same, or with
    /// 1002 if nobody may send that.
    pub fn code(&self) -> Option<CloseCode> {
        match self {
            Self::PeerClosed(code) => code.map(CloseCode::in_answer_to),
            Self::Application(close) => Some(close.code),
            fixed => fixed.row().0,
        }
    }

    /// The reason text that goes on the wire: a constant, at most 123 bytes.
    pub fn text(&self) -> &'static str {
        match self {
            Self::Application(close) => close.text,
            fixed => fixed.row().1,
        }
    }

    /// What a client should do.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Application(close) => close.retry,
            fixed => fixed.row().2,
        }
    }

    /// The rule that ended the connection, as audit records name it.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Application(_) => "application",
            fixed => fixed.row().3,
        }
    }

    /// What still goes out before the close frame, if the driver finds this. The answer to the peer's
    /// own may wait for what is under way (RFC 6455 §5.5.1).
    pub(crate) fn outgoing(&self) -> Outgoing {
        match self {
            Self::PeerClosed(_) | Self::Normal | Self::GoingAway | Self::Idle => {
                Outgoing::Everything
            }
            Self::Lost
            | Self::ProtocolError
            | Self::InvalidUtf8
            | Self::MessageTooLarge
            | Self::TooManyFragments
            | Self::TooManyControlFrames
            | Self::MessageTooSlow
            | Self::DeadPeer
            | Self::SlowConsumer
            | Self::WriteTimeout
            | Self::Overloaded => Outgoing::Nothing,
            _ => Outgoing::Queued,
        }
    }

    /// What the application or a layer asks for: it cannot know what only the driver finds out.
    pub(crate) fn asked_for(self) -> Self {
        match self {
            Self::PeerClosed(_) | Self::Lost => Self::Normal,
            reason => reason,
        }
    }

    /// The table: code, text, what a client should do, rule id.
    fn row(&self) -> (Option<CloseCode>, &'static str, Retry, &'static str) {
        use CloseCode as Code;
        use Retry::{Backoff, FreshTicket, Stop};
        let (code, text, retry, rule) = match self {
            Self::Lost => return (None, "", Backoff, "lost"),
            Self::PeerClosed(_) => return (None, "", Stop, "peer_closed"),
            Self::Application(_) => return (None, "", Stop, "application"),
            Self::Normal => (Code::NORMAL, "", Stop, "normal"),
            Self::GoingAway => (Code::GOING_AWAY, "going away", Backoff, "going_away"),
            Self::Idle => (Code::GOING_AWAY, "idle", Stop, "idle"),
            Self::ProtocolError => (Code::PROTOCOL_ERROR, "protocol error", Stop, "protocol"),
            Self::BinaryMessage => (Code::UNSUPPORTED, "text only", Stop, "message.binary"),
            Self::InvalidUtf8 => (Code::INVALID_PAYLOAD, "invalid utf-8", Stop, "message.utf8"),
            Self::MessageTooLarge => {
                (Code::MESSAGE_TOO_LARGE, "message too large", Stop, "message.size")
            }
            Self::InvalidMessage => (Code::POLICY, "invalid message", Stop, "message.schema"),
            Self::NotAMember => (Code::POLICY, "not a member", Stop, "room.denied"),
            Self::RateLimited => (Code::POLICY, "rate limited", Backoff, "message.rate"),
            Self::TooManyFragments => (Code::POLICY, "too many fragments", Stop, "frame.fragments"),
            Self::TooManyControlFrames => {
                (Code::POLICY, "too many control frames", Stop, "frame.control")
            }
            Self::MessageTooSlow => (Code::POLICY, "message too slow", Stop, "message.time"),
            Self::HandlerFailed => {
                (Code::INTERNAL_ERROR, "internal error", Backoff, "handler.failed")
            }
            Self::HandlerTimeout => {
                (Code::INTERNAL_ERROR, "internal error", Backoff, "handler.timeout")
            }
            Self::AuthUnavailable => {
                (Code::INTERNAL_ERROR, "internal error", Backoff, "auth.error")
            }
            Self::DeadPeer => (Code::INTERNAL_ERROR, "no pong", Backoff, "heartbeat"),
            Self::SlowConsumer => {
                (Code::TRY_AGAIN_LATER, "slow consumer", Backoff, "slow_consumer")
            }
            Self::WriteTimeout => {
                (Code::TRY_AGAIN_LATER, "slow consumer", Backoff, "write.timeout")
            }
            Self::Overloaded => (Code::TRY_AGAIN_LATER, "overloaded", Backoff, "overloaded"),
            Self::AuthTimeout => {
                (Code::UNAUTHENTICATED, "authentication timeout", FreshTicket, "auth.timeout")
            }
            Self::SessionExpired => {
                (Code::UNAUTHENTICATED, "session expired", FreshTicket, "auth.expired")
            }
            // One text for every refusal: it must not tell which part of the credentials was wrong.
            Self::AuthRequired => (Code::FORBIDDEN, "authentication failed", Stop, "auth.required"),
            Self::AuthFailed => (Code::FORBIDDEN, "authentication failed", Stop, "auth.failed"),
            Self::Forbidden => (Code::FORBIDDEN, "forbidden", Stop, "forbidden"),
        };
        (Some(code), text, retry, rule)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code() {
            Some(code) => write!(f, "{} ({})", self.rule(), code.0),
            None => f.write_str(self.rule()),
        }
    }
}

impl Error for CloseReason {}

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the endpoint goes away.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: protocol error.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that is not accepted.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1007: a text message that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a message against the endpoint's policy.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message too large to process.
    pub const MESSAGE_TOO_LARGE: Self = Self(1009);
    /// 1011: the server failed.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the server restarts (IANA registry). There is no [`CloseReason`] with it.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: try again later (IANA registry).
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 4401: not authenticated in time, expired or revoked.
    pub const UNAUTHENTICATED: Self = Self(4401);
    /// 4403: authentication or authorization failed.
    pub const FORBIDDEN: Self = Self(4403);

    /// What is answered to `code`: the same, if an endpoint may send it (RFC 6455 §7.4). 1014, which is
    /// in the IANA registry only, is a gateway's to send.
    fn in_answer_to(code: u16) -> Self {
        match code {
            1000..=1003 | 1007..=1013 | 3000..=4999 => Self(code),
            _ => Self::PROTOCOL_ERROR,
        }
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Display for InvalidClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "close code {code} is not an application's to send"),
            Self::ReasonTooLong(len) => write!(f, "close reason of {len} bytes, at most 123 fit"),
        }
    }
}

impl Error for InvalidClose {}

/// Every reason whose code and text are fixed, in the order of the enum.
pub const FIXED_CLOSE_REASONS: &[CloseReason] = &[
    CloseReason::Lost,
    CloseReason::Normal,
    CloseReason::GoingAway,
    CloseReason::ProtocolError,
    CloseReason::BinaryMessage,
    CloseReason::InvalidUtf8,
    CloseReason::MessageTooLarge,
    CloseReason::InvalidMessage,
    CloseReason::NotAMember,
    CloseReason::RateLimited,
    CloseReason::TooManyFragments,
    CloseReason::TooManyControlFrames,
    CloseReason::MessageTooSlow,
    CloseReason::HandlerFailed,
    CloseReason::HandlerTimeout,
    CloseReason::DeadPeer,
    CloseReason::Idle,
    CloseReason::SlowConsumer,
    CloseReason::WriteTimeout,
    CloseReason::Overloaded,
    CloseReason::AuthTimeout,
    CloseReason::SessionExpired,
    CloseReason::AuthRequired,
    CloseReason::AuthFailed,
    CloseReason::AuthUnavailable,
    CloseReason::Forbidden,
];

/// A control frame carries 125 bytes, two of them the code (RFC 6455 §5.5).
const MAX_REASON: usize = 123;

#[cfg(test)]
#[path = "tests/close.rs"]
mod tests;
