//! Parse the opening handshake of RFC 6455 §4.2.1, once and strictly.
//!
//! hyper offers an upgrade for any `Upgrade` header and any `CONNECT`, whatever the rest of the
//! request looks like; the rules are ours. A request is an upgrade attempt if it has an `Upgrade`
//! header or any `Sec-WebSocket-*` header, or if its method is `CONNECT`. An attempt passes when all
//! of these hold, checked in this order:
//!
//! 1. The method is `GET`, otherwise `405`.
//! 2. The version is HTTP/1.1.
//! 3. There is one `Host`, it is a host with an optional port, and an absolute request target names
//!    the same.
//! 4. The tokens of all `Connection` lines include `upgrade`.
//! 5. There is one `Upgrade` line and it is exactly `websocket`: no list, no version.
//! 6. No body is declared: `Content-Length` is absent or 0; there is no `Transfer-Encoding` and no
//!    `Expect`. The bytes of a body would be read as frames, or the frames as a body by a proxy.
//! 7. There is one `Sec-WebSocket-Version`, otherwise `400`, and it is `13`, otherwise `426`.
//! 8. There is one `Sec-WebSocket-Key`, the canonical base64 of 16 bytes.
//! 9. The query names no credential. Queries end up in the logs of every proxy on the way.
//!
//! Where no status is named it is `400`. Extensions are offered in vain: none is ever negotiated.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{authority::Authority, rejection::UpgradeRejectionKind};

/// A handshake that keeps to RFC 6455 §4.2.1. Nobody has yet looked at where it comes from.
#[derive(Debug)]
pub(super) struct UpgradeRequest {
    /// The value of `Sec-WebSocket-Accept` that answers its key.
    pub(super) accept: HeaderValue,
    /// The host and port that the peer meant to reach.
    pub(super) authority: Authority,
    /// `http` or `https`, in lower case, where the request says it.
    pub(super) scheme: Option<Box<str>>,
    /// What its `Origin` lines say.
    pub(super) origin: OriginHeader,
    /// Whether a browser's ambient credentials may be with it.
    pub(super) has_cookie: bool,
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
        if !is_attempt(request.method(), headers) {
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
        if !only(headers, &header::UPGRADE)
            .is_some_and(|it| it.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket"))
        {
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
        if request.uri().query().is_some_and(names_credential) {
            return Err(UpgradeRejectionKind::QueryCredential);
        }
        Ok(Some(Self {
            accept,
            authority,
            scheme: request.uri().scheme_str().map(|it| it.to_ascii_lowercase().into()),
            origin: OriginHeader::read(headers),
            has_cookie: headers.contains_key(header::COOKIE),
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

fn is_attempt(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::CONNECT
        || headers.contains_key(header::UPGRADE)
        || headers.keys().any(|it| it.as_str().starts_with("sec-websocket-"))
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

fn names_credential(query: &str) -> bool {
    // `;` separates pairs for some parsers.
    query.split(['&', ';']).any(|pair| {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        let name = percent_decode(name.as_bytes());
        CREDENTIALS.iter().any(|it| name.eq_ignore_ascii_case(it.as_bytes()))
    })
}

/// Decodes once, as a server would; what is not an escape stays as it is.
fn percent_decode(mut text: &[u8]) -> Vec<u8> {
    let hex = |it: u8| char::from(it).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let mut decoded = Vec::with_capacity(text.len());
    while let Some((&byte, rest)) = text.split_first() {
        text = rest;
        let escaped = match rest {
            [high, low, rest @ ..] if byte == b'%' => {
                hex(*high).zip(hex(*low)).map(|(high, low)| (high << 4 | low, rest))
            }
            _ => None,
        };
        match escaped {
            Some((byte, rest)) => {
                decoded.push(byte);
                text = rest;
            }
            None => decoded.push(byte),
        }
    }
    decoded
}

/// Names under which applications put credentials into a URL.
const CREDENTIALS: [&str; 8] =
    ["token", "access_token", "auth", "jwt", "api_key", "ticket", "secret", "password"];
