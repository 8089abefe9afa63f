//! Any request against the rules of the handshake and of origins, which are written here once more,
//! naively.
//!
//! An input is the text of a request: a first line `POLICY METHOD TARGET VERSION`, where the bits of
//! the first character choose the policy, then a header on each line.

#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use libfuzzer_sys::{Corpus, fuzz_target};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tower_websocket::{OriginPolicy, internal};

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((bits, request)) = parse(input) else { return Corpus::Reject };
    let policy = Policy(bits);
    match internal::handshake(&request, &policy.build()) {
        Ok(Some(accept)) => {
            let key = assert_lawful(&request);
            assert_eq!(accept, derive_accept_key(key.as_bytes()));
            policy.assert_allows(&request);
        }
        Ok(None) => {
            let named = |it: &HeaderName| it.as_str().starts_with("sec-websocket-");
            assert!(request.method() != Method::CONNECT && !request.headers().keys().any(named));
            assert!(request.version() == Version::HTTP_10 || !offers_websocket(request.headers()));
        }
        Err(kind) => assert!(kind.status().is_client_error()),
    }
    Corpus::Keep
});

/// What hyper would hand over: lines that are no header do not get that far.
fn parse(input: &[u8]) -> Option<(u8, Request<()>)> {
    let mut lines = input.split(|byte| *byte == b'\n');
    let first = str::from_utf8(lines.next()?).ok()?;
    let [bits, method, target, version] = first.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).ok()?;
    *request.uri_mut() = target.parse::<Uri>().ok()?;
    *request.version_mut() = match version {
        "HTTP/1.0" => Version::HTTP_10,
        "HTTP/1.1" => Version::HTTP_11,
        _ => Version::HTTP_2,
    };
    for line in lines.filter(|it| !it.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        request.headers_mut().append(name, value);
    }
    Some((bits.bytes().next()?.wrapping_sub(b'0'), request))
}

fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    let text = |it: &HeaderValue| String::from_utf8_lossy(it.as_bytes()).into_owned();
    headers.get_all(name).iter().map(text).collect()
}

fn one(headers: &HeaderMap, name: &str) -> String {
    let [value] = values(headers, name).try_into().expect(name);
    value
}

/// Other protocols may be offered beside it, and alone they are no handshake (RFC 9110 §7.8).
fn offers_websocket(headers: &HeaderMap) -> bool {
    let offers = values(headers, "upgrade").join(",").to_lowercase();
    offers.split(',').any(|it| it.trim() == "websocket")
}

/// RFC 6455 §4.2.1, and what this crate demands besides. Returns the key.
fn assert_lawful(request: &Request<()>) -> String {
    let headers = request.headers();
    assert!(request.method() == Method::GET && request.version() == Version::HTTP_11);
    let host = one(headers, "host").to_lowercase();
    assert!(!host.is_empty() && !host.contains(['@', '/', '?', '#', '%', ',', ' ']));
    if let Some(target) = request.uri().authority() {
        assert_eq!(target.as_str().to_lowercase(), host);
    }
    let tokens = values(headers, "connection").join(",").to_lowercase();
    assert!(tokens.split(',').any(|it| it.trim() == "upgrade"));
    assert!(offers_websocket(headers));
    assert!(values(headers, "content-length").iter().all(|it| it == "0"));
    assert!(!headers.contains_key("transfer-encoding") && !headers.contains_key("expect"));
    assert_eq!(one(headers, "sec-websocket-version"), "13");
    for pair in request.uri().query().unwrap_or_default().split(['&', ';']) {
        let name = unescape(pair.split('=').next().unwrap()).to_lowercase();
        let credentials =
            ["token", "access_token", "auth", "jwt", "api_key", "ticket", "secret", "password"];
        assert!(!credentials.contains(&name.as_str()), "{pair}");
    }
    let key = one(headers, "sec-websocket-key");
    assert_sixteen_bytes(&key);
    key
}

/// One pass, from the end, so that what was unescaped is never looked at again.
fn unescape(name: &str) -> String {
    let mut bytes = name.as_bytes().to_vec();
    let mut untouched = 0;
    while let Some(at) = bytes[untouched..].iter().position(|byte| *byte == b'%') {
        let at = untouched + at;
        untouched = at + 1;
        let digits = bytes.get(at + 1..at + 3).and_then(|it| str::from_utf8(it).ok());
        let digits = digits.filter(|it| it.chars().all(|it| it.is_ascii_hexdigit()));
        if let Some(byte) = digits.and_then(|it| u8::from_str_radix(it, 16).ok()) {
            bytes.splice(at..at + 3, [byte]);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn assert_sixteen_bytes(key: &str) {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = key.strip_suffix("==").unwrap();
    let bits: String =
        digits.chars().map(|it| format!("{:06b}", alphabet.find(it).unwrap())).collect();
    assert!(bits.len() == 132 && bits.ends_with("0000"), "{key}");
}

/// One policy for each five bits.
struct Policy(u8);

impl Policy {
    fn https(&self) -> bool {
        self.0 & 1 != 0
    }

    fn origin(&self) -> bool {
        self.0 & 2 != 0
    }

    fn partner(&self) -> bool {
        self.0 & 4 != 0
    }

    fn host(&self) -> bool {
        self.0 & 8 != 0
    }

    fn any(&self) -> bool {
        self.0 & 16 != 0
    }

    fn build(&self) -> OriginPolicy {
        let mut policy = OriginPolicy::new();
        if self.https() {
            policy = policy.require_https();
        }
        if self.origin() {
            policy = policy.require_origin();
        }
        if self.partner() {
            policy = policy.trust(PARTNER).unwrap();
        }
        if self.host() {
            policy = policy.allow_host(HOST).unwrap();
        }
        if self.any() {
            policy = policy.dangerous_allow_any_origin();
        }
        policy
    }

    fn assert_allows(&self, request: &Request<()>) {
        let headers = request.headers();
        let (host, port) = split_port(&one(headers, "host").to_lowercase());
        assert!(!self.host() || host == HOST);
        let origins = values(headers, "origin");
        let origin = match &origins[..] {
            [] => {
                assert!(!self.origin() && (self.any() || !headers.contains_key("cookie")));
                return;
            }
            [origin] => origin.to_lowercase(),
            _ => panic!("several origins"),
        };
        let partner =
            self.partner() && [PARTNER, "https://partner.example:443"].contains(&&*origin);
        if self.any() || partner {
            return;
        }
        let (scheme, rest) = origin.split_once("://").unwrap();
        let default = if scheme == "https" { "443" } else { "80" };
        let (origin_host, origin_port) = split_port(rest);
        assert!(scheme == "https" || scheme == "http" && !self.https());
        assert!(request.uri().scheme_str().is_none_or(|it| it.eq_ignore_ascii_case(scheme)));
        assert_eq!(origin_host, host);
        assert_eq!(origin_port.as_deref().unwrap_or(default), port.as_deref().unwrap_or(default));
        assert!(!self.partner() || host != "partner.example");
    }
}

/// `host[:port]`, also with an IPv6 address.
fn split_port(text: &str) -> (String, Option<String>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host.into(), Some(port.into())),
        _ => (text.into(), None),
    }
}

const PARTNER: &str = "https://partner.example";
const HOST: &str = "app.example";
