//! Keep a server whose token everybody knows to this machine.
//!
//! It listens on the loopback interface only. But a proxy on the same machine that the operator did not name
//! brings it to everybody, and a page of any site can give its own name the loopback address and ask from within
//! a browser here. Both tell themselves, mostly: by a header that proxies add, and by another host than this
//! machine. Those requests are refused, and the operator is told once.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    extract::{Request, State},
    http::{Method, StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// What this machine goes by.
#[derive(Clone)]
pub(crate) struct Local {
    /// The name that the operator has given it; `None`: whoever asks may.
    name: Option<Arc<str>>,
    /// There is a list of hosts, which the endpoint looks at.
    any_host: bool,
    told: Arc<AtomicBool>,
}

impl Local {
    /// Only for this machine, which goes by `name`, too.
    pub(crate) fn only(name: &str, any_host: bool) -> Self {
        Self { name: Some(name.trim().into()), any_host, told: Arc::default() }
    }

    pub(crate) fn everybody() -> Self {
        Self { name: None, any_host: true, told: Arc::default() }
    }

    /// What shows that `request` is not from this machine.
    fn sign(&self, request: &Request) -> Option<&'static str> {
        // Nothing here answers CONNECT, whose host is another's by its nature: that is said further in.
        let name = self.name.as_ref().filter(|_| request.method() != Method::CONNECT)?;
        let headers = request.headers();
        if let Some(header) = PROXIES.into_iter().find(|it| headers.contains_key(*it)) {
            return Some(header);
        }
        let host = headers.get(header::HOST).and_then(|it| it.to_str().ok());
        let host: Option<Authority> = host.and_then(|it| it.parse().ok());
        // What is no host is refused further in.
        let host = host.as_ref().map(Authority::host)?;
        (!self.any_host && !is_of_this_machine(host) && !host.eq_ignore_ascii_case(name))
            .then_some("host")
    }
}

fn is_of_this_machine(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
    let name = host.to_ascii_lowercase();
    address.parse::<IpAddr>().is_ok_and(|it| it.to_canonical().is_loopback())
        || name == "localhost"
        || name.ends_with(".localhost")
}

/// Answers 403 to what is not from this machine, where that is due.
pub(crate) async fn refuse_others(
    State(local): State<Local>,
    request: Request,
    next: Next,
) -> Response {
    let Some(header) = local.sign(&request) else { return next.run(request).await };
    if !local.told.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            header,
            "a request came from elsewhere, by a proxy or under another name, and the token is the one that \
             everybody knows: such requests are answered 403 until DEV_TOKEN is set, and TRUSTED_PROXY if there \
             is a proxy"
        );
    }
    (StatusCode::FORBIDDEN, "this server is for its own machine only: no DEV_TOKEN is set\n")
        .into_response()
}

/// What proxies add, as far as they add anything.
const PROXIES: [&str; 5] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn other_hosts_and_headers_of_proxies_are_signs_of_elsewhere() {
        let only = Local::only(" my-machine ", false);
        let asked = |headers: &[(&str, &str)]| {
            let request = axum::http::Request::builder();
            let request =
                headers.iter().fold(request, |it, (name, value)| it.header(*name, *value));
            request.body(Body::empty()).unwrap()
        };
        for host in [
            "localhost:8080",
            "127.0.0.1",
            "127.1.2.3:1",
            "[::1]:8080",
            "App.LOCALHOST",
            "My-Machine:80",
        ] {
            assert_eq!(only.sign(&asked(&[("host", host)])), None, "{host}");
        }
        assert_eq!(only.sign(&asked(&[])), None);
        let mut connect = asked(&[("host", "evil.example:443")]);
        *connect.method_mut() = Method::CONNECT;
        assert_eq!(only.sign(&connect), None);
        for host in [
            "evil.example",
            "10.0.0.1:8080",
            "localhost.evil.example",
            "[2001:db8::1]",
            "my-machine.lan",
        ] {
            let request = asked(&[("host", host)]);
            assert_eq!(only.sign(&request), Some("host"), "{host}");
            assert_eq!(Local::everybody().sign(&request), None);
            assert_eq!(Local::only("a", true).sign(&request), None);
        }
        for header in PROXIES {
            let request = asked(&[("host", "localhost"), (header, "198.51.100.1")]);
            assert_eq!(only.sign(&request), Some(header));
            assert_eq!(Local::everybody().sign(&request), None);
        }
    }
}
