use http::Request;

use super::{handshake, handshake_with};
use crate::upgrade::{
    OriginPolicy,
    UpgradeRejectionKind::{self, *},
    request::UpgradeRequest,
};

pub(super) fn verify(
    policy: &OriginPolicy,
    request: &Request<()>,
) -> Result<(), UpgradeRejectionKind> {
    let request = UpgradeRequest::parse(request).unwrap().unwrap();
    policy.verify(request).map(|_| ())
}

fn listing() -> OriginPolicy {
    OriginPolicy::new().trust("https://app.example").unwrap()
}

/// A handshake to `host` from a page of `origin`.
pub(super) fn from_to(origin: &'static str, host: &'static str) -> Request<()> {
    let mut request = handshake_with("Origin", &[origin]);
    request.headers_mut().insert("host", host.parse().unwrap());
    request
}

// covers: HS-04
#[test]
fn another_sites_page_is_refused_whatever_its_cookies() {
    let mut request = handshake_with("Origin", &["https://evil.example"]);
    request.headers_mut().insert("cookie", "session=1".parse().unwrap());
    for policy in [OriginPolicy::new(), listing(), OriginPolicy::new().require_https()] {
        assert_eq!(verify(&policy, &request), Err(OriginNotTrusted));
    }
    assert_eq!(OriginNotTrusted.status(), 403);
}

// covers: HS-05
#[test]
fn an_origin_is_compared_as_a_whole() {
    let refused = [
        "https://app.example.evil.com",
        "https://evil-app.example",
        "https://app.example:444",
        "http://app.example",
        "https://app.example.",
        "https://app.example@evil.com",
        "https://evil.com@app.example",
        "null",
        "",
        "https://app.example/",
        "https://app.example?",
        "https://app.example:",
        "https:app.example",
        "https://app.example, https://app.example",
        "https://app.example https://app.example",
        "wss://app.example",
        "//app.example",
        "app.example",
        "*",
    ];
    for origin in refused {
        let request = handshake_with("Origin", &[origin]);
        assert_eq!(verify(&listing(), &request), Err(OriginNotTrusted), "{origin}");
    }
    for origin in ["https://app.example", "https://APP.EXAMPLE", "HTTPS://app.example"] {
        assert_eq!(verify(&listing(), &handshake_with("Origin", &[origin])), Ok(()), "{origin}");
    }
}

// covers: HS-05
#[test]
fn several_origin_lines_are_refused_in_any_order() {
    let (good, bad) = ("https://app.example", "https://evil.example");
    for policy in [OriginPolicy::new(), listing(), OriginPolicy::new().dangerous_allow_any_origin()]
    {
        for lines in [[good, bad], [bad, good], [good, good]] {
            let request = handshake_with("Origin", &lines);
            assert_eq!(verify(&policy, &request), Err(OriginRepeated), "{lines:?}");
        }
    }
    assert_eq!(OriginRepeated.status(), 403);
}

// covers: HS-05
#[test]
fn without_a_list_the_origin_is_of_the_requests_own_host_and_port() {
    let cases = [
        ("https://app.example", "app.example", true),
        // Behind a proxy that ends TLS nobody knows: `require_https` is for that.
        ("http://app.example", "app.example", true),
        ("https://app.example:443", "app.example", true),
        ("https://app.example", "app.example:443", true),
        ("http://app.example", "app.example:80", true),
        ("http://localhost:3000", "localhost:3000", true),
        ("http://[::1]:3000", "[::1]:3000", true),
        ("https://APP.example", "app.EXAMPLE", true),
        ("https://app.example", "app.example:80", false),
        ("http://app.example", "app.example:443", false),
        ("https://app.example:80", "app.example", false),
        ("https://app.example:444", "app.example", false),
        ("https://app.example", "app.example:444", false),
        ("http://localhost:3001", "localhost:3000", false),
        ("https://www.app.example", "app.example", false),
        ("https://app.example", "www.app.example", false),
        ("https://app.example.", "app.example", false),
        ("null", "null", false),
        // Schemes that have no port of their own are not of any host.
        ("chrome-extension://app.example", "app.example", false),
        ("wss://app.example", "app.example", false),
    ];
    for (origin, host, passes) in cases {
        let verdict = verify(&OriginPolicy::new(), &from_to(origin, host));
        assert_eq!(verdict.is_ok(), passes, "{origin} at {host}");
    }
}

