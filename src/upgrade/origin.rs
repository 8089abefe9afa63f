//! Refuse handshakes that another site's page started.
//!
//! A browser sends cookies with every WebSocket handshake, whichever page opened it, and applies no
//! same-origin rule of its own (cross-site WebSocket hijacking, CWE-1385). [`OriginPolicy`] is that
//! rule, and says it in full.

use std::sync::Arc;

use http::HeaderValue;

use super::{
    authority::Authority,
    cookie,
    invalid_origin::InvalidOrigin,
    parsed_origin::{Origin, default_port},
    rejection::UpgradeRejectionKind,
    request::{OriginHeader, UpgradeRequest},
};

/// Whose pages may open a WebSocket.
///
/// A browser sends cookies with every WebSocket handshake, whichever page opened it, and applies no
/// same-origin rule of its own. This is that rule. The first of these that applies decides:
///
/// 1. Several `Origin` lines: `403`, whatever they say.
/// 2. No `Origin`: allowed if there is no `Cookie` that may be a credential, because only browsers
///    have ambient credentials, and they send `Origin`. Cookies that load balancers set are none
///    (`AWSALB`, `__cf_bm`, `GCLB` and the like), nor are those that were
///    [named](OriginPolicy::ignore_cookie).
///    [`require_origin`](OriginPolicy::require_origin) refuses it always,
///    [`allow_missing_origin`](OriginPolicy::allow_missing_origin) never.
/// 3. An origin that was [trusted](OriginPolicy::trust) by name: allowed.
/// 4. Another origin at the host of a trusted one: `403`. Naming `https://app.example` says which
///    scheme and port that host is served at, so `http://app.example` is not it.
/// 5. An `http` or `https` origin at the host and port of the request's `Host`: allowed, if the
///    scheme is the request's too, where that is known. A missing port is the scheme's own: 443
///    for `https`, 80 for `http`.
/// 6. Everything else, `null` and what no browser sends included: `403`.
///
/// The scheme of a request is known only if its target is an absolute URL or if
/// [`require_https`](OriginPolicy::require_https) says it: behind a proxy that ends TLS, plain HTTP
/// arrives here either way. Scheme and host are compared in ASCII lower case, the rest byte for
/// byte. A refused peer sees `403` with a fixed text.
///
/// What is set here may be written as people write it, and is compared as browsers send it: without
/// a scheme's own port, without a root dot, international names in Punycode, IPv6 addresses in their
/// one canonical form.
///
/// `Sec-Fetch-Site`, `Sec-Fetch-Mode` and `User-Agent` are no proof either way. Browsers leave the
/// first two out where a page was served without TLS, and older ones always; and what is no browser
/// sends what it likes. What tells them apart is whether `Origin` is there: RFC 6455 §4.1 has a
/// browser send it with every handshake.
///
/// # Example
///
/// ```
/// use tower_websocket::OriginPolicy;
///
/// # fn main() -> Result<(), tower_websocket::upgrade::InvalidOrigin> {
/// let policy = OriginPolicy::new()
///     .require_https()
///     .trust("https://partner.example")?;
///
/// // No browser sends this, so it would never match anything.
/// assert!(OriginPolicy::new().trust("https://partner.example/").is_err());
/// # Ok(())
/// # }
/// ```
///
/// # Deployment
///
/// The policy believes `Host`. A proxy in front has to pass on the one the browser sent: if it puts
/// its own there, every page is refused; if it copies `Origin` into it, every page is let in. Call
/// [`require_https`](OriginPolicy::require_https) wherever pages are served over TLS. A server that
/// is reached by address, on a developer's machine or in a home network, should name its
/// [hosts](OriginPolicy::allow_host): otherwise a page whose name was rebound to that address is of
/// the same host as far as anybody can see.
#[must_use]
#[derive(Clone, Debug, Default)]
pub struct OriginPolicy {
    /// Shared by the clones that a router makes of its layer.
    trusted: Arc<Vec<Origin>>,
    /// Empty: any.
    hosts: Arc<Vec<Authority>>,
    require_https: bool,
    require_tls: bool,
    missing: Missing,
    /// Names of cookies that are no credentials, besides those of balancers.
    ignored_cookies: Arc<Vec<Box<str>>>,
    any_origin: bool,
}

