//! Who the client is: what is believed, whom it is believed of, and what nobody can change on the left.

use std::net::{IpAddr, SocketAddr};

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request, Response};
use proptest::prelude::*;
use tower::{Layer, ServiceExt, service_fn};

use super::handshake;
use crate::{
    client_addr::ClientAddr,
    upgrade::{
        ClientAddrLayer, InvalidProxies, PeerAddr, PeerTls, TrustedProxies,
        UpgradeRejectionKind::{self, *},
        client::Clients,
    },
};

const TRUSTED: [&str; 3] = ["10.0.0.0/8", "fd00::/8", "192.0.2.53"];

fn proxies(header: &str) -> TrustedProxies {
    TrustedProxies::header(header, TRUSTED).unwrap()
}

fn lines(header: &str, lines: &[impl AsRef<str>]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let name = HeaderName::from_bytes(header.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(line.as_ref().as_bytes()).unwrap());
    }
    headers
}

/// A request from `peer`, with these lines of `header`.
fn request(peer: &str, header: &str, values: &[impl AsRef<str>]) -> Request<()> {
    let mut request = handshake();
    request.headers_mut().extend(lines(header, values));
    let peer = SocketAddr::new(peer.parse().unwrap(), 50_000);
    request.extensions_mut().insert(PeerAddr(peer));
    request
}

fn find(
    proxies: TrustedProxies,
    request: &Request<()>,
) -> Result<Option<ClientAddr>, UpgradeRejectionKind> {
    Clients::default().trusted_proxies(proxies).find(request).client
}

/// The client's address, or the rule by which there is none.
fn told(header: &str, peer: &str, values: &[impl AsRef<str>]) -> Result<String, &'static str> {
    let found = find(proxies(header), &request(peer, header, values));
    found.map(|it| it.unwrap().ip().to_string()).map_err(UpgradeRejectionKind::rule)
}

/// What it is about, the socket's address, the lines, and what is told.
type Row<'a> = (&'a str, &'a str, &'a [&'a str], Result<&'a str, &'static str>);

// covers: HS-23
#[tokio::test]
async fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
    let unknown = Err("peer.unknown");
    let bad = Err("peer.forwarded");
    let hops = |last: &str, count| [["10.9.9.9"].repeat(count), vec![last]].concat().join(",");
    let many = |last| format!("{last}, {}", ["10.9.9.9"; 31].join(", "));
    let rows: &[Row] = &[
        ("a stranger is believed nothing", "203.0.113.9", &["198.51.100.1"], Ok("203.0.113.9")),
        ("nor read", "203.0.113.9", &["unknown, _x, \u{ff}"], Ok("203.0.113.9")),
        ("one proxy", "10.0.0.1", &["198.51.100.1"], Ok("198.51.100.1")),
        ("a proxy on an IPv6 socket", "::ffff:10.0.0.1", &["198.51.100.1"], Ok("198.51.100.1")),
        ("one that was named alone", "192.0.2.53", &["198.51.100.1"], Ok("198.51.100.1")),
        ("its neighbour", "192.0.2.54", &["198.51.100.1"], Ok("192.0.2.54")),
        ("two", "10.0.0.1", &["198.51.100.1, 10.0.0.2"], Ok("198.51.100.1")),
        ("two of two kinds", "10.0.0.1", &["2001:db8::1, fd00::2"], Ok("2001:db8::1")),
        ("what the client wrote", "10.0.0.1", &["1.2.3.4, 198.51.100.1"], Ok("198.51.100.1")),
        ("and claimed", "10.0.0.1", &["10.0.0.7, 198.51.100.1"], Ok("198.51.100.1")),
        ("in a line of its own", "10.0.0.1", &["1.2.3.4", "198.51.100.1"], Ok("198.51.100.1")),
        ("two lines of two proxies", "10.0.0.1", &["198.51.100.1", "10.0.0.2"], Ok("198.51.100.1")),
        ("garbage that is not reached", "10.0.0.1", &["\";,=\\, 198.51.100.1"], Ok("198.51.100.1")),
        ("all of them trusted", "10.0.0.1", &["10.0.0.3, 10.0.0.2"], Ok("10.0.0.3")),
        ("a port", "10.0.0.1", &["198.51.100.1:4711"], Ok("198.51.100.1")),
        ("IPv6", "10.0.0.1", &["2001:db8::1"], Ok("2001:db8::1")),
        ("in brackets", "10.0.0.1", &["[2001:db8::1]"], Ok("2001:db8::1")),
        ("with a port", "10.0.0.1", &["[2001:db8::1]:4711"], Ok("2001:db8::1")),
        ("mapped", "10.0.0.1", &["::ffff:198.51.100.1"], Ok("198.51.100.1")),
        ("mapped, and a proxy", "10.0.0.1", &["1.2.3.4, ::ffff:10.0.0.2"], Ok("1.2.3.4")),
        ("empty elements", "10.0.0.1", &[" , 198.51.100.1 ,, ", ""], Ok("198.51.100.1")),
        ("fifty hops", "10.0.0.1", &[&hops("198.51.100.1", 50)], Ok("198.51.100.1")),
        ("32 proxies", "10.0.0.1", &[&many("198.51.100.1")], Ok("198.51.100.1")),
        ("33 proxies", "10.0.0.1", &[&many("198.51.100.1, 10.0.0.2")], bad),
        ("more than 2 KiB", "10.0.0.1", &[&"1".repeat(2049)], bad),
        ("nothing", "10.0.0.1", &[], unknown),
        ("an empty line", "10.0.0.1", &[""], unknown),
        ("commas", "10.0.0.1", &[",,", " , "], unknown),
        ("unknown", "10.0.0.1", &["unknown"], bad),
        ("hidden", "10.0.0.1", &["_x"], bad),
        ("unknown behind a proxy", "10.0.0.1", &["unknown, 10.0.0.2"], bad),
        ("a name", "10.0.0.1", &["a.example"], bad),
        ("a zone", "10.0.0.1", &["fe80::1%eth0"], bad),
        ("a zone in brackets", "10.0.0.1", &["[fe80::1%1]:1"], bad),
        ("half a bracket", "10.0.0.1", &["[2001:db8::1"], bad),
        ("a port that is none", "10.0.0.1", &["198.51.100.1:http"], bad),
        ("no port", "10.0.0.1", &["198.51.100.1:"], bad),
        ("leading zeros", "10.0.0.1", &["198.051.100.1"], bad),
        ("two in one", "10.0.0.1", &["198.51.100.1 198.51.100.2"], bad),
        ("bytes that are no text", "10.0.0.1", &["198.51.100.1\u{a0}"], bad),
    ];
    for (name, peer, values, expected) in rows {
        let expected = expected.map(str::to_owned);
        assert_eq!(told("x-forwarded-for", peer, values), expected, "{name}");
    }
}

