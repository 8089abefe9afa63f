//! Name the codes that may stand in a close frame.

/// A close code that may stand in a close frame (RFC 6455 §7.4).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CloseCode(u16);

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
    /// 1012: the server restarts (IANA registry). There is no [`CloseReason`](super::CloseReason) with it.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: try again later (IANA registry).
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 4401: not authenticated in time, expired or revoked.
    pub const UNAUTHENTICATED: Self = Self(4401);
    /// 4403: authentication or authorization failed.
    pub const FORBIDDEN: Self = Self(4403);
    /// 4409: replaced by a newer connection of the same user.
    pub const REPLACED: Self = Self(4409);

    /// A code of the table's; none for 1006, which says that there was no close frame.
    pub(super) const fn of_table(code: u16) -> Option<Self> {
        if code == 1006 { None } else { Some(Self(code)) }
    }

    /// A code of the application's own.
    pub(super) const fn of_application(code: u16) -> Option<Self> {
        let own = code >= 4000 && code <= 4999;
        let ours = matches!(Self(code), Self::UNAUTHENTICATED | Self::FORBIDDEN | Self::REPLACED);
        if own && !ours { Some(Self(code)) } else { None }
    }

    /// What is answered to `code`: the same, if an endpoint may send it (RFC 6455 §7.4). 1014, which is
    /// in the IANA registry only, is a gateway's to send.
    pub(super) fn in_answer_to(code: u16) -> Self {
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