/// What becomes of a handshake without `Origin`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Missing {
    /// It passes unless it comes with what may be a credential.
    #[default]
    WithoutCredentials,
    Passes,
    Refused,
}

/// A handshake whose page may open a WebSocket, or that no page can have started.
#[derive(Debug)]
pub(super) struct TrustedRequest {
    /// The value of `Sec-WebSocket-Accept`.
    pub(super) accept: HeaderValue,
}

impl OriginPolicy {
    /// Trusts the pages of the host that the handshake came to.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts `origin` too: `https://app.example`, or `null`.
    ///
    /// The shells in which pages run as applications have schemes of their own, which can be named as
    /// they send them: `capacitor://localhost`, `ionic://localhost`, `tauri://localhost`, `app://.`,
    /// `chrome-extension://` with an id, and `file://`.
    ///
    /// From then on no *other* origin at that host is trusted, unless it is named as well: with
    /// `https://app.example`, neither `http://app.example` nor `https://app.example:444`.
    ///
    /// # Errors
    ///
    /// [`InvalidOrigin::Origin`] if no browser could send `origin`, so that it would never match.
    ///
    /// # Security
    ///
    /// `null` is the origin of every sandboxed frame, and `null` or `file://` that of every local
    /// file, wherever it came from.
    pub fn trust(mut self, origin: &str) -> Result<Self, InvalidOrigin> {
        let error = || InvalidOrigin::Origin(origin.to_owned());
        let parsed = Origin::configured(origin).ok_or_else(error)?;
        Arc::make_mut(&mut self.trusted).push(parsed);
        Ok(self)
    }

    /// Answers handshakes for `host` only, and for others that were allowed before: `421`.
    ///
    /// `app.example` means any port, `app.example:8080` that one; `app.example:443` also where the
    /// request names none, unless it is known to have come without TLS. Without any, every host is
    /// answered, which an attacker can use who makes a name of his own resolve to this server (DNS
    /// rebinding).
    ///
    /// # Errors
    ///
    /// [`InvalidOrigin::Host`] if `host` is not a host, so that it would never match.
    pub fn allow_host(mut self, host: &str) -> Result<Self, InvalidOrigin> {
        let parsed =
            Authority::configured(host).ok_or_else(|| InvalidOrigin::Host(host.to_owned()))?;
        Arc::make_mut(&mut self.hosts).push(parsed);
        Ok(self)
    }

    /// Says that pages of this host are served over TLS: `http://` origins are not of the same host.
    ///
    /// Without it, a page that an attacker on the network served over plain HTTP in this host's name
    /// passes.
    pub const fn require_https(mut self) -> Self {
        self.require_https = true;
        self
    }

    /// Refuses handshakes that did not come over TLS: `403`, never a redirect, which would have sent
    /// everything in the clear already.
    ///
    /// What counts is the client's own way: the socket's TLS where that ends here
    /// ([`PeerTls`](super::PeerTls)), or what the [trusted proxy](super::TrustedProxies) that the client came
    /// to says of it, in `X-Forwarded-Proto` or in `proto=` of `Forwarded`. Where neither says it, it was
    /// not. This is about the connection, [`require_https`](Self::require_https) about the page.
    pub const fn require_tls(mut self) -> Self {
        self.require_tls = true;
        self
    }

    /// Refuses handshakes without an `Origin`, those without cookies too.
    ///
    /// That shuts out everything that is not a browser or does not pretend to be one. It is the
    /// opposite of [`allow_missing_origin`](Self::allow_missing_origin): the last call holds.
    pub const fn require_origin(mut self) -> Self {
        self.missing = Missing::Refused;
        self
    }

    /// Lets handshakes without an `Origin` pass, those with cookies too: for clients that are no
    /// browsers and have a cookie jar.
    ///
    /// Where it is only a load balancer's cookie that such a client brings, naming it with
    /// [`ignore_cookie`](Self::ignore_cookie) is enough.
    ///
    /// # Security
    ///
    /// Browsers send `Origin` with every handshake, so a page gets nowhere by this. What it relies on
    /// is that nothing on the way takes the header off: a proxy that does so lets every page in, with
    /// the cookies of its visitor.
    pub const fn allow_missing_origin(mut self) -> Self {
        self.missing = Missing::Passes;
        self
    }

