use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header, request::Parts,
};
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;

use super::{handshake, handshake_with};
use crate::{
    audit::{AuditEvent, AuditRecord, AuditSink},
    testing::Records,
    upgrade::{
        OriginPolicy, PeerAddr, ResponseBody, UpgradeRejection, UpgradeRejectionKind,
        WebSocketEndpoint, WebSocketLayer,
        switch::{Accepted, Settings, SpawnConnection},
    },
};

/// Counts what it was given, and drops it.
#[derive(Default)]
struct Counter(AtomicUsize);

impl SpawnConnection for Counter {
    fn spawn(&self, _: Accepted, _: &mut Parts, _: &Settings) -> Result<(), UpgradeRejectionKind> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A handshake as hyper hands it over.
fn offered(mut request: Request<()>) -> Request<()> {
    let upgrade = hyper::upgrade::on(&mut request);
    request.extensions_mut().insert(upgrade);
    request
}

fn endpoint() -> (WebSocketEndpoint, Arc<Counter>) {
    let counter = Arc::new(Counter::default());
    (WebSocketEndpoint::from_spawn(Arc::<Counter>::clone(&counter)), counter)
}

/// Sends `request` to the layer around a service that says whether it still had the upgrade.
async fn send(layer: &WebSocketLayer, request: Request<()>) -> Response<ResponseBody<String>> {
    let inner = service_fn(async |request: Request<()>| {
        let offered = request.extensions().get::<OnUpgrade>().is_some();
        Ok::<_, Infallible>(Response::new(format!("inner, upgradable: {offered}")))
    });
    layer.layer(inner).oneshot(request).await.unwrap()
}

async fn text(response: Response<ResponseBody<String>>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn an_accepted_handshake_is_answered_and_handed_on() {
    let (endpoint, counter) = endpoint();
    let response = send(&endpoint.layer("/ws").unwrap(), offered(handshake())).await;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut expected = HeaderMap::new();
    expected.insert("connection", "upgrade".parse().unwrap());
    expected.insert("upgrade", "websocket".parse().unwrap());
    expected.insert("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".parse().unwrap());
    assert_eq!(*response.headers(), expected);
    assert_eq!(text(response).await, "");
    assert_eq!(counter.0.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_is_no_attempt_goes_inward_untouched() {
    let (endpoint, counter) = endpoint();
    let layer = endpoint.layer("/ws").unwrap();
    let plain = Request::get("/ws").header("Host", "app.example").body(()).unwrap();
    let mut elsewhere = handshake();
    *elsewhere.uri_mut() = "/other".parse().unwrap();
    let mut other = offered(handshake_with("Upgrade", &["h2c"]));
    other.headers_mut().remove("sec-websocket-key");
    other.headers_mut().remove("sec-websocket-version");
    // On a path of the endpoint nobody else switches protocols.
    for (request, upgradable) in
        [(offered(plain), false), (other, false), (offered(elsewhere), true)]
    {
        let response = send(&layer, request).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(text(response).await, format!("inner, upgradable: {upgradable}"));
    }
    assert_eq!(counter.0.load(Ordering::Relaxed), 0);
}

// covers: P2-12
#[tokio::test]
async fn a_path_is_compared_byte_for_byte() {
    let (endpoint, _) = endpoint();
    let layer = endpoint.layer("/ws").unwrap().also("/v2/ws").unwrap();
    let cases = [
        ("/ws", 101),
        ("/ws?room=1", 101),
        ("/v2/ws", 101),
        ("http://app.example/ws", 101),
        ("/ws/", 200),
        ("//ws", 200),
        ("/ws%2f", 200),
        ("/%77s", 200),
        ("/WS", 200),
        ("/ws;a=1", 200),
        ("/x/../ws", 200),
        ("/", 200),
        ("http://app.example/ws/", 200),
    ];
    for (target, status) in cases {
        // Plain HTTP, so that the absolute target and the origin agree.
        let mut request = offered(handshake_with("Origin", &["http://app.example"]));
        *request.uri_mut() = target.parse().unwrap();
        assert_eq!(send(&layer, request).await.status(), status, "{target}");
    }
}

#[tokio::test]
async fn a_connect_without_a_path_never_goes_inward() {
    let (endpoint, counter) = endpoint();
    let connect = Request::connect("x:443").body(()).unwrap();
    let response = send(&endpoint.layer("/ws").unwrap(), offered(connect)).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()[header::ALLOW], "GET");
    assert_eq!(counter.0.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_server_that_cannot_upgrade_is_told_so() {
    let (endpoint, counter) = endpoint();
    let response = send(&endpoint.layer_on_every_path(), handshake()).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(counter.0.load(Ordering::Relaxed), 0);
}

// covers: HS-01, HS-04, LG-15, P2-10
#[tokio::test]
async fn a_refusal_is_recorded_and_says_why_to_outer_layers_only() {
    let records = Records::new();
    let (endpoint, counter) = endpoint();
    let layer = endpoint.audit(records.clone()).layer_on_every_path();
    let mut request = offered(handshake_with("Origin", &["https://evil.example"]));
    request.extensions_mut().insert(PeerAddr("[::ffff:192.0.2.1]:5".parse().unwrap()));
    let response = send(&layer, request).await;

    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let rejection = response.extensions().get::<UpgradeRejection>().unwrap();
    assert_eq!(rejection.kind(), UpgradeRejectionKind::OriginNotTrusted);
    let mut expected = HeaderMap::new();
    expected.insert("content-type", "text/plain; charset=utf-8".parse().unwrap());
    expected.insert("cache-control", "no-store".parse().unwrap());
    expected.insert("connection", "close".parse().unwrap());
    assert_eq!(*response.headers(), expected);
    assert_eq!(text(response).await, "origin not allowed\n");
    assert_eq!(counter.0.load(Ordering::Relaxed), 0);

    let records = records.all();
    let [AuditRecord { peer, event: AuditEvent::UpgradeRefused(refused), .. }] = &records[..]
    else {
        panic!("{records:?}");
    };
    assert_eq!(peer.unwrap().to_string(), "192.0.2.1:5");
    assert_eq!(refused.origin.as_deref(), Some("https://evil.example"));
    assert_eq!(refused.host.as_deref(), Some("app.example"));
    assert_eq!((refused.rule, refused.status), ("origin.not_trusted", 403));
    assert_eq!(refused.suppressed, 0);
}

// covers: LG-10, LG-15
#[tokio::test]
async fn what_was_compared_is_on_one_line_and_no_longer_than_a_line_may_be() {
    let records = Records::new();
    let (endpoint, _) = endpoint();
    let policy = OriginPolicy::new().allow_host("app.example").unwrap();
    let layer = endpoint.audit(records.clone()).origin(policy).layer_on_every_path();
    let long = format!("https://{}.example", "a".repeat(10_000));
    let host = "other.example";
    let cases = [
        ("host", host, (None, Some(host))),
        ("origin", &long, (Some(&long[..128]), Some("app.example"))),
        (
            "origin",
            "https://a\"\t\u{fc}",
            (Some("https://a\\\"\\t\\xc3\\xbc"), Some("app.example")),
        ),
    ];
    for (name, value, _) in cases {
        let mut request = offered(handshake());
        request.headers_mut().insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        assert!(send(&layer, request).await.status().is_client_error());
    }
    let two = ["https://app.example", "https://evil.example"];
    send(&layer, offered(handshake_with("Origin", &two))).await;
    send(&layer, offered(handshake_with("Sec-WebSocket-Key", &["secret"]))).await;
    let told: Vec<_> = records
        .events()
        .into_iter()
        .map(|it| match it {
            AuditEvent::UpgradeRefused(refused) => (refused.origin, refused.host),
            other => panic!("{other:?}"),
        })
        .collect();
    let mut expected: Vec<_> = cases.into_iter().map(|it| it.2).collect();
    let both = two.join(" | ");
    expected.push((Some(&both), Some("app.example")));
    // What no origin and no host was compared for says nothing of them.
    expected.push((None, None));
    let told: Vec<_> = told.iter().map(|it| (it.0.as_deref(), it.1.as_deref())).collect();
    assert_eq!(told, expected);
}

// covers: P2-24
#[tokio::test]
async fn a_leaf_that_a_router_asks_at_another_path_says_so() {
    let records = Records::new();
    let (endpoint, counter) = endpoint();
    let leaf = endpoint.audit(records.clone()).layer("/ws").unwrap().into_service();
    let mut request = offered(handshake());
    *request.uri_mut() = "/chat/ws".parse().unwrap();
    assert_eq!(leaf.oneshot(request).await.unwrap().status(), StatusCode::NOT_FOUND);
    let events = records.events();
    let [AuditEvent::UpgradeRefused(refused)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(refused.rule, "handshake.path");
    assert_eq!(counter.0.load(Ordering::Relaxed), 0);
}

// covers: P2-24
#[test]
fn a_path_that_no_request_has_is_an_error_where_it_is_set() {
    for path in ["", "ws", "/ws/{room}", "/ws?v=1"] {
        let error = endpoint().0.layer(path).unwrap_err();
        assert!(error.to_string().starts_with(&format!("{path:?} is no path")), "{error}");
        assert_eq!(endpoint().0.layer("/ws").unwrap().also(path).unwrap_err(), error);
    }
}

// covers: LG-02, XX-01
#[tokio::test]
async fn a_sink_that_panics_does_not_change_the_answer() {
    struct Broken;
    impl AuditSink for Broken {
        fn record(&self, _: &AuditRecord) {
            panic!("the sink is broken");
        }
    }
    let (endpoint, _) = endpoint();
    let request = offered(handshake_with("Origin", &["https://evil.example"]));
    let response = send(&endpoint.audit(Broken).layer_on_every_path(), request).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

// covers: LG-11
#[tokio::test(start_paused = true)]
async fn a_flood_of_refused_handshakes_is_twenty_records_a_second_and_a_count() {
    let records = Records::new();
    let (endpoint, _) = endpoint();
    let layer = endpoint.audit(records.clone()).layer_on_every_path();
    let refused = || offered(handshake_with("Origin", &["https://evil.example"]));
    for _ in 0..10_000 {
        assert_eq!(send(&layer, refused()).await.status(), StatusCode::FORBIDDEN);
    }
    // One because the rule was quiet, and what there may be at once.
    assert_eq!(records.events().len(), 401);
    tokio::time::advance(Duration::from_secs(1)).await;
    // Clones are the same endpoint.
    send(&layer.clone(), refused()).await;
    for _ in 0..100 {
        send(&layer, refused()).await;
    }
    assert_eq!(records.events().len(), 421);
    let with_count = records.events().split_off(401);
    let records = with_count[..1].to_vec();
    let Some(AuditEvent::UpgradeRefused(last)) = records.last() else {
        panic!("{:?}", records.last());
    };
    assert_eq!(last.suppressed, 9_599);
}

// covers: P2-10
#[tokio::test]
async fn the_leaf_answers_what_is_no_attempt() {
    let records = Records::new();
    let (endpoint, _) = endpoint();
    let leaf = endpoint.audit(records.clone()).layer("/ws").unwrap().into_service();
    let plain = |target| Request::get(target).header("Host", "app.example").body(()).unwrap();

    let response = leaf.clone().oneshot(plain("/ws")).await.unwrap();
    assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(response.headers()[header::UPGRADE], "websocket");
    assert_eq!(response.headers()[header::SEC_WEBSOCKET_VERSION], "13");
    assert_eq!(response.headers()[header::CONNECTION], "close, upgrade");

    let response = leaf.clone().oneshot(plain("/ws/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert!(!response.headers().contains_key(header::UPGRADE));
    assert!(records.events().is_empty(), "nobody tried anything");
}

// covers: P2-10
#[tokio::test]
async fn over_http2_a_refusal_has_no_connection_headers() {
    let (endpoint, _) = endpoint();
    let layer = endpoint.layer("/ws").unwrap();
    let mut request = handshake();
    *request.version_mut() = Version::HTTP_2;
    let response = send(&layer, request).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(!response.headers().contains_key(header::CONNECTION));

    let mut plain = Request::get("/ws").body(()).unwrap();
    *plain.version_mut() = Version::HTTP_2;
    let response = layer.into_service().oneshot(plain).await.unwrap();
    assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
    assert!(!response.headers().contains_key(header::CONNECTION));
    assert!(!response.headers().contains_key(header::UPGRADE));
}

#[test]
fn retry_after_is_spread() {
    use UpgradeRejectionKind::{
        TooFast, TooManyConnections, TooManyFromPeer, TooManyUnauthenticated,
    };
    for kind in [TooFast, TooManyConnections, TooManyFromPeer, TooManyUnauthenticated] {
        let mut seen = [false; 31];
        for _ in 0..1_000 {
            let rejection = UpgradeRejection::new(kind);
            let response: Response<String> = rejection.into_response(Version::HTTP_11);
            let after = response.headers()[header::RETRY_AFTER].to_str().unwrap();
            seen[after.parse::<usize>().unwrap()] = true;
        }
        assert!(seen[..5].iter().all(|it| !it));
        assert!(seen[5..].iter().all(|it| *it), "a thousand draws leave out one of 26");
    }
}

#[tokio::test]
async fn an_error_of_the_inner_service_stays_its_own() {
    let (endpoint, _) = endpoint();
    let inner = service_fn(async |_: Request<()>| Err::<Response<String>, _>("down"));
    let plain = Request::get("/").body(()).unwrap();
    assert_eq!(
        endpoint.layer("/ws").unwrap().layer(inner).oneshot(plain).await.unwrap_err(),
        "down"
    );
}

#[test]
fn the_layer_fits_a_router() {
    fn fits<T: Clone + Send + Sync + 'static>() {}
    fits::<WebSocketLayer>();
    let layer = endpoint().0.layer_on_every_path();
    let _: axum::Router = axum::Router::new()
        .route("/", axum::routing::get(async || "page"))
        .route_service("/leaf", layer.clone().into_service())
        .layer(layer);
}