// covers: HS-23
#[tokio::test]
async fn the_header_of_rfc_7239_is_read_by_its_grammar() {
    let bad = Err("peer.forwarded");
    let rows: &[(&[&str], Result<&str, &str>)] = &[
        (&["for=198.51.100.1"], Ok("198.51.100.1")),
        (&["For=\"198.51.100.1:4711\";proto=https"], Ok("198.51.100.1")),
        (&["by=10.0.0.1;for=\"[2001:db8::1]:4711\";host=a"], Ok("2001:db8::1")),
        (&["for=198.51.100.1:_hidden"], Ok("198.51.100.1")),
        (&["for=1.2.3.4, for=198.51.100.1, for=10.0.0.2"], Ok("198.51.100.1")),
        (&["for=1.2.3.4", "for=198.51.100.1"], Ok("198.51.100.1")),
        // Commas and semicolons in a quoted string; one that was never closed, on the left.
        (&["for=198.51.100.1;host=\"a,b;for=1.2.3.4\""], Ok("198.51.100.1")),
        (&["for=\", for=198.51.100.1"], Ok("198.51.100.1")),
        (&["for=\"\\, for=\"198.51.100.1\""], Ok("198.51.100.1")),
        (&["for=\"_hidden\""], bad),
        (&["for=unknown"], bad),
        (&["proto=https"], bad),
        (&["198.51.100.1"], bad),
        (&["for=1.2.3.4;for=198.51.100.1"], bad),
        (&["for=\"198.51.100.1"], bad),
        (&["for=\"198.51.100\\.1\""], bad),
        (&["for= 198.51.100.1"], bad),
        (&[], Err("peer.unknown")),
    ];
    for (values, expected) in rows {
        let expected = expected.map(str::to_owned);
        assert_eq!(told("forwarded", "10.0.0.1", values), expected, "{values:?}");
    }
}

/// Two headers are two attackers' choices.
// covers: HS-23
#[tokio::test]
async fn only_the_header_that_was_chosen_is_read() {
    let forged = |named: &str| request("10.0.0.1", named, &["1.2.3.4"]);
    for other in ["forwarded", "x-real-ip", "cf-connecting-ip"] {
        let found = find(proxies("x-forwarded-for"), &forged(other));
        assert_eq!(found.unwrap_err(), ClientUnknown, "{other}");
    }
    let found = find(proxies("CF-Connecting-IP"), &forged("cf-connecting-ip"));
    assert_eq!(found.unwrap().unwrap().ip().to_string(), "1.2.3.4");
}