    /// Says that the cookie `name` is no credential: without an `Origin`, a handshake may come with
    /// it. The names of well-known load balancers' are ignored already.
    ///
    /// It is compared byte for byte, as cookies are.
    ///
    /// # Errors
    ///
    /// [`InvalidOrigin::Cookie`] if no cookie can have this name.
    ///
    /// # Security
    ///
    /// A cookie by which the application knows a user, or lets one in, must never be named here: for
    /// an example `JSESSIONID`, though balancers can be told to go by it.
    pub fn ignore_cookie(mut self, name: &str) -> Result<Self, InvalidOrigin> {
        if !cookie::is_name(name) {
            return Err(InvalidOrigin::Cookie(name.to_owned()));
        }
        Arc::make_mut(&mut self.ignored_cookies).push(name.into());
        Ok(self)
    }

    /// Trusts every origin, `null` too, and a missing one even with cookies.
    ///
    /// Only the number of `Origin` lines and [`require_origin`](Self::require_origin) are still
    /// looked at.
    ///
    /// # Security
    ///
    /// Any page can then open a WebSocket with the cookies of its visitor. That is sound
    /// only if nothing is ever decided by a cookie, a client certificate or the network a browser
    /// sits in: with
    /// [`handshake_identity`](crate::WebSocketEndpoint::handshake_identity) it is an error.
    pub const fn dangerous_allow_any_origin(mut self) -> Self {
        self.any_origin = true;
        self
    }

    pub(super) fn verify(
        &self,
        request: UpgradeRequest,
    ) -> Result<TrustedRequest, UpgradeRejectionKind> {
        if self.require_tls && !request.tls {
            return Err(UpgradeRejectionKind::Plaintext);
        }
        let scheme = request.scheme.as_deref().or(self.require_https.then_some("https"));
        let port = scheme.and_then(default_port);
        let allowed = |it: &Authority| it.covers(&request.authority, port);
        if !self.hosts.is_empty() && !self.hosts.iter().any(allowed) {
            return Err(UpgradeRejectionKind::HostNotAllowed);
        }
        match &request.origin {
            OriginHeader::Repeated => Err(UpgradeRejectionKind::OriginRepeated),
            OriginHeader::Missing if !self.passes_without(&request) => {
                Err(UpgradeRejectionKind::OriginMissing)
            }
            OriginHeader::One(origin) if !self.any_origin && !self.trusts(origin, &request) => {
                Err(UpgradeRejectionKind::OriginNotTrusted)
            }
            OriginHeader::Missing | OriginHeader::One(_) => {
                Ok(TrustedRequest { accept: request.accept })
            }
        }
    }

    /// An origin that is trusted and that any page can have: a sandboxed frame has `null`.
    pub(super) fn any_page(&self) -> Option<&'static str> {
        if self.any_origin {
            return Some("any");
        }
        self.trusted.iter().find_map(|it| match it {
            Origin::Opaque => Some("null"),
            Origin::File => Some("file://"),
            Origin::Tuple { .. } => None,
        })
    }

    fn passes_without(&self, request: &UpgradeRequest) -> bool {
        match self.missing {
            Missing::Refused => false,
            Missing::Passes => true,
            Missing::WithoutCredentials => {
                self.any_origin
                    || !cookie::may_authenticate(&request.cookies, &self.ignored_cookies)
            }
        }
    }

    fn trusts(&self, origin: &HeaderValue, request: &UpgradeRequest) -> bool {
        let Some(origin) = origin.to_str().ok().and_then(Origin::parse) else {
            return false;
        };
        if self.trusted.contains(&origin) {
            return true;
        }
        let Origin::Tuple { scheme, authority } = &origin else {
            return false;
        };
        let named = self.trusted.iter().any(
            |it| matches!(it, Origin::Tuple { authority: at, .. } if at.host == authority.host),
        );
        let scheme_fits = request.scheme.as_ref().is_none_or(|it| it == scheme)
            && (!self.require_https || **scheme == *"https");
        !named
            && scheme_fits
            && authority.host == request.authority.host
            && default_port(scheme).is_some_and(|default| {
                // Where the request names no port, it came to the scheme's own.
                authority.port.unwrap_or(default) == request.authority.port.unwrap_or(default)
            })
    }
}