#[test]
fn the_scheme_counts_where_it_is_known() {
    let policy = OriginPolicy::new().require_https();
    assert_eq!(verify(&policy, &from_to("https://app.example", "app.example")), Ok(()));
    let plain = from_to("http://app.example", "app.example");
    assert_eq!(verify(&policy, &plain), Err(OriginNotTrusted));

    let mut absolute = plain;
    *absolute.uri_mut() = "https://app.example/ws".parse().unwrap();
    assert_eq!(verify(&OriginPolicy::new(), &absolute), Err(OriginNotTrusted));
    *absolute.uri_mut() = "http://app.example/ws".parse().unwrap();
    assert_eq!(verify(&OriginPolicy::new(), &absolute), Ok(()));
}

#[test]
fn a_list_adds_other_hosts_and_settles_its_own() {
    let policy = listing().trust("https://partner.example:8443").unwrap();
    let cases = [
        ("https://partner.example:8443", "app.example", true),
        ("https://partner.example", "app.example", false),
        // The host itself was not named, so the same-host rule is still there for it.
        ("http://localhost:3000", "localhost:3000", true),
        // It was, with another scheme and another port.
        ("http://app.example", "app.example", false),
        ("https://partner.example", "partner.example", false),
    ];
    for (origin, host, passes) in cases {
        assert_eq!(verify(&policy, &from_to(origin, host)).is_ok(), passes, "{origin} at {host}");
    }
}

#[test]
fn an_opaque_origin_passes_only_by_name() {
    let request = handshake_with("Origin", &["null"]);
    assert_eq!(verify(&OriginPolicy::new(), &request), Err(OriginNotTrusted));
    assert_eq!(verify(&OriginPolicy::new().trust("null").unwrap(), &request), Ok(()));
    let apps = OriginPolicy::new().trust("capacitor://localhost").unwrap();
    assert_eq!(verify(&apps, &handshake_with("Origin", &["capacitor://localhost"])), Ok(()));
}

// covers: HS-06
#[test]
fn a_missing_origin_passes_only_without_cookies() {
    let bare = handshake_with("Origin", &[]);
    let mut with_cookie = handshake_with("Origin", &[]);
    with_cookie.headers_mut().insert("cookie", "session=1".parse().unwrap());
    for policy in [OriginPolicy::new(), listing()] {
        assert_eq!(verify(&policy, &bare), Ok(()));
        assert_eq!(verify(&policy, &with_cookie), Err(OriginMissing));
        assert_eq!(verify(&policy.require_origin(), &bare), Err(OriginMissing));
    }
    assert_eq!(OriginMissing.status(), 403);
}

/// What `policy` says to a handshake without an origin that comes with these `Cookie` lines.
fn without_origin(policy: &OriginPolicy, cookies: &[&str]) -> Result<(), UpgradeRejectionKind> {
    let mut request = handshake_with("Origin", &[]);
    for line in cookies {
        request.headers_mut().append("cookie", line.parse().unwrap());
    }
    verify(policy, &request)
}

// covers: P2-23
#[test]
fn the_cookies_of_a_load_balancer_are_no_credentials() {
    let policy = OriginPolicy::new();
    let passes: [&[&str]; 7] = [
        &["AWSALB=kq3R0h9c/+=="],
        &["__cf_bm=0aZ.1-a_b"],
        &["GCLB=x"],
        &["AWSALB=a; AWSALBCORS=a;AWSALBTG=b"],
        &["AWSALB=a", "INGRESSCOOKIE=1700000000.1.2.3|abc"],
        &["BIGipServerpool_web=1677787402.36895.0000"],
        &["ARRAffinity="],
    ];
    for cookies in passes {
        assert_eq!(without_origin(&policy, cookies), Ok(()), "{cookies:?}");
    }
    let refused: [&[&str]; 14] = [
        &["session=1"],
        &["AWSALB=a; session=1"],
        &["AWSALB=a", "session=1"],
        &["JSESSIONID=1"],
        &["cf_clearance=1"],
        // Another name than that of the balancer's.
        &["awsalb=1"],
        &["AWSALB2=1"],
        &["XAWSALB=1"],
        // Another reader may find another cookie here.
        &["AWSALB=a, session=1"],
        &["AWSALB=\"a; session=1\""],
        &["AWSALB=a session=1"],
        &["AWSALB"],
        &["AWSALB=a;"],
        &[""],
    ];
    for cookies in refused {
        assert_eq!(without_origin(&policy, cookies), Err(OriginMissing), "{cookies:?}");
    }
    // Where there is an origin, it decides.
    let mut request = handshake_with("Origin", &["https://evil.example"]);
    request.headers_mut().insert("cookie", "AWSALB=a".parse().unwrap());
    assert_eq!(verify(&policy, &request), Err(OriginNotTrusted));
}