// covers: HS-23
#[tokio::test]
async fn internal_clients_come_without_a_header_where_that_is_allowed() {
    let none: &[&str] = &[];
    let direct = || proxies("x-forwarded-for").allow_direct();
    let found = find(direct(), &request("10.0.0.1", "x-forwarded-for", none)).unwrap();
    assert_eq!(found, Some(ClientAddr::direct(([10, 0, 0, 1], 50_000).into())));
    let found = find(direct(), &request("10.0.0.1", "x-forwarded-for", &["1.2.3.4"])).unwrap();
    assert_eq!(found.unwrap().ip().to_string(), "1.2.3.4");
    let found = find(direct(), &request("10.0.0.1", "x-forwarded-for", &["unknown"]));
    assert_eq!(found.unwrap_err(), Forwarded);
}

// covers: HS-23, P2-24
#[test]
fn networks_and_headers_that_cannot_be_meant_are_errors() {
    for text in ["10.0.0.0/8", " 10.0.0.1 ", "fd00::/8", "::1", "fc00::/7", "::ffff:10.0.0.0/104"] {
        assert!(TrustedProxies::x_forwarded_for([text]).is_ok(), "{text}");
    }
    for text in ["", "10.0.0.0/33", "10.1.2.3/8", "10.0.0", "a.example", "fd00::1/8", "*"] {
        let error = TrustedProxies::forwarded([text]).unwrap_err();
        assert_eq!(error, InvalidProxies::Network(text.to_owned()), "{text}");
    }
    for text in ["0.0.0.0/0", "::/0", "0.0.0.0/1", "::ffff:0.0.0.0/96", "8000::/1"] {
        let error = TrustedProxies::x_forwarded_for(["10.0.0.0/8", text]).unwrap_err();
        assert_eq!(error, InvalidProxies::TooWide(text.to_owned()), "{text}");
    }
    let error = TrustedProxies::x_forwarded_for([""; 0]).unwrap_err();
    assert_eq!(error, InvalidProxies::NoNetwork);
    let error = TrustedProxies::header("x forwarded for", TRUSTED).unwrap_err();
    assert_eq!(error, InvalidProxies::Header("x forwarded for".to_owned()));
    // What was meant by mapped addresses is what they are.
    let mapped = TrustedProxies::x_forwarded_for(["::ffff:10.0.0.0/104"]).unwrap();
    let found = find(mapped, &request("10.0.0.1", "x-forwarded-for", &["1.2.3.4"])).unwrap();
    assert_eq!(found.unwrap().ip().to_string(), "1.2.3.4");
}

/// Whether a handshake passes that has to have come over TLS.
fn is_tls(header: &str, peer: &str, values: &[&str], proto: &[&str], own: bool) -> bool {
    let mut request = request(peer, header, values);
    request.headers_mut().extend(lines("x-forwarded-proto", proto));
    if own {
        request.extensions_mut().insert(PeerTls);
    }
    Clients::default().trusted_proxies(proxies(header)).find(&request).tls
}

// covers: HS-29
#[tokio::test]
async fn whether_it_is_tls_says_the_proxy_that_the_client_came_to() {
    let list = |values: &[&str], proto: &[&str]| {
        is_tls("x-forwarded-for", "10.0.0.1", values, proto, true)
    };
    let (one, two) = (&["1.2.3.4"][..], &["1.2.3.4, 10.0.0.2"][..]);
    assert!(list(one, &["https"]));
    assert!(list(one, &["WSS"]));
    assert!(!list(one, &["http"]));
    assert!(!list(one, &[]), "the TLS of the proxy's own socket is not the client's");
    // One for all, or one for each of them.
    assert!(list(two, &["https"]));
    assert!(list(two, &["https, http"]));
    assert!(!list(two, &["http, https"]));
    assert!(!list(one, &["https, http"]), "what the client wrote");
    assert!(!list(one, &["https", "http"]));
    assert!(!list(&["1.2.3.4, 10.0.0.3, 10.0.0.2"], &["https, https"]));
    // The client's own socket.
    let direct = |proto: &[&str], own| is_tls("x-forwarded-for", "203.0.113.9", one, proto, own);
    assert!(direct(&[], true));
    assert!(!direct(&["https"], false));
    let element = |value: &str| is_tls("forwarded", "10.0.0.1", &[value], &["https"], false);
    assert!(element("for=1.2.3.4;proto=https"));
    assert!(element("for=1.2.3.4;proto=\"https\", for=10.0.0.2;proto=http"));
    assert!(!element("for=1.2.3.4;proto=http, for=10.0.0.2;proto=https"));
    assert!(!element("for=1.2.3.4"));
    assert!(!element("for=9.9.9.9;proto=https, for=1.2.3.4;proto=http"));
}

