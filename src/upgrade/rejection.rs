//! Refuse a handshake: the one place where a rule becomes a status.

use std::{error::Error, fmt};

use http::{HeaderValue, Response, StatusCode, Version, header};

/// Why a handshake was refused.
///
/// A refusal is a finished response, never an error. All have the same shape: a fixed text,
/// `Connection: close` and `Cache-Control: no-store`; nothing of them comes from the peer. The
/// [`UpgradeRejection`] is in the response's extensions, for outer layers that log or count.
///
/// | status | further headers | when |
/// |---|---|---|
/// | 400, 403, 404, 421, 500 | | the request, its origin, its path, its host, this server is wrong |
/// | 405 | `Allow: GET` | any other method, `CONNECT` too |
/// | 426 | `Upgrade: websocket`, `Sec-WebSocket-Version: 13` | another protocol version, or no attempt |
/// | 429, 503 | `Retry-After`, 5 to 30 s at random | too many or too fast; full |
///
/// This is an opaque struct so that it can carry more later; match on [`kind`](Self::kind).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpgradeRejection {
    kind: UpgradeRejectionKind,
}

/// The rule that refused a handshake.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum UpgradeRejectionKind {
    /// A body was declared, or the permission to send one asked for.
    Body,
    /// No `Connection` line has the token `upgrade`.
    Connection,
    /// `Host` is missing, repeated, not a host, or not the one of the request target.
    Host,
    /// The host is not one that this server goes by.
    HostNotAllowed,
    /// The request is not HTTP/1.1.
    HttpVersion,
    /// `Sec-WebSocket-Key` is missing, repeated, or not 16 bytes in canonical base64.
    Key,
    /// The process holds so much for its connections that no more are let in.
    MemoryTight,
    /// The method is not `GET`.
    Method,
    /// The path is not one of the endpoint's; only a leaf service answers this.
    NotFound,
    /// The server that read the request cannot upgrade, or a layer outside took the upgrade away.
    NotUpgradable,
    /// There is no `Origin`, and one is needed.
    OriginMissing,
    /// The page's origin is neither the request's own host nor trusted by name.
    OriginNotTrusted,
    /// There are several `Origin` lines.
    OriginRepeated,
    /// `Sec-WebSocket-Version` is not 13.
    ProtocolVersion,
    /// `Sec-WebSocket-Version` is missing or repeated.
    ProtocolVersionMissing,
    /// The query names a credential.
    QueryCredential,
    /// More handshakes per second than are allowed.
    TooFast,
    /// More handshakes from the peer's address than one address may make.
    TooFastFromPeer,
    /// The endpoint is full.
    TooManyConnections,
    /// The peer's address has as many connections as one address may have.
    TooManyFromPeer,
    /// Too many connections wait for their credentials.
    TooManyUnauthenticated,
    /// Of those that wait for their credentials, the peer's address has as many as one may have.
    TooManyUnauthenticatedFromPeer,
    /// `Upgrade` is not exactly `websocket`.
    Upgrade,
    /// Not an attempt at all, on a path where there is nothing else; only a leaf service answers
    /// this.
    UpgradeRequired,
}

impl UpgradeRejection {
    pub(super) const fn new(kind: UpgradeRejectionKind) -> Self {
        Self { kind }
    }

    /// The rule that refused.
    pub const fn kind(&self) -> UpgradeRejectionKind {
        self.kind
    }