// covers: P2-23
#[test]
fn a_cookie_that_was_named_is_no_credential_and_its_neighbour_still_is() {
    let policy = OriginPolicy::new().ignore_cookie("route").unwrap().ignore_cookie("lb").unwrap();
    assert_eq!(without_origin(&policy, &["route=a; lb=b; GCLB=c"]), Ok(()));
    assert_eq!(without_origin(&policy, &["route=a; Route=b"]), Err(OriginMissing));
    assert_eq!(without_origin(&policy, &["route=a; sid=b"]), Err(OriginMissing));
}

// covers: P2-23
#[test]
fn who_lets_clients_with_a_cookie_jar_in_says_so_and_pages_get_nowhere() {
    let policy = OriginPolicy::new().allow_missing_origin();
    assert_eq!(without_origin(&policy, &["session=1", "odd"]), Ok(()));
    let mut request = handshake_with("Origin", &["https://evil.example"]);
    request.headers_mut().insert("cookie", "session=1".parse().unwrap());
    assert_eq!(verify(&policy, &request), Err(OriginNotTrusted));
    // The last word holds.
    assert_eq!(without_origin(&policy.clone().require_origin(), &[]), Err(OriginMissing));
    let policy = policy.require_origin().allow_missing_origin();
    assert_eq!(without_origin(&policy, &["session=1"]), Ok(()));
}

// covers: P2-23
#[test]
fn what_a_client_says_of_itself_is_no_proof_that_it_is_no_browser() {
    for (name, value) in [
        ("user-agent", "curl/8.0"),
        ("sec-fetch-site", "none"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-site", "same-origin"),
    ] {
        let mut request = handshake_with("Origin", &[]);
        request.headers_mut().insert("cookie", "session=1".parse().unwrap());
        request.headers_mut().insert(name, value.parse().unwrap());
        assert_eq!(verify(&OriginPolicy::new(), &request), Err(OriginMissing), "{name}: {value}");
    }
}

#[test]
fn the_switch_for_any_origin_lets_everything_in() {
    let policy = OriginPolicy::new().dangerous_allow_any_origin();
    for origin in ["https://evil.example", "null", "", "\t"] {
        assert_eq!(verify(&policy, &handshake_with("Origin", &[origin])), Ok(()), "{origin}");
    }
    let mut with_cookie = handshake_with("Origin", &[]);
    with_cookie.headers_mut().insert("cookie", "session=1".parse().unwrap());
    assert_eq!(verify(&policy, &with_cookie), Ok(()));
    assert_eq!(verify(&policy.require_origin(), &with_cookie), Err(OriginMissing));
}

// covers: HS-16
#[test]
fn a_server_that_names_its_hosts_answers_no_other() {
    let policy = OriginPolicy::new()
        .allow_host("app.example")
        .unwrap()
        .allow_host("localhost:3000")
        .unwrap();
    let cases = [
        ("https://app.example", "app.example", true),
        ("https://app.example:8443", "APP.example:8443", true),
        ("http://localhost:3000", "localhost:3000", true),
        ("http://localhost:3001", "localhost:3001", false),
        ("http://evil.example", "evil.example", false),
        ("http://evil.example:3000", "evil.example:3000", false),
    ];
    for (origin, host, passes) in cases {
        let expected = if passes { Ok(()) } else { Err(HostNotAllowed) };
        assert_eq!(verify(&policy, &from_to(origin, host)), expected, "{origin} at {host}");
    }
    assert_eq!(HostNotAllowed.status(), 421);
}

#[test]
fn the_default_policy_passes_the_default_handshake() {
    assert_eq!(verify(&OriginPolicy::default(), &handshake()), Ok(()));
}
