//! Name what can happen, each kind with what there is to say of it.

use std::{fmt, sync::Arc, time::Duration};

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
    /// The peer left a room: it asked to, was removed, or its connection ended, and it was its only one.
    Left(Left),
    /// The peer left all rooms that it was in, because its connection ended.
    LeftAll(LeftAll),
    /// A message was published to a room.
    Published(Published),
    /// A member that could not keep up with a room goes on with the newest.
    Skipped(Skipped),
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
    /// How many refusals by this rule were not recorded since its last record. All rules of an endpoint
    /// together have 20 records a second and 400 at once, of which one address has an eighth of the
    /// rate and a quarter of the burst (an IPv6 /48 four times as much); a rule of which there was no
    /// record for ten seconds has one in any case.
    pub suppressed: u64,
}

/// A handshake was accepted. Its connection has a record of its end, too, also if it never opened.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct Connected {
    /// Other protocols in `Upgrade`, of which none was taken.
    pub upgrades: Offered,
    /// Subprotocols that were not taken.
    pub subprotocols: Offered,
    /// Extensions, of which none was taken.
    pub extensions: Offered,
}

/// What a handshake offered.
///
/// People put tokens into subprotocols: only names that are well known are told.
#[non_exhaustive]
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Offered {
    /// Well-known names, each once.
    pub names: Vec<&'static str>,
    /// How many others there were.
    pub others: usize,
}

impl Offered {
    /// Nothing was offered.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.others == 0
    }
}

/// `graphql-ws, mqtt and 2 others`.
impl fmt::Display for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names.join(", "))?;
        match (self.names.is_empty(), self.others) {
            (_, 0) => Ok(()),
            (true, others) => write!(f, "{others} others"),
            (false, others) => write!(f, " and {others} others"),
        }
    }
}

/// The peer was authenticated: the record says as whom.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Authenticated {}

/// Credentials were not accepted.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct AuthFailed {
    /// Why: `auth.required`, `auth.failed`, `auth.no_identity` or `auth.error`; `auth.throttled` if
    /// they were not looked at; `auth.max_per_user` if the user is here too often; or the rule of the close
    /// by which the user or session was thrown out while the login was under way.
    pub rule: &'static str,
}

/// The peer entered a room.
///
/// A membership is recorded whole or not at all: where there is no record that it began, there is none
/// that it ended. One connection begins twice as many as it may have at once
/// ([`max_rooms_per_connection`](crate::RoomsLayer::max_rooms_per_connection)), and after that one a
/// second; what is over that is counted in [`suppressed`](Self::suppressed) and in
/// [`Closed::suppressed`]. So who was in which room stands in the records of everybody who goes to no
/// more rooms than a person can read, and a user that goes through them by the hundred is seen to do so.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Joined {
    /// The room's key.
    pub room: Arc<str>,
    /// How many memberships of this connection, in whatever rooms, have begun since its last record of
    /// one and have none.
    pub suppressed: u64,
}

/// The peer left a room, of which there is a record that it joined.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Left {
    /// The room's key.
    pub room: Arc<str>,
}

/// The peer left all rooms that it was in, several of them, because its connection ended.
///
/// They are those that it joined and did not leave, by the records before this one; of many only a few
/// are named. Those that the application has put it into ([`RoomAdmin::join`](crate::room::RoomAdmin::join))
/// have a record of their own.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct LeftAll {
    /// How many there were.
    pub count: usize,
    /// The keys of the first eight of them, sorted.
    pub rooms: Vec<Arc<str>>,
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

/// A member could not keep up with a room, and does not hear a part of what it said; it was told so.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Skipped {
    /// The room's key.
    pub room: Arc<str>,
    /// Bytes that it does not hear; zero in a keyed room, of which it gets what there is anew.
    pub bytes: u64,
    /// How often this connection went on with the newest of any room since its last record of it. There is
    /// one a second at most, among all [refusals](Refused) of the connection.
    pub suppressed: u64,
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
    /// What was wrong, where the rule is about what a message says: `missing`, `wrong_type` and the
    /// other names of [`Fault`](crate::layers::Fault).
    pub fault: Option<&'static str>,
    /// The field it was about, by the names of the endpoint's own type; at most 128 bytes.
    pub field: Option<Arc<str>>,
    /// What the field had to be, in the words of the endpoint's own type.
    pub constraint: Option<&'static str>,
    /// How often the same rule refused this connection since its last record. There is one a second for
    /// a rule at most, and for all rules of a connection together after the first ten; a rule of which
    /// there was no record for ten seconds has one in any case. What no record has told when the
    /// connection ends is in [`Closed::suppressed`].
    pub suppressed: u64,
}

/// How a connection ended, and what it did until then.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Closed {
    /// The rule that ended it; `aborted` if its task was dropped in the middle, as with the runtime. One
    /// that never opened has `upgrade.lost` if its peer was gone before the 101 reached it,
    /// `upgrade.timeout` if the peer did not take it in time, and `upgrade.unsupported` if the server cannot
    /// upgrade.
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
    /// Refusals, memberships and skips of this connection that are in no record, nor counted by one.
    pub suppressed: u64,
}

impl Refused {
    /// `layer` decided by `rule`, and there is no more to say.
    pub(crate) fn by(layer: &'static str, rule: &'static str) -> Self {
        Self {
            layer,
            rule,
            observed: None,
            limit: None,
            fault: None,
            field: None,
            constraint: None,
            suppressed: 0,
        }
    }
}

impl AuditEvent {
    /// How many of its kind a record tells of: itself, and those that were suppressed before it.
    pub(crate) fn stands_for(&self) -> u64 {
        let others = match self {
            Self::UpgradeRefused(refused) => refused.suppressed,
            Self::Joined(joined) => joined.suppressed,
            Self::Refused(refused) => refused.suppressed,
            Self::Skipped(skipped) => skipped.suppressed,
            _ => 0,
        };
        others.saturating_add(1)
    }

    /// What the log calls it: `handshake.rejected`, `connected`, `authenticated`, `auth.failed`,
    /// `joined`, `left`, `left.all`, `published`, `skipped`, `refused` or `closed`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::UpgradeRefused(_) => "handshake.rejected",
            Self::Connected(_) => "connected",
            Self::Authenticated(_) => "authenticated",
            Self::AuthFailed(_) => "auth.failed",
            Self::Joined(_) => "joined",
            Self::Left(_) => "left",
            Self::LeftAll(_) => "left.all",
            Self::Published(_) => "published",
            Self::Skipped(_) => "skipped",
            Self::Refused(_) => "refused",
            Self::Closed(_) => "closed",
        }
    }
}