// covers: HS-23
#[tokio::test]
async fn the_application_is_told_what_the_endpoint_is_told() {
    let clients = ClientAddrLayer::new()
        .peer_from(|it: &Extensions| it.get::<SocketAddr>().copied())
        .trusted_proxies(proxies("x-forwarded-for"));
    let inner = service_fn(async |request: Request<()>| {
        let client = request.extensions().get::<ClientAddr>().map(|it| it.ip().to_string());
        let within = Clients::default().find(&request).client.map_err(|it| it.rule());
        assert_eq!(within.ok().flatten().map(|it| it.ip().to_string()), client);
        Ok::<_, std::convert::Infallible>(Response::new((client, within.err())))
    });
    let ask = async |mut request: Request<()>, peer: Option<[u8; 4]>| {
        if let Some(peer) = peer {
            request.extensions_mut().insert(SocketAddr::from((peer, 1)));
        }
        clients.layer(inner).oneshot(request).await.unwrap().into_body()
    };
    let from = |value| request("203.0.113.9", "x-forwarded-for", &[value]);
    let some = |it: &str| Some(it.to_owned());
    assert_eq!(ask(from("1.2.3.4"), Some([10, 0, 0, 1])).await, (some("1.2.3.4"), None));
    assert_eq!(ask(from("1.2.3.4"), Some([9, 9, 9, 9])).await, (some("9.9.9.9"), None));
    // It refuses nothing; the endpoint within does.
    assert_eq!(ask(from(""), Some([10, 0, 0, 1])).await, (None, Some("peer.unknown")));
    assert_eq!(ask(from("x"), Some([10, 0, 0, 1])).await, (None, Some("peer.forwarded")));
    assert_eq!(ask(from("1.2.3.4"), None).await, (None, Some("peer.missing")));
    // What a layer outside has said does not hold beside it.
    let mut forged = from("");
    forged.extensions_mut().insert(ClientAddr::direct(([9, 9, 9, 9], 1).into()));
    assert_eq!(ask(forged, Some([10, 0, 0, 1])).await, (None, Some("peer.unknown")));
}

/// An address that is in no trusted network, and how a proxy may write it.
fn client() -> impl Strategy<Value = (IpAddr, bool)> {
    let v4 = any::<[u8; 4]>().prop_filter("a proxy", |it| it[0] != 10 && it[..3] != [192, 0, 2]);
    let v6 = any::<[u8; 14]>().prop_map(|it| {
        let mut address = [0; 16];
        address[0] = 0x20;
        address[2..].copy_from_slice(&it);
        address
    });
    (prop_oneof![v4.prop_map(IpAddr::from), v6.prop_map(IpAddr::from)], any::<bool>())
}

fn spelled(rfc_7239: bool, (ip, port): (IpAddr, bool)) -> String {
    let node = match ip {
        _ if port => SocketAddr::new(ip, 4711).to_string(),
        IpAddr::V6(ip) if rfc_7239 => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    match rfc_7239 {
        true => format!("proto=https;for=\"{node}\""),
        false => node,
    }
}

proptest! {
    // covers: HS-23
    #[test]
    fn whatever_a_client_writes_on_the_left_changes_nothing(
        rfc_7239: bool,
        client in client(),
        proxies_between in 0_usize..4,
        // What header values may hold, in lines of its own and in front of the proxy's.
        forged in prop::collection::vec("[ -~\u{80}-\u{ff}]{0,60}|[0-9.,:;=\"\\\\ a-f]{0,3000}", 0..5),
        in_front in "[ -~]{0,60}|[0-9.,:;=\"\\\\ for]{0,60}",
        a_line_each: bool,
    ) {
        let header = if rfc_7239 { "forwarded" } else { "x-forwarded-for" };
        let proxy = |n: usize| spelled(rfc_7239, (IpAddr::from([10, 0, 1, n as u8]), n.is_multiple_of(2)));
        let honest: Vec<_> = std::iter::once(spelled(rfc_7239, client))
            .chain((0..proxies_between).map(proxy))
            .collect();
        let mut values = forged;
        if a_line_each {
            values.push(in_front);
            values.extend(honest);
        } else {
            values.push(format!("{in_front}, {}", honest.join(", ")));
        }
        prop_assert_eq!(told(header, "10.0.0.1", &values), Ok(client.0.to_string()));
    }

    // covers: HS-23
    #[test]
    fn whatever_a_trusted_proxy_writes_is_an_address_or_refused(
        rfc_7239: bool,
        values in prop::collection::vec(
            "[ -~\u{80}-\u{ff}]{0,60}|(for=)?[0-9.,:;=\"\\\\\\[\\] a-f]{0,60}|10\\.0\\.0\\.1(, *10\\.0\\.0\\.2){0,40}",
            0..5,
        ),
    ) {
        let header = if rfc_7239 { "forwarded" } else { "x-forwarded-for" };
        match told(header, "10.0.0.1", &values) {
            Ok(ip) => prop_assert!(ip.parse::<IpAddr>().is_ok()),
            Err(rule) => prop_assert!(["peer.forwarded", "peer.unknown"].contains(&rule)),
        }
    }
}
