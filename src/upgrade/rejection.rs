//! Refuse a handshake: the one place where a rule becomes a status.

use std::{error::Error, fmt, time::Duration};

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
/// | 401 | `WWW-Authenticate: Cookie` | the peer is not logged in |
/// | 405 | `Allow: GET` | any other method, `CONNECT` too |
/// | 426 | `Upgrade: websocket`, `Sec-WebSocket-Version: 13` | another protocol version, or no attempt |
/// | 429, 503 | `Retry-After`, 5 to 30 s at random, or what is left of the time | too many or too fast; full |
///
/// This is an opaque struct so that it can carry more later; match on [`kind`](Self::kind).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpgradeRejection {
    kind: UpgradeRejectionKind,
    /// When it is known.
    retry_after: Option<Duration>,
}

/// Makes the enum, its list and its rows of one table: name, status, text and rule.
macro_rules! rejections {
    ($($(#[$doc:meta])* $name:ident: $status:ident $text:literal, $rule:literal;)*) => {
        /// The rule that refused a handshake.
        #[non_exhaustive]
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum UpgradeRejectionKind {
            $($(#[$doc])* $name,)*
        }

        impl UpgradeRejectionKind {
            /// Every rule, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Status, text, rule.
            fn row(self) -> (StatusCode, &'static str, &'static str) {
                match self {
                    $(Self::$name => (StatusCode::$status, concat!($text, "\n"), $rule),)*
                }
            }
        }
    };
}

rejections! {
    /// A body was declared, or the permission to send one asked for.
    Body: BAD_REQUEST "no body allowed", "handshake.body";
    /// A trusted proxy sends requests and does not say whom it speaks for.
    ClientUnknown: INTERNAL_SERVER_ERROR "client address unknown", "peer.unknown";
    /// No `Connection` line has the token `upgrade`.
    Connection: BAD_REQUEST "connection: upgrade expected", "handshake.connection";
    /// What a trusted proxy has passed on of who the client is, is no address.
    Forwarded: BAD_REQUEST "invalid forwarded address", "peer.forwarded";
    /// `Host` is missing, repeated, not a host, or not the one of the request target.
    Host: BAD_REQUEST "invalid host", "handshake.host";
    /// The host is not one that this server goes by.
    HostNotAllowed: MISDIRECTED_REQUEST "unknown host", "host.not_allowed";
    /// The request is not HTTP/1.1.
    HttpVersion: BAD_REQUEST "http/1.1 expected", "handshake.http_version";
    /// Nothing in front of the endpoint has said who sent it, and there is no other way to log in.
    IdentityMissing: UNAUTHORIZED "not authenticated", "auth.no_identity";
    // One text for all that is wrong with this server: its log has the words.
    /// The endpoint and its layers do not agree whether identities from handshakes count, or any page
    /// could use them.
    IdentitySettings: INTERNAL_SERVER_ERROR "this server is misconfigured", "auth.identity_settings";
    /// What said who sent it means another type of user than the endpoint.
    IdentityType: INTERNAL_SERVER_ERROR "this server is misconfigured", "auth.identity_type";
    /// `Sec-WebSocket-Key` is missing, repeated, or not 16 bytes in canonical base64.
    Key: BAD_REQUEST "invalid sec-websocket-key", "handshake.key";
    /// The process holds so much for its connections that no more are let in.
    MemoryTight: SERVICE_UNAVAILABLE "no room", "admission.memory";
    /// The method is not `GET`.
    Method: METHOD_NOT_ALLOWED "method not allowed", "handshake.method";
    /// The path is not one of the endpoint's; only a leaf service answers this.
    NotFound: NOT_FOUND "not found", "handshake.path";
    /// The server that read the request cannot upgrade, or a layer outside took the upgrade away.
    NotUpgradable: INTERNAL_SERVER_ERROR "this server cannot upgrade", "handshake.not_upgradable";
    /// There is no `Origin`, and one is needed.
    OriginMissing: FORBIDDEN "origin required", "origin.missing";
    // One text for this and the next: it must not tell which origins would do.
    /// The page's origin is neither the request's own host nor trusted by name.
    OriginNotTrusted: FORBIDDEN "origin not allowed", "origin.not_trusted";
    /// There are several `Origin` lines.
    OriginRepeated: FORBIDDEN "origin not allowed", "origin.repeated";
    /// The server does not tell the address of the socket, and a limit or a setting needs it.
    PeerMissing: INTERNAL_SERVER_ERROR "client address unknown", "peer.missing";
    /// It did not come over TLS, or no trusted proxy says so.
    Plaintext: FORBIDDEN "tls required", "handshake.plaintext";
    /// `Sec-WebSocket-Version` is not 13.
    ProtocolVersion: UPGRADE_REQUIRED "websocket version 13 expected", "handshake.version";
    /// `Sec-WebSocket-Version` is missing or repeated.
    ProtocolVersionMissing: BAD_REQUEST "invalid sec-websocket-version", "handshake.version_missing";
    /// The query names a credential.
    QueryCredential: BAD_REQUEST "no credentials in the url", "handshake.query_credential";
    /// More handshakes per second than are allowed.
    TooFast: TOO_MANY_REQUESTS "too many handshakes", "admission.rate";
    /// More failed logins from the peer's address than one address may have.
    TooManyFailedLogins: TOO_MANY_REQUESTS "too many failed logins", "admission.failed_logins";
    /// More handshakes from the peer's address than one address may make.
    TooFastFromPeer: TOO_MANY_REQUESTS "too many handshakes", "admission.peer_rate";
    /// The endpoint is full.
    TooManyConnections: SERVICE_UNAVAILABLE "no room", "admission.connections";
    /// The peer's address has as many connections as one address may have.
    TooManyFromPeer: TOO_MANY_REQUESTS "too many connections", "admission.peer";
    // The same text as when the endpoint is full: a flooder need not know which limit it is.
    /// `Sec-WebSocket-Protocol` is no list of a few tokens, each once; or there is a token in it that is to be
    /// a credential, and nothing else, or two of them.
    Subprotocol: BAD_REQUEST "invalid sec-websocket-protocol", "handshake.subprotocol";
    /// None of the endpoint's subprotocols is offered, and it asks for one.
    SubprotocolMissing: BAD_REQUEST "subprotocol required", "handshake.subprotocol_missing";
    /// Too many connections wait for their credentials.
    TooManyUnauthenticated: SERVICE_UNAVAILABLE "no room", "admission.unauthenticated";
    /// Of those that wait for their credentials, the peer's address has as many as one may have.
    TooManyUnauthenticatedFromPeer: TOO_MANY_REQUESTS
        "too many connections", "admission.peer_unauthenticated";
    /// `Upgrade` is not exactly `websocket`.
    Upgrade: BAD_REQUEST "upgrade: websocket expected", "handshake.upgrade";
    /// Not an attempt at all, on a path where there is nothing else; only a leaf service answers
    /// this.
    UpgradeRequired: UPGRADE_REQUIRED "this is a websocket", "handshake.none";
}

impl UpgradeRejection {
    pub(super) const fn new(kind: UpgradeRejectionKind) -> Self {
        Self { kind, retry_after: None }
    }

    /// A refusal that ends after `wait`.
    pub(super) const fn for_a_while(kind: UpgradeRejectionKind, wait: Duration) -> Self {
        Self { kind, retry_after: Some(wait) }
    }

    /// The rule that refused.
    pub const fn kind(&self) -> UpgradeRejectionKind {
        self.kind
    }

    /// How long the peer has to wait, where that is known: the answer says it, with up to a fifth on top.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
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
            StatusCode::UNAUTHORIZED => {
                // RFC 9110 §15.5.2 wants one. No browser asks a person for it.
                headers.insert(header::WWW_AUTHENTICATE, COOKIE);
            }
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
                headers.insert(header::RETRY_AFTER, self.spread().into());
            }
            _ => {}
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl UpgradeRejection {
    /// Seconds, at random, so that those refused together do not come back together.
    fn spread(&self) -> u64 {
        let Some(wait) = self.retry_after else { return fastrand::u64(RETRY_AFTER) };
        let seconds = wait.as_secs().saturating_add(1);
        fastrand::u64(seconds..=seconds.saturating_add(seconds.div_ceil(5)))
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
}

impl From<UpgradeRejectionKind> for UpgradeRejection {
    fn from(kind: UpgradeRejectionKind) -> Self {
        Self::new(kind)
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
const COOKIE: HeaderValue = HeaderValue::from_static("Cookie");
const GET: HeaderValue = HeaderValue::from_static("GET");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const VERSION_13: HeaderValue = HeaderValue::from_static("13");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_an_error_by_a_rule_of_its_own() {
        let mut rules: Vec<_> = UpgradeRejectionKind::ALL.iter().map(|it| it.rule()).collect();
        rules.sort_unstable();
        rules.dedup();
        assert_eq!(rules.len(), UpgradeRejectionKind::ALL.len());
        for kind in UpgradeRejectionKind::ALL {
            let status = kind.status();
            assert_eq!(UpgradeRejection::new(*kind).retry_after(), None);
            assert!(status.is_client_error() || status.is_server_error(), "{kind:?}");
        }
    }
}
