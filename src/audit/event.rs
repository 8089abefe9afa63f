//! Name what can happen, each kind with what there is to say of it.

use std::{sync::Arc, time::Duration};

/// One thing that happened. To whom and when stands in the [`AuditRecord`](super::AuditRecord).
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum AuditEvent {
    /// A handshake was refused; there is no connection.
    UpgradeRefused(UpgradeRefused),
    /// A connection is open; nothing is known of its peer yet.
    Connected(Connected),
    /// The peer was authenticated.
    Authenticated(Authenticated),
    /// The peer's credentials were refused, or could not be verified.
    AuthFailed(AuthFailed),
    /// The peer entered a room.
    Joined(Joined),
    /// The peer left a room: it asked to, was removed, or its connection ended.
    Left(Left),
    /// A message was published to a room.
    Published(Published),
    /// A layer refused something.
    Refused(Refused),
    /// The connection is over.
    Closed(Closed),
}

/// A handshake was refused.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct UpgradeRefused {
    /// The rule that refused it.
    pub rule: &'static str,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The origins that were compared, if the rule is about them: escaped, on one line, and cut at 128
    /// bytes, because the peer chose them.
    pub origin: Option<Box<str>>,
    /// The hosts, if the rule is about them or the origins; likewise.
    pub host: Option<Box<str>>,
    /// How many refusals by this rule were not recorded since its last record: there are at most
    /// 100 records for an endpoint and rule each second.
    pub suppressed: u64,
}

/// A connection is open.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Connected {}

/// The peer was authenticated: the record says as whom.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Authenticated {}

/// Credentials were not accepted.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct AuthFailed {
    /// Why: `auth.required`, `auth.failed` or `auth.error`.
    pub rule: &'static str,
}

/// The peer entered a room.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Joined {
    /// The room's key.
    pub room: Arc<str>,
}

/// The peer left a room.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Left {
    /// The room's key.
    pub room: Arc<str>,
}

/// A message was published to a room, by the record's connection or by the application.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Published {
    /// The room's key.
    pub room: Arc<str>,
    /// Payload bytes of the encoded message.
    pub bytes: usize,
    /// Members whose queue took it.
    pub members: usize,
}

/// A decision against a peer: who decided, by which rule, on what numbers.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Refused {
    /// The layer that decided.
    pub layer: &'static str,
    /// The rule it decided by.
    pub rule: &'static str,
    /// What was seen, where the rule is about a number.
    pub observed: Option<u64>,
    /// What is allowed, where the rule is about a number.
    pub limit: Option<u64>,
    /// How often the same rule refused this connection since its last record: there is at most one
    /// record for a connection and rule each second.
    pub suppressed: u64,
}

/// How a connection ended, and what it did until then.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Closed {
    /// The rule that ended it.
    pub rule: &'static str,
    /// The close code meant for the peer.
    pub intended_code: Option<u16>,
    /// Whether the close frame went out to the socket.
    pub flushed: bool,
    /// The close code the peer sent, legal or not.
    pub received_code: Option<u16>,
    /// From the accepted handshake to the last byte.
    pub duration: Duration,
    /// Bytes read from the socket.
    pub bytes_in: u64,
    /// Bytes the socket took.
    pub bytes_out: u64,
    /// Data messages handed to the stack.
    pub messages_in: u64,
    /// Data messages written.
    pub messages_out: u64,
    /// The most bytes ever held for the peer.
    pub queued_peak: usize,
    /// The longest time the socket took nothing although there was something to write.
    pub longest_stall: Duration,
    /// The last round trip of a ping and its pong.
    pub rtt: Option<Duration>,
    /// How long the last message took its handler.
    pub last_handler_time: Option<Duration>,
}

impl AuditEvent {
    /// What the log calls it: `handshake.rejected`, `connected`, `authenticated`, `auth.failed`,
    /// `joined`, `left`, `published`, `refused` or `closed`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::UpgradeRefused(_) => "handshake.rejected",
            Self::Connected(_) => "connected",
            Self::Authenticated(_) => "authenticated",
            Self::AuthFailed(_) => "auth.failed",
            Self::Joined(_) => "joined",
            Self::Left(_) => "left",
            Self::Published(_) => "published",
            Self::Refused(_) => "refused",
            Self::Closed(_) => "closed",
        }
    }
}
