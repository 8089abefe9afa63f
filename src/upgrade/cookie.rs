//! Tell cookies that may be credentials from those of load balancers.
//!
//! A balancer sets a cookie to find the node again, and a client with a cookie jar sends it from its
//! second handshake on. Such a cookie says where a client was, not who it is. Everything else may be a
//! credential, and so may what is not written as RFC 6265 §4.2.1 has it: another reader may find other
//! cookies in it.

use http::HeaderValue;

/// Whether anything in `lines`, the `Cookie` lines of a request, may be a credential: all but cookies
/// of balancers and those whose names `ignored` has.
pub(super) fn may_authenticate(lines: &[HeaderValue], ignored: &[Box<str>]) -> bool {
    let harmless = |pair: &[u8]| {
        let name = name(pair.trim_ascii());
        name.is_some_and(|it| is_of_balancer(it) || ignored.iter().any(|name| **name == *it))
    };
    lines.iter().any(|line| !line.as_bytes().split(|it| *it == b';').all(harmless))
}

/// The name in `name=value`, if both are made of what they may be made of.
fn name(pair: &[u8]) -> Option<&str> {
    let at = pair.iter().position(|it| *it == b'=')?;
    let (name, value) = pair.split_at_checked(at)?;
    // Without quotes, commas and backslashes, by which older readers divide a line differently.
    let octet = |it: &u8| it.is_ascii_graphic() && !matches!(it, b'"' | b',' | b';' | b'\\');
    let name = str::from_utf8(name).ok().filter(|it| is_name(it))?;
    value.iter().all(octet).then_some(name)
}

/// Whether a cookie can have this name: it is a token (RFC 9110 §5.6.2).
pub(super) fn is_name(text: &str) -> bool {
    let in_token = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it);
    !text.is_empty() && text.bytes().all(in_token)
}

fn is_of_balancer(name: &str) -> bool {
    BALANCERS.contains(&name) || name.starts_with("BIGipServer")
}

/// Cookies that load balancers set by themselves, and by which no application lets anybody in. No name that
/// applications use for something else: `JSESSIONID`, by which some balancers go too, is a session, and
/// Cloudflare's `cf_clearance` says that its bearer has passed a check.
const BALANCERS: [&str; 21] = [
    // Amazon: application and classic load balancers.
    "AWSALB",
    "AWSALBCORS",
    "AWSALBTG",
    "AWSALBTGCORS",
    "AWSELB",
    "AWSELBCORS",
    // Google
    "GCLB",
    "GCILB",
    // Azure: App Service, Application Gateway.
    "ARRAffinity",
    "ARRAffinitySameSite",
    "ApplicationGatewayAffinity",
    "ApplicationGatewayAffinityCORS",
    // Cloudflare: bots, balancer, rate limits.
    "__cf_bm",
    "__cflb",
    "__cfruid",
    "_cfuvid",
    // Oracle, DigitalOcean, Heroku.
    "X-Oracle-BMC-LBS-Route",
    "DO-LB",
    "heroku-session-affinity",
    // ingress-nginx, and the name in the manuals of HAProxy.
    "INGRESSCOOKIE",
    "SERVERID",
];