    /// The answer to a request of HTTP version `version`.
    pub(super) fn into_response<T: From<&'static str>>(self, version: Version) -> Response<T> {
        let (status, text, _) = self.kind.row();
        let mut response = Response::new(text.into());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, TEXT);
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        // HTTP/2 has no connection headers; there, the stream ends with the response.
        if version < Version::HTTP_2 {
            headers.insert(header::CONNECTION, CLOSE);
        }
        match status {
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(header::ALLOW, GET);
            }
            StatusCode::UPGRADE_REQUIRED => {
                headers.insert(header::SEC_WEBSOCKET_VERSION, VERSION_13);
                if version < Version::HTTP_2 {
                    // RFC 9110 §7.8: who sends `Upgrade` lists it in `Connection`.
                    headers.insert(header::CONNECTION, CLOSE_UPGRADE);
                    headers.insert(header::UPGRADE, WEBSOCKET);
                }
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, fastrand::u64(RETRY_AFTER).into());
            }
            _ => {}
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl UpgradeRejectionKind {
    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        self.row().0
    }

    /// The rule's name in audit records.
    pub fn rule(self) -> &'static str {
        self.row().2
    }

    /// The table: status, text, rule.
    fn row(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as Status;
        match self {
            Self::Body => (Status::BAD_REQUEST, "no body allowed\n", "handshake.body"),
            Self::Connection => {
                (Status::BAD_REQUEST, "connection: upgrade expected\n", "handshake.connection")
            }
            Self::Host => (Status::BAD_REQUEST, "invalid host\n", "handshake.host"),
            Self::HostNotAllowed => {
                (Status::MISDIRECTED_REQUEST, "unknown host\n", "host.not_allowed")
            }
            Self::HttpVersion => {
                (Status::BAD_REQUEST, "http/1.1 expected\n", "handshake.http_version")
            }
            Self::Key => (Status::BAD_REQUEST, "invalid sec-websocket-key\n", "handshake.key"),
            Self::MemoryTight => (Status::SERVICE_UNAVAILABLE, "no room\n", "admission.memory"),
            Self::Method => {
                (Status::METHOD_NOT_ALLOWED, "method not allowed\n", "handshake.method")
            }
            Self::NotFound => (Status::NOT_FOUND, "not found\n", "handshake.path"),
            Self::NotUpgradable => (
                Status::INTERNAL_SERVER_ERROR,
                "this server cannot upgrade\n",
                "handshake.not_upgradable",
            ),
            Self::OriginMissing => (Status::FORBIDDEN, "origin required\n", "origin.missing"),
            // One text for both: it must not tell which origins would do.
            Self::OriginNotTrusted => {
                (Status::FORBIDDEN, "origin not allowed\n", "origin.not_trusted")
            }
            Self::OriginRepeated => (Status::FORBIDDEN, "origin not allowed\n", "origin.repeated"),
            Self::ProtocolVersion => {
                (Status::UPGRADE_REQUIRED, "websocket version 13 expected\n", "handshake.version")
            }
            Self::ProtocolVersionMissing => (
                Status::BAD_REQUEST,
                "invalid sec-websocket-version\n",
                "handshake.version_missing",
            ),
            Self::QueryCredential => {
                (Status::BAD_REQUEST, "no credentials in the url\n", "handshake.query_credential")
            }
            Self::TooFast => (Status::TOO_MANY_REQUESTS, "too many handshakes\n", "admission.rate"),
            Self::TooFastFromPeer => {
                (Status::TOO_MANY_REQUESTS, "too many handshakes\n", "admission.peer_rate")
            }
            Self::TooManyConnections => {
                (Status::SERVICE_UNAVAILABLE, "no room\n", "admission.connections")
            }
            Self::TooManyFromPeer => {
                (Status::TOO_MANY_REQUESTS, "too many connections\n", "admission.peer")
            }
            // The same text as when the endpoint is full: a flooder need not know which limit it is.
            Self::TooManyUnauthenticated => {
                (Status::SERVICE_UNAVAILABLE, "no room\n", "admission.unauthenticated")
            }
            Self::TooManyUnauthenticatedFromPeer => (
                Status::TOO_MANY_REQUESTS,
                "too many connections\n",
                "admission.peer_unauthenticated",
            ),
            Self::Upgrade => {
                (Status::BAD_REQUEST, "upgrade: websocket expected\n", "handshake.upgrade")
            }
            Self::UpgradeRequired => {
                (Status::UPGRADE_REQUIRED, "this is a websocket\n", "handshake.none")
            }
        }
    }
}

impl fmt::Display for UpgradeRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (status, text, rule) = self.kind.row();
        write!(f, "{} ({rule}, {})", text.trim_end(), status.as_u16())
    }
}

impl Error for UpgradeRejection {}

/// Seconds. A house of 10,000 that was refused at once comes back at some 400 per second, less than
/// [`Admission`](super::Admission) takes by default.
const RETRY_AFTER: std::ops::RangeInclusive<u64> = 5..=30;

const CLOSE: HeaderValue = HeaderValue::from_static("close");
const CLOSE_UPGRADE: HeaderValue = HeaderValue::from_static("close, upgrade");
const GET: HeaderValue = HeaderValue::from_static("GET");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const VERSION_13: HeaderValue = HeaderValue::from_static("13");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
