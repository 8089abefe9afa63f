//! Keep the one table of how connections end.

use std::fmt;

use super::{ApplicationClose, Close, CloseCode};

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

/// What still goes out before a close frame.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Outgoing {
    Nothing,
    /// What is queued.
    Queued,
    /// That, and what the call in flight answers.
    Everything,
}

/// What there is to say of a reason.
struct Row {
    code: Option<CloseCode>,
    text: &'static str,
    retry: Retry,
    rule: &'static str,
    outgoing: Outgoing,
}

/// Makes the enum, its list, its rows and its table in the docs of one table: name, code, text, what a
/// client should do, rule, what still goes out, and the name of the constant of [`Close`] if it is an
/// application's to say.
macro_rules! close_reasons {
    ($(
        $(#[$doc:meta])*
        $name:ident: $code:literal $text:literal, $retry:ident, $rule:literal, $outgoing:ident
            $(, Close::$constant:ident)?;
    )*) => {
        /// Why a connection ended.
        ///
        /// Every way a connection can end is a [`CloseReason`]. From it come the close code (RFC 6455
        /// §7.4), the reason text on the wire, the rule id in the audit record, and what a client
        /// should do next. Reason texts are constants: nothing that a peer sent is ever repeated. What
        /// an application may end a connection with is a [`Close`].
        ///
        /// | code | text | a client should | |
        /// |---|---|---|---|
        $(#[doc = concat!(
            "| ", $code, " | `", stringify!($text), "` | [`", stringify!($retry), "`](Retry::",
            stringify!($retry), ") | [`", stringify!($name), "`](Self::", stringify!($name), ") |"
        )])*
        /// | the peer's | `""` | [`Stop`](Retry::Stop) | [`PeerClosed`](Self::PeerClosed) |
        /// | 4000–4999 | its own | as the application says | [`Application`](Self::Application) |
        ///
        /// 1006 is never on the wire: it is what a browser reports for a connection that was lost, or
        /// refused. Nothing here sends 1012, after which clients reconnect at the time in the reason.
        ///
        /// What was accepted for the peer before, as by a [`push`](crate::Connection::push) that
        /// returned `Ok`, goes out before the close frame, unless the peer has forfeited it or cannot
        /// be written to:
        ///
        /// | before the close frame goes out | when |
        /// |---|---|
        /// | the answer to the message that is handled, and what is queued | the application closes with 1000 or 1001; the peer is idle, or has closed |
        /// | what is queued; the handler is dropped at once | the application or a layer closes with anything else, `rate limited` among it; a time for login, session or handler is over |
        /// | nothing | the peer broke a rule of the frames: 1002, 1007, 1009, and 1008 for their number or time; it does not read or answer: `slow consumer`, `no pong`; the server needs the memory: `overloaded` |
        ///
        /// All of it has [`close_timeout`](crate::ConnectionConfig::close_timeout); the rest is dropped
        /// then.
        ///
        /// # Example
        ///
        /// ```
        /// use tower_websocket::{CloseCode, CloseReason, Retry};
        ///
        /// assert_eq!(CloseReason::SlowConsumer.code(), Some(CloseCode::TRY_AGAIN_LATER));
        /// assert_eq!(CloseReason::SlowConsumer.retry(), Retry::Backoff);
        /// ```
        #[non_exhaustive]
        #[derive(Clone, Debug, Eq, PartialEq)]
        pub enum CloseReason {
            $($(#[$doc])* $name,)*
            /// The peer sent a close frame with this code, or with none (1005).
            PeerClosed(Option<u16>),
            /// The application's own reason; made by [`Close::application`].
            Application(ApplicationClose),
        }

        impl CloseReason {
            /// Every reason whose code and text are fixed, in the order of the table: all but the
            /// peer's and the application's own.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            fn row(&self) -> Row {
                match self {
                    $(Self::$name => Row {
                        code: const { CloseCode::of_table($code) },
                        text: $text,
                        retry: Retry::$retry,
                        rule: $rule,
                        outgoing: Outgoing::$outgoing,
                    },)*
                    Self::PeerClosed(code) => Row {
                        code: code.map(CloseCode::in_answer_to),
                        text: "",
                        retry: Retry::Stop,
                        rule: "peer_closed",
                        // RFC 6455 §5.5.1: the answer may wait for what is under way.
                        outgoing: Outgoing::Everything,
                    },
                    Self::Application(close) => Row {
                        code: Some(close.code),
                        text: close.text,
                        retry: close.retry,
                        rule: "application",
                        outgoing: Outgoing::Queued,
                    },
                }
            }
        }

        impl Close {
            /// Those that are an application's to say, in the order of the table.
            #[cfg(any(test, feature = "testing"))]
            pub(crate) const ALL: &[Self] = &[$($(Self::$constant,)?)*];

            $($(
                #[doc = concat!(
                    "[`CloseReason::", stringify!($name), "`]: ", $code, " `", stringify!($text), "`."
                )]
                pub const $constant: Self = Self::because(CloseReason::$name);
            )?)*
        }
    };
}

