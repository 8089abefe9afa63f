use super::{
    handshake, handshake_with,
    origin::{from_to, verify},
};
use crate::upgrade::{InvalidOrigin, OriginPolicy, UpgradeRejectionKind::*};

// covers: P2-24
#[test]
fn a_setting_that_could_never_match_is_an_error() {
    for origin in [
        "",
        "*",
        "NULL",
        "app.example",
        "https://app.example/",
        "https://a b",
        "https://*.example",
        // The address of an endpoint.
        "wss://app.example",
        "ws://app.example",
        "https://",
        "https://.",
        "https://a..example",
        "https://.example",
        "https://app.example,https://b.example",
        " https://app.example",
        "https://127.1",
        "https://0x7f.0.0.1",
        "https://2130706433",
        "https://1.2.3.256",
        "https://[::1",
        "https://user@app.example",
        "https://xn--a.example",
        "file:///home/ada/page.html",
    ] {
        let error = OriginPolicy::new().trust(origin).unwrap_err();
        assert_eq!(error, InvalidOrigin::Origin(origin.to_owned()), "{origin}");
        assert!(error.to_string().contains("scheme://host"), "{error}");
    }
    let label = "a".repeat(64);
    for host in
        ["", "*", "https://app.example", "app.example:http", "127.1", "a..b", ".", &label, "[::1"]
    {
        let error = OriginPolicy::new().allow_host(host).unwrap_err();
        assert_eq!(error, InvalidOrigin::Host(host.to_owned()));
        assert!(error.to_string().contains("host:port"), "{error}");
    }
    for name in ["", "a b", "a=b", "a;", "b\u{fc}", "\"a\""] {
        let error = OriginPolicy::new().ignore_cookie(name).unwrap_err();
        assert_eq!(error, InvalidOrigin::Cookie(name.to_owned()));
    }
}

// covers: P2-24
#[test]
fn what_browsers_normalise_is_normalised_in_a_trusted_origin() {
    let cases = [
        ("https://app.example:443", "https://app.example"),
        ("http://app.example:80", "http://app.example"),
        ("HTTPS://App.Example.", "https://app.example"),
        ("https://b\u{fc}cher.example", "https://xn--bcher-kva.example"),
        ("https://B\u{dc}CHER.example", "https://xn--bcher-kva.example"),
        ("https://[0:0:0::0001]:8443", "https://[::1]:8443"),
        ("https://[2001:DB8::A]", "https://[2001:db8::a]"),
        ("https://127.0.0.1:443", "https://127.0.0.1"),
    ];
    for (setting, sent) in cases {
        let policy = OriginPolicy::new().trust(setting).unwrap();
        let request = handshake_with("Origin", &[sent]);
        assert_eq!(verify(&policy, &request), Ok(()), "{setting}");
    }
}

// covers: P2-24
#[test]
fn what_browsers_normalise_is_normalised_in_a_host() {
    let passes = [
        ("app.example:443", "app.example"),
        ("app.example:80", "app.example"),
        ("app.example:443", "app.example:443"),
        ("App.Example.", "app.example:8080"),
        ("app.example", "app.example."),
        ("b\u{fc}cher.example", "xn--bcher-kva.example"),
        ("[::0001]:443", "[0::1]"),
    ];
    let refused = [
        ("app.example:8443", "app.example"),
        ("app.example:443", "app.example:80"),
        ("app.example", "app.example.evil.example"),
    ];
    let allowed = |setting, host: &'static str| {
        let policy = OriginPolicy::new().allow_host(setting).unwrap().dangerous_allow_any_origin();
        verify(&policy, &from_to("https://app.example", host))
    };
    for (setting, host) in passes {
        assert_eq!(allowed(setting, host), Ok(()), "{setting} {host}");
    }
    for (setting, host) in refused {
        assert_eq!(allowed(setting, host), Err(HostNotAllowed), "{setting} {host}");
    }
    // Where the scheme is known, so is the port.
    let tls = OriginPolicy::new().require_https().allow_host("app.example:80").unwrap();
    assert_eq!(verify(&tls, &handshake()), Err(HostNotAllowed));
}

// covers: P2-24
#[test]
fn the_shells_of_applications_can_be_named() {
    for origin in [
        "file://",
        "capacitor://localhost",
        "ionic://localhost",
        "tauri://localhost",
        "http://tauri.localhost",
        "app://.",
        "app://obsidian.md",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        "moz-extension://6c3e2b8a-1b1f-4a39-9f0f-3b7b3a0a2b11",
        "vscode-webview://0k3lq1m2n3",
        "null",
    ] {
        let request = handshake_with("Origin", &[origin]);
        assert_eq!(verify(&OriginPolicy::new(), &request), Err(OriginNotTrusted), "{origin}");
        let policy = OriginPolicy::new().trust(origin).unwrap();
        assert_eq!(verify(&policy, &request), Ok(()), "{origin}");
    }
    let file = OriginPolicy::new().trust("file://").unwrap();
    for other in ["null", "file:", "file:///", "file://host"] {
        let request = handshake_with("Origin", &[other]);
        assert_eq!(verify(&file, &request), Err(OriginNotTrusted), "{other}");
    }
}
