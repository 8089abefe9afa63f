//! Parse the opening handshake of RFC 6455 §4.2.1, once and strictly.
//!
//! hyper offers an upgrade for any `Upgrade` header and any `CONNECT`, whatever the rest of the
//! request looks like; the rules are ours. A request is an upgrade attempt if its `Upgrade` lists
//! `websocket`, if it has any `Sec-WebSocket-*` header, or if its method is `CONNECT`. An offer of
//! another protocol is none (`h2c`, which curl and Java's client make with ordinary requests), nor is
//! one that HTTP/1.0 carries: RFC 9110 §7.8 has a server ignore both, and answer the request.
//!
//! An attempt passes when all of these hold, checked in this order:
//!
//! 1. The method is `GET`, otherwise `405`.
//! 2. The version is HTTP/1.1.
//! 3. There is one `Host`, it is a host with an optional port, and an absolute request target names
//!    the same.
//! 4. The tokens of all `Connection` lines include `upgrade`.
//! 5. Those of all `Upgrade` lines include `websocket`. What else is offered is not taken; a token
//!    is compared whole, so that `websocket/13` and `websocketx` are other protocols.
//! 6. No body is declared: `Content-Length` is absent or 0; there is no `Transfer-Encoding` and no
//!    `Expect`. RFC 6455 does not ask for this. But the bytes of a body would be read as frames, or
//!    the frames as a body by a proxy, and no client of WebSockets sends one.
//! 7. There is one `Sec-WebSocket-Version`, otherwise `400`, and it is `13`, otherwise `426`.
//! 8. There is one `Sec-WebSocket-Key`, the canonical base64 of 16 bytes. RFC 6455 §11.3 allows no
//!    second line of either.
//! 9. The query names no credential. Queries end up in the logs of every proxy on the way.
//!
//! Where no status is named it is `400`. Extensions are offered in vain: none is ever negotiated.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{authority::Authority, credential, rejection::UpgradeRejectionKind};

/// A handshake that keeps to RFC 6455 §4.2.1. Where it comes from has not been looked at yet.
#[derive(Debug)]
pub(super) struct UpgradeRequest {
    /// The value of `Sec-WebSocket-Accept` that answers its key.
    pub(super) accept: HeaderValue,
    /// The host and port that the peer meant to reach.
    pub(super) authority: Authority,
    /// `http` or `https`, in lower case, where the request says it.
    pub(super) scheme: Option<Box<str>>,
    /// It came over TLS, as far as the request itself says.
    pub(super) tls: bool,
    /// What its `Origin` lines say.
    pub(super) origin: OriginHeader,
    /// Its `Cookie` lines, in which a browser's ambient credentials may be.
    pub(super) cookies: Vec<HeaderValue>,
}

/// The `Origin` lines of a request.
#[derive(Debug)]
pub(super) enum OriginHeader {
    Missing,
    One(HeaderValue),
    /// Two readers may pick different ones, so neither counts.
    Repeated,
}

impl UpgradeRequest {
    /// Reads `request`; `None` if it does not try to upgrade.
    pub(super) fn parse<B>(request: &Request<B>) -> Result<Option<Self>, UpgradeRejectionKind> {
        let headers = request.headers();
        if !is_attempt(request) {
            return Ok(None);
        }
        if request.method() != Method::GET {
            return Err(UpgradeRejectionKind::Method);
        }
        if request.version() != Version::HTTP_11 {
            return Err(UpgradeRejectionKind::HttpVersion);
        }
        let authority = authority(request).ok_or(UpgradeRejectionKind::Host)?;
        if !has_token(headers, &header::CONNECTION, b"upgrade") {
            return Err(UpgradeRejectionKind::Connection);
        }
        if !has_token(headers, &header::UPGRADE, b"websocket") {
            return Err(UpgradeRejectionKind::Upgrade);
        }
        if declares_body(headers) {
            return Err(UpgradeRejectionKind::Body);
        }
        let version = only(headers, &header::SEC_WEBSOCKET_VERSION)
            .ok_or(UpgradeRejectionKind::ProtocolVersionMissing)?;
        if version.as_bytes() != b"13" {
            return Err(UpgradeRejectionKind::ProtocolVersion);
        }
        let accept = only(headers, &header::SEC_WEBSOCKET_KEY)
            .and_then(|it| accept_key(it.as_bytes()))
            .ok_or(UpgradeRejectionKind::Key)?;
        if request.uri().query().is_some_and(credential::is_named_in) {
            return Err(UpgradeRejectionKind::QueryCredential);
        }
        let scheme = request.uri().scheme_str().map(str::to_ascii_lowercase);
        Ok(Some(Self {
            accept,
            authority,
            tls: scheme.as_deref() == Some("https"),
            scheme: scheme.map(Into::into),
            origin: OriginHeader::read(headers),
            cookies: headers.get_all(header::COOKIE).iter().cloned().collect(),
        }))
    }
}

impl OriginHeader {
    fn read(headers: &HeaderMap) -> Self {
        match only(headers, &header::ORIGIN) {
            Some(value) => Self::One(value.clone()),
            None if headers.contains_key(header::ORIGIN) => Self::Repeated,
            None => Self::Missing,
        }
    }
}

/// Whether `request` tries to open a WebSocket, rightly or not.
pub(super) fn is_attempt<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    *request.method() == Method::CONNECT
        || headers.keys().any(|it| it.as_str().starts_with("sec-websocket-"))
        || (request.version() > Version::HTTP_10
            && has_token(headers, &header::UPGRADE, b"websocket"))
}

/// RFC 9112 §3.2: one `Host`, and an absolute request target outranks it. We demand that both say
/// the same, because whatever routed the request here may have read the other one.
fn authority<B>(request: &Request<B>) -> Option<Authority> {
    let host = only(request.headers(), &header::HOST)?;
    let host = Authority::parse(host.to_str().ok()?)?;
    match request.uri().authority() {
        Some(target) => (Authority::parse(target.as_str())? == host).then_some(host),
        None => Some(host),
    }
}

/// The value of a header that must not be repeated.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// Whether `token` is in the list that all lines of `name` make together (RFC 9110 §5.3).
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &[u8]) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|it| it.as_bytes().split(|byte| *byte == b','))
        .any(|it| it.trim_ascii().eq_ignore_ascii_case(token))
}

fn declares_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.contains_key(header::EXPECT)
        || headers.get_all(header::CONTENT_LENGTH).iter().any(|it| it.as_bytes() != b"0")
}

/// Answers `key`, if it is the canonical base64 of 16 bytes (RFC 4648 §3.5).
fn accept_key(key: &[u8]) -> Option<HeaderValue> {
    let (last, digits) = key.strip_suffix(b"==")?.split_last()?;
    let is_digit = |it: &u8| it.is_ascii_alphanumeric() || matches!(it, b'+' | b'/');
    // 22 digits are 132 bits: the last four must be zero, or several keys stand for the same bytes.
    let canonical = digits.len() == 21
        && digits.iter().all(is_digit)
        && matches!(last, b'A' | b'Q' | b'g' | b'w');
    if !canonical {
        return None;
    }
    HeaderValue::try_from(derive_accept_key(key)).ok()
}