close_reasons! {
    /// The transport ended without a close frame. Nothing can be sent.
    Lost: 1006 "", Backoff, "lost", Nothing;
    /// The application is done with this connection.
    Normal: 1000 "", Stop, "normal", Everything, Close::NORMAL;
    /// The server goes away.
    GoingAway: 1001 "going away", Backoff, "going_away", Everything, Close::GOING_AWAY;
    /// No message for longer than the idle timeout.
    Idle: 1001 "idle", Stop, "idle", Everything;
    /// The peer broke RFC 6455.
    ProtocolError: 1002 "protocol error", Stop, "protocol", Nothing;
    /// A binary message where only text is spoken.
    BinaryMessage: 1003 "text only", Stop, "message.binary", Queued, Close::BINARY_MESSAGE;
    /// A text message where only binary is spoken.
    TextMessage: 1003 "binary only", Stop, "message.text", Queued, Close::TEXT_MESSAGE;
    /// A text message that is not UTF-8.
    InvalidUtf8: 1007 "invalid utf-8", Stop, "message.utf8", Nothing;
    /// A message that is not what the endpoint's schema says.
    InvalidMessage: 1008 "invalid message", Stop, "message.schema", Queued, Close::INVALID_MESSAGE;
    /// A message for a room that the peer has not joined.
    NotAMember: 1008 "not a member", Stop, "room.denied", Queued;
    /// More messages than the quota.
    RateLimited: 1008 "rate limited", Backoff, "message.rate", Queued, Close::RATE_LIMITED;
    /// More frames than one message may have.
    TooManyFragments: 1008 "too many fragments", Stop, "frame.fragments", Nothing;
    /// More control frames than the budget.
    TooManyControlFrames: 1008 "too many control frames", Stop, "frame.control", Nothing;
    /// A message, or a control frame, that took too long from its first byte to its last.
    MessageTooSlow: 1008 "message too slow", Stop, "message.time", Nothing;
    /// A message over the size limit.
    MessageTooLarge: 1009 "message too large", Stop, "message.size", Nothing;
    /// The handler failed, panicked or was dropped before it was done.
    HandlerFailed: 1011 "internal error", Backoff, "handler.failed", Queued, Close::HANDLER_FAILED;
    /// The handler took too long.
    HandlerTimeout: 1011 "internal error", Backoff, "handler.timeout", Queued;
    /// The verifier could not decide: it failed, or panicked.
    AuthUnavailable: 1011 "internal error", Backoff, "auth.error", Queued;
    /// No pong in time: the peer is dead.
    DeadPeer: 1011 "no pong", Backoff, "heartbeat", Nothing;
    /// The peer reads more slowly than it is written to.
    SlowConsumer: 1013 "slow consumer", Backoff, "slow_consumer", Nothing;
    /// The socket took no byte for the whole write timeout.
    WriteTimeout: 1013 "slow consumer", Backoff, "write.timeout", Nothing;
    /// The server cannot take the message now.
    Overloaded: 1013 "overloaded", Backoff, "overloaded", Nothing, Close::OVERLOADED;
    /// The user has as many connections as one may have.
    TooManyOfUser: 1013 "too many connections", Backoff, "auth.max_per_user", Queued;
    /// So many logins from this address, or to this account, failed that these were not looked at.
    TooManyFailedLogins: 1013 "too many failed logins", Backoff, "auth.throttled", Queued;
    /// No valid credentials within the authentication deadline.
    AuthTimeout: 4401 "authentication timeout", FreshTicket, "auth.timeout", Queued;
    /// The session is over.
    SessionExpired: 4401 "session expired", FreshTicket, "auth.expired", Queued,
        Close::SESSION_EXPIRED;
    /// What the peer came in by is void.
    Revoked: 4401 "revoked", FreshTicket, "auth.revoked", Queued, Close::REVOKED;
    /// The handshake did not say who the peer is, and there is no other way to log in.
    Unidentified: 4401 "not authenticated", FreshTicket, "auth.no_identity", Queued;
    // One text for every refusal: it must not tell which part of the credentials was wrong.
    /// The first message was not credentials.
    AuthRequired: 4403 "authentication failed", Stop, "auth.required", Queued;
    /// The credentials were refused.
    AuthFailed: 4403 "authentication failed", Stop, "auth.failed", Queued;
    /// The peer may not do this.
    Forbidden: 4403 "forbidden", Stop, "forbidden", Queued, Close::FORBIDDEN;
    /// The user has opened another connection, and may have no more.
    Replaced: 4409 "replaced", Stop, "auth.replaced", Queued;
}

impl CloseReason {
    /// The code that goes on the wire; `None` if the transport is gone ([`CloseReason::Lost`]) or
    /// the peer closed without one. A peer that closed with a code is answered with the same, or with
    /// 1002 if that code must not be sent.
    pub fn code(&self) -> Option<CloseCode> {
        self.row().code
    }

    /// The reason text that goes on the wire: a constant, at most 123 bytes.
    pub fn text(&self) -> &'static str {
        self.row().text
    }

    /// What a client should do.
    pub fn retry(&self) -> Retry {
        self.row().retry
    }

    /// The rule that ended the connection, as audit records name it.
    pub fn rule(&self) -> &'static str {
        self.row().rule
    }

    /// What still goes out before the close frame, if the driver finds this.
    pub(crate) fn outgoing(&self) -> Outgoing {
        self.row().outgoing
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code() {
            Some(code) => write!(f, "{} ({})", self.rule(), u16::from(code)),
            None => f.write_str(self.rule()),
        }
    }
}

#[cfg(test)]
#[path = "tests/reason.rs"]
mod tests;
