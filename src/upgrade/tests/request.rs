use http::{Method, Request, Version, header};
use proptest::prelude::*;
use tokio_tungstenite::tungstenite::handshake::server::create_response;

use super::{handshake, handshake_with};
use crate::upgrade::{
    UpgradeRejectionKind::{self, *},
    authority::Authority,
    request::UpgradeRequest,
};

fn refusal(request: &Request<()>) -> Option<UpgradeRejectionKind> {
    UpgradeRequest::parse(request).err()
}

#[track_caller]
fn assert_refused(name: &str, request: &Request<()>, kind: UpgradeRejectionKind, status: u16) {
    assert_eq!(refusal(request), Some(kind), "{name}");
    assert_eq!(kind.status(), status, "{name}");
}

#[test]
fn the_key_of_the_rfc_gets_the_answer_of_the_rfc() {
    let parsed = UpgradeRequest::parse(&handshake()).unwrap().unwrap();
    assert_eq!(parsed.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn a_request_without_any_sign_of_an_upgrade_is_no_attempt() {
    let plain = Request::get("/ws").header("Host", "app.example").body(()).unwrap();
    assert!(UpgradeRequest::parse(&plain).unwrap().is_none());
    let posted = Request::post("/ws?token=x").header("Content-Length", "5").body(()).unwrap();
    assert!(UpgradeRequest::parse(&posted).unwrap().is_none());
}

// covers: HS-02
#[test]
fn an_upgrade_that_is_no_websocket_handshake_is_refused() {
    let mut post = Request::post("/ws").header("Upgrade", "websocket").body(()).unwrap();
    assert_refused("POST with only Upgrade", &post, Method, 405);
    *post.method_mut() = Method::HEAD;
    assert_refused("HEAD", &post, Method, 405);
    let connect = Request::builder().method(Method::CONNECT).uri("x:443").body(()).unwrap();
    assert_refused("CONNECT", &connect, Method, 405);
    assert_refused("h2c", &handshake_with("Upgrade", &["h2c"]), Upgrade, 400);
    assert_refused("no Connection", &handshake_with("Connection", &[]), Connection, 400);
    assert_refused("no Upgrade", &handshake_with("Upgrade", &[]), Upgrade, 400);
    assert_refused("no key", &handshake_with("Sec-WebSocket-Key", &[]), Key, 400);
    for version in [Version::HTTP_09, Version::HTTP_10, Version::HTTP_2, Version::HTTP_3] {
        let mut request = handshake();
        *request.version_mut() = version;
        assert_refused("HTTP version", &request, HttpVersion, 400);
    }
    let extension_only =
        Request::get("/ws").header("Sec-WebSocket-Extensions", "x").body(()).unwrap();
    assert_refused("a Sec-WebSocket header alone", &extension_only, Host, 400);
}

// covers: P2-22
#[test]
fn an_offer_of_another_protocol_is_an_ordinary_request() {
    let offers: [(&[&str], &str); 5] = [
        (&["h2c"], "Upgrade, HTTP2-Settings"),
        (&["TLS/1.0, HTTP/1.1"], "Upgrade"),
        (&["h2c", "IRC/6.9"], "Upgrade"),
        (&["websocketx", "websocket/13"], "Upgrade"),
        (&[""], "keep-alive"),
    ];
    for (values, connection) in offers {
        let mut request = Request::post("/ws")
            .header("Host", "app.example")
            .header("Connection", connection)
            .header("Content-Length", "5")
            .body(())
            .unwrap();
        for value in values {
            request.headers_mut().append("upgrade", value.parse().unwrap());
        }
        assert!(UpgradeRequest::parse(&request).unwrap().is_none(), "{values:?}");
    }
}

// covers: P2-22
#[test]
fn http_1_0_upgrades_nothing() {
    let mut request = Request::get("/ws").header("Upgrade", "websocket").body(()).unwrap();
    for version in [Version::HTTP_09, Version::HTTP_10] {
        *request.version_mut() = version;
        assert!(UpgradeRequest::parse(&request).unwrap().is_none(), "{version:?}");
    }
    // A proxy that speaks it to its upstream takes `Upgrade` off and leaves the rest: it is told.
    let mut handshake = handshake_with("Upgrade", &[]);
    *handshake.version_mut() = Version::HTTP_10;
    assert_refused("what is left of a handshake", &handshake, HttpVersion, 400);
}

// covers: HS-03
#[test]
fn a_handshake_that_declares_a_body_is_refused() {
    let cases: [(&str, &[&str]); 7] = [
        ("Content-Length", &["1000000"]),
        ("Content-Length", &["0", "22"]),
        ("Content-Length", &["00"]),
        ("Content-Length", &["0, 0"]),
        ("Transfer-Encoding", &["chunked"]),
        ("Transfer-Encoding", &["identity"]),
        ("Expect", &["100-continue"]),
    ];
    for (name, values) in cases {
        assert_refused(name, &handshake_with(name, values), Body, 400);
    }
    assert_eq!(refusal(&handshake_with("Content-Length", &["0"])), None);
}

// covers: HS-12
#[test]
fn another_protocol_version_is_told_the_right_one() {
    let cases: [(&[&str], _, u16); 8] = [
        (&["8"], ProtocolVersion, 426),
        (&["0"], ProtocolVersion, 426),
        (&["13, 8"], ProtocolVersion, 426),
        (&["013"], ProtocolVersion, 426),
        (&[""], ProtocolVersion, 426),
        (&[], ProtocolVersionMissing, 400),
        (&["13", "13"], ProtocolVersionMissing, 400),
        (&["13", "8"], ProtocolVersionMissing, 400),
    ];
    for (values, kind, status) in cases {
        let request = handshake_with("Sec-WebSocket-Version", values);
        assert_refused(&format!("{values:?}"), &request, kind, status);
    }
}

// covers: HS-13
#[test]
fn a_key_is_16_bytes_in_canonical_base64() {
    let cases: [(&str, &[&str]); 11] = [
        ("absent", &[]),
        ("empty", &[""]),
        ("15 bytes", &["AAAAAAAAAAAAAAAAAAAA"]),
        ("15 bytes, padded to 24", &["AAAAAAAAAAAAAAAAAAAAA==="]),
        ("17 bytes", &["AAAAAAAAAAAAAAAAAAAAAAA="]),
        ("18 bytes, which need no padding", &["AAAAAAAAAAAAAAAAAAAAAAAA"]),
        ("24 chars not base64", &["dGhlIHNhbXBsZSBub25jZ!=="]),
        ("trailing bits", &["dGhlIHNhbXBsZSBub25jZR=="]),
        ("url-safe alphabet", &["-_hlIHNhbXBsZSBub25jZQ=="]),
        ("no padding", &["dGhlIHNhbXBsZSBub25jZQ"]),
        ("two lines", &["dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="]),
    ];
    for (name, values) in cases {
        assert_refused(name, &handshake_with("Sec-WebSocket-Key", values), Key, 400);
    }
}

proptest! {
    // covers: HS-13
    #[test]
    fn the_engine_accepts_the_same_keys(key in "[A-Za-z0-9+/]{20,22}[-_]?[AQgwBRhx]={1,3}") {
        let mut request = handshake();
        request.headers_mut().insert(header::SEC_WEBSOCKET_KEY, key.parse().unwrap());
        prop_assert_eq!(refusal(&request).is_none(), create_response(&request).is_ok());
    }

    #[test]
    fn any_text_is_an_authority_or_is_not(text in ".{0,40}") {
        if let Some(read) = Authority::parse(&text) {
            prop_assert_eq!(&*read.host, &*read.host.to_ascii_lowercase());
        }
    }
}

// covers: HS-14
#[test]
fn connection_and_upgrade_are_lists_of_whole_tokens() {
    let accepted: [(&str, &[&str]); 10] = [
        ("Connection", &["keep-alive, Upgrade"]),
        ("Connection", &["upgrade"]),
        ("Connection", &["keep-alive", "Upgrade"]),
        ("Connection", &["Upgrade, close"]),
        ("Connection", &[" ,, UPGRADE\t,"]),
        ("Upgrade", &["WebSocket"]),
        // RFC 6455 §4.2.1 asks that the value be there, not that it be alone.
        ("Upgrade", &["websocket, h2c"]),
        ("Upgrade", &["h2c,, websocket"]),
        ("Upgrade", &["TLS/1.3", "websocket"]),
        ("Upgrade", &["websocket", "websocket"]),
    ];
    for (name, values) in accepted {
        assert_eq!(refusal(&handshake_with(name, values)), None, "{values:?}");
    }
    let refused: [(&str, &[&str], _); 9] = [
        ("Connection", &["not-upgrade"], Connection),
        ("Connection", &["\"upgrade\""], Connection),
        ("Connection", &["upgrade websocket"], Connection),
        ("Connection", &["upgrade;q=1"], Connection),
        ("Connection", &["close", "keep-alive"], Connection),
        ("Upgrade", &["websocketx"], Upgrade),
        ("Upgrade", &["web socket"], Upgrade),
        ("Upgrade", &["websocket/13"], Upgrade),
        ("Upgrade", &["\"websocket\""], Upgrade),
    ];
    for (name, values, kind) in refused {
        assert_refused(&format!("{values:?}"), &handshake_with(name, values), kind, 400);
    }
}

// covers: HS-16
#[test]
fn there_is_one_host_and_it_is_a_host() {
    let cases: [&[&str]; 16] = [
        &[],
        &[""],
        &["app.example", "app.example"],
        &["app.example", "evil.example"],
        &["app.example, evil.example"],
        &["app.example:"],
        &["app.example:+80"],
        &["app.example:080"],
        &["app.example:65536"],
        &["app.example:0"],
        &["user@app.example"],
        &["app.example/"],
        &["app%2eexample"],
        &["http://app.example"],
        &["[::1"],
        &["[app.example]"],
    ];
    for values in cases {
        assert_refused(&format!("{values:?}"), &handshake_with("Host", values), Host, 400);
    }
    for value in ["app.example", "APP.example:8080", "127.0.0.1:1", "[::1]:3000", "[::1]", "a_b"] {
        assert_eq!(refusal(&handshake_with("Host", &[value])), None, "{value}");
    }
}

// covers: P2-12
#[test]
fn an_absolute_target_names_the_same_host() {
    let mut request = handshake();
    *request.uri_mut() = "https://app.example/ws".parse().unwrap();
    let parsed = UpgradeRequest::parse(&request).unwrap().unwrap();
    assert_eq!(parsed.scheme.as_deref(), Some("https"));
    for other in
        ["https://evil.example/ws", "https://app.example:444/ws", "http://a@app.example/ws"]
    {
        *request.uri_mut() = other.parse().unwrap();
        assert_refused(other, &request, Host, 400);
    }
}

// covers: HS-19
#[test]
fn extension_offers_are_not_looked_at() {
    for offer in ["permessage-deflate; server_max_window_bits=99", "\"", "; ; =,,"] {
        assert_eq!(refusal(&handshake_with("Sec-WebSocket-Extensions", &[offer])), None, "{offer}");
    }
}

// covers: LG-01
#[test]
fn credentials_in_the_query_are_refused() {
    let refused = [
        "/ws?token=x",
        "/ws?token",
        "/ws?room=1&ACCESS_TOKEN=x",
        "/ws?a=1;jwt=x",
        "/ws?&&api_key",
        "/ws?%74oken=x",
        "/ws?%54%4F%4B%45%4E=x",
        "/ws?auth=",
        "/ws?ticket=1",
        "/ws?secret=1",
        "/ws?passwor%64=1",
        // However people write it.
        "/ws?access-token=x",
        "/ws?accessToken=x",
        "/ws?Access+Token=x",
        "/ws?access%20token=x",
        "/ws?access.token=x",
        "/ws?X-Auth-Token=x",
        "/ws?id_token=x",
        "/ws?refreshToken",
        "/ws?token[]=x",
        "/ws?token%5B0%5D=x",
        "/ws?user[token]=x",
        "/ws?user[password][0]=x",
        "/ws?sessionid=x",
        "/ws?session_key=x",
        "/ws?PHPSESSID=x",
        "/ws?JSESSIONID=x",
        "/ws?X-Amz-Signature=x",
        "/ws?authorization=Bearer+x",
        "/ws?client_secret=x",
        "/ws?user-pwd=x&pwd=x",
        "/ws?sig=x",
        "/ws?apikey=x",
        "/ws?accesskey=x",
        "/ws?credentials=x",
        "/ws?_token_=x",
    ];
    for target in refused {
        let mut request = handshake();
        *request.uri_mut() = target.parse().unwrap();
        assert_refused(target, &request, QueryCredential, 400);
    }
    for target in [
        "/ws",
        "/ws?",
        "/ws?tokens=1",
        "/ws?v=token",
        "/ws?%7=token",
        "/ws?%zz&%",
        "/ws?a=b=token",
        // Nouns that only look like it.
        "/ws?author=x",
        "/ws?keyboard=x",
        "/ws?key=x",
        "/ws?session=x",
        "/ws?sid=x",
        "/ws?room[name]=token",
        "/ws?compass=x",
        "/ws?tokenizer=x",
        "/ws?passenger=x",
        "/ws?[]=x",
        // Decoded once.
        "/ws?%2574oken=x",
    ] {
        let mut request = handshake();
        *request.uri_mut() = target.parse().unwrap();
        assert_eq!(refusal(&request), None, "{target}");
    }
}
