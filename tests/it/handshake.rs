//! What becomes of a handshake, byte for byte, on a real socket.

use axum::routing::get;

use test_support::{
    http::{HttpServer, handshake, handshake_with},
    slow_peer::{TEXT_ECHO, TEXT_FRAME},
};

/// Refused with `status`: the server hangs up after one fixed text, and no connection came of it.
async fn assert_refused(server: &HttpServer, name: &str, request: &str, status: u16) {
    let (head, mut client) = server.send(request).await;
    assert_eq!(head.status, status, "{name}");
    client.try_send(TEXT_FRAME).await;
    let body = client.until_eof().await;
    let length: usize = head.header("content-length").unwrap().parse().unwrap();
    assert_eq!(body.len(), length, "{name}: {body:?}");
    assert_eq!(server.audit.connected(), 0, "{name}");
}

#[tokio::test]
async fn a_handshake_opens_a_connection() {
    let server = HttpServer::start().await;
    let (head, mut client) = server.send(handshake()).await;
    assert_eq!(head.status, 101);
    assert_eq!(head.header("upgrade"), Some("websocket"));
    assert_eq!(head.header("connection"), Some("upgrade"));
    assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    client.assert_echo().await;
    assert_eq!(server.audit.connected(), 1);
    assert!(server.audit.refused().is_empty());
}

#[tokio::test]
async fn ordinary_requests_reach_the_inner_service_and_an_upgrade_may_follow() {
    let server = HttpServer::start().await;
    let mut client = server.connect().await;
    for target in ["/", "/ws", "/ws?token=1"] {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: app.example\r\n\r\n")).await;
        assert_eq!(client.head().await.status, 404);
        assert_eq!(client.take(5).await, b"inner");
    }
    client.send(handshake()).await;
    assert_eq!(client.head().await.status, 101);
    client.assert_echo().await;
}

#[tokio::test]
async fn axum_takes_the_endpoint_as_a_layer_and_as_a_route() {
    let server = HttpServer::start_axum(|endpoint| {
        let layer = endpoint.layer("/ws").unwrap().also("/leaf").unwrap();
        axum::Router::new()
            .route("/", get(async || "page"))
            .route_service("/leaf", layer.clone().into_service())
            .layer(layer)
    })
    .await;
    for target in ["/ws", "/leaf"] {
        let (head, mut client) = server.send(handshake().replace("/ws", target)).await;
        assert_eq!(head.status, 101, "{target}");
        client.assert_echo().await;
    }
    for (target, status) in [("/", 200), ("/ws", 404), ("/leaf", 426), ("/other", 404)] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: app.example\r\n\r\n");
        assert_eq!(server.send(request).await.0.status, status, "{target}");
    }
}

// covers: HS-01
// holds: I1
#[tokio::test]
async fn a_refused_upgrade_yields_no_connection() {
    let server = HttpServer::start().await;
    let refused = handshake_with("Connection", &["Upgrade, close"])
        .replace("https://app.example", "https://evil.example");
    assert_refused(&server, "with Connection: Upgrade, close", &refused, 403).await;
    let refused = handshake_with("Origin", &["https://evil.example"]);
    assert_refused(&server, "with Connection: Upgrade", &refused, 403).await;
    assert_eq!(server.audit.refused(), ["origin.not_trusted"; 2]);
}

// covers: HS-01
#[tokio::test]
async fn an_accepted_upgrade_survives_connection_close() {
    let server = HttpServer::start().await;
    let (head, mut client) = server.send(handshake_with("Connection", &["Upgrade, close"])).await;
    assert_eq!(head.status, 101);
    client.assert_echo().await;
}

// covers: HS-02
#[tokio::test]
async fn an_upgrade_without_a_websocket_handshake_is_refused() {
    let server = HttpServer::start().await;
    let http_10 = handshake().replace("HTTP/1.1", "HTTP/1.0");
    let post = "POST /ws HTTP/1.1\r\nHost: app.example\r\nUpgrade: websocket\r\n\r\n";
    let connect = "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n";
    let cases = [
        ("POST with only Upgrade", post, 405),
        ("Upgrade: h2c", &handshake_with("Upgrade", &["h2c"]), 400),
        ("CONNECT", connect, 405),
        ("no Connection", &handshake_with("Connection", &[]), 400),
        ("no key", &handshake_with("Sec-WebSocket-Key", &[]), 400),
        ("HTTP/1.0", &http_10, 400),
    ];
    for (name, request, status) in cases {
        assert_refused(&server, name, request, status).await;
    }
    assert_eq!(server.audit.refused().len(), cases.len());
}

// covers: HS-03
#[tokio::test]
async fn a_body_is_neither_read_nor_taken_for_frames() {
    let server = HttpServer::start().await;
    for (name, value) in [
        ("Content-Length", "1000000"),
        ("Transfer-Encoding", "chunked"),
        ("Expect", "100-continue"),
    ] {
        let (head, mut client) = {
            let mut client = server.connect().await;
            let mut request = handshake_with(name, &[value]).into_bytes();
            // A frame of 22 bytes as the first part of the body, and one after it.
            request.extend_from_slice(b"\x81\x90\0\0\0\0{\"type\": \"ping\"}");
            client.send(request).await;
            (client.head().await, client)
        };
        assert_eq!(head.status, 400, "{name}");
        assert_eq!(head.header("connection"), Some("close"), "{name}");
        client.try_send(TEXT_FRAME).await;
        assert_eq!(client.until_eof().await, b"no body allowed\n", "{name}");
    }
    assert_eq!(server.audit.connected(), 0);
    assert_eq!(server.audit.refused(), ["handshake.body"; 3]);
    let (head, _) = server.send(handshake_with("Content-Length", &["0"])).await;
    assert_eq!(head.status, 101);
}

// covers: HS-12
#[tokio::test]
async fn another_version_is_answered_with_the_supported_one() {
    let server = HttpServer::start().await;
    let cases: [(&[&str], u16); 5] =
        [(&["8"], 426), (&["0"], 426), (&["13, 8"], 426), (&[], 400), (&["13", "13"], 400)];
    for (values, status) in cases {
        let request = handshake_with("Sec-WebSocket-Version", values);
        let (head, _) = server.send(&request).await;
        let offered = (status == 426).then_some("13");
        assert_eq!(head.header("sec-websocket-version"), offered, "{values:?}");
        assert_refused(&server, &format!("{values:?}"), &request, status).await;
    }
}

// covers: HS-13
#[tokio::test]
async fn a_bad_key_is_refused() {
    let server = HttpServer::start().await;
    let good = "dGhlIHNhbXBsZSBub25jZQ==";
    let cases: [&[&str]; 8] = [
        &[],
        &[""],
        &["AAAAAAAAAAAAAAAAAAAA"],
        &["AAAAAAAAAAAAAAAAAAAAAAA="],
        &["!!!!!!!!!!!!!!!!!!!!!!=="],
        &["dGhlIHNhbXBsZSBub25jZR=="],
        &["-_hlIHNhbXBsZSBub25jZQ=="],
        &[good, good],
    ];
    for values in cases {
        let request = handshake_with("Sec-WebSocket-Key", values);
        assert_refused(&server, &format!("{values:?}"), &request, 400).await;
    }
    assert_eq!(server.audit.refused(), ["handshake.key"; 8]);
}

// covers: HS-14
#[tokio::test]
async fn connection_and_upgrade_are_read_by_token() {
    let server = HttpServer::start().await;
    let refused: [(&str, &[&str]); 3] = [
        ("Connection", &["not-upgrade"]),
        ("Connection", &["\"upgrade\""]),
        ("Upgrade", &["websocketx"]),
    ];
    for (name, values) in refused {
        let request = handshake_with(name, values);
        assert_refused(&server, &format!("{values:?}"), &request, 400).await;
    }
    for values in [&["keep-alive, Upgrade"][..], &["upgrade"], &["keep-alive", "Upgrade"]] {
        let (head, mut client) = server.send(handshake_with("Connection", values)).await;
        assert_eq!(head.status, 101, "{values:?}");
        client.assert_echo().await;
    }
}

// covers: HS-14, P2-22
#[tokio::test]
async fn what_else_is_offered_beside_a_websocket_is_not_taken() {
    let server = HttpServer::start().await;
    for values in [&["websocket, h2c"][..], &["h2c", "WebSocket"]] {
        let (head, mut client) = server.send(handshake_with("Upgrade", values)).await;
        assert_eq!(head.status, 101, "{values:?}");
        assert_eq!(head.header("upgrade"), Some("websocket"));
        client.assert_echo().await;
    }
}

// covers: P2-22
#[tokio::test]
async fn an_ordinary_request_that_offers_http2_is_answered_and_never_upgraded() {
    let server = HttpServer::start().await;
    let offers = [
        // curl --http2, Java's client.
        "HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
        // No request of HTTP/1.0 is upgraded, whatever it offers.
        "HTTP/1.0\r\nHost: app.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ];
    for offer in offers {
        let (head, mut client) = server.send(format!("GET /ws {offer}")).await;
        assert_eq!(head.status, 404, "{offer}");
        assert_eq!(client.take(5).await, b"inner");
    }
    assert!(server.audit.refused().is_empty());
    assert_eq!(server.audit.connected(), 0);
}

// covers: HS-16
#[tokio::test]
async fn there_is_exactly_one_host() {
    let server = HttpServer::start().await;
    for values in [&[][..], &["app.example", "app.example"], &["app.example", "evil.example"]] {
        let request = handshake_with("Host", values);
        assert_refused(&server, &format!("{values:?}"), &request, 400).await;
    }
}

// covers: HS-16
#[tokio::test]
async fn bare_line_feeds_end_header_lines_as_hyper_has_it() {
    let server = HttpServer::start().await;
    let (head, mut client) = server.send(handshake().replace("\r\n", "\n")).await;
    assert_eq!(head.status, 101);
    client.assert_echo().await;
}

// covers: HS-19
#[tokio::test]
async fn no_extension_is_ever_negotiated() {
    let server = HttpServer::start().await;
    let thousand = vec!["permessage-deflate"; 1_000].join(", ");
    for offer in ["permessage-deflate; server_max_window_bits=99", &thousand, "a;=\"", ";,;"] {
        let (head, mut client) =
            server.send(handshake_with("Sec-WebSocket-Extensions", &[offer])).await;
        assert_eq!(head.status, 101);
        assert_eq!(head.header("sec-websocket-extensions"), None);
        client.assert_echo().await;
    }
}

// covers: HS-18
#[tokio::test]
async fn no_subprotocol_is_ever_chosen() {
    let server = HttpServer::start().await;
    let spaces = format!("chat{}, chat", " ".repeat(8_000));
    for offers in
        [&["chat"][..], &["bearer.SECRET"], &["chat", "chat"], &["a \"b\",,;"], &[&spaces]]
    {
        let request = handshake_with("Sec-WebSocket-Protocol", offers);
        let (head, mut client) = server.send(request).await;
        assert_eq!(head.status, 101);
        assert_eq!(head.header("sec-websocket-protocol"), None);
        client.assert_echo().await;
    }
}

// covers: HS-17
#[tokio::test]
async fn a_flood_of_headers_ends_before_it_is_a_handshake() {
    let server = HttpServer::start().await;
    for _ in 0..2 {
        let flood = handshake_with("X-Flood", &["x"; 2_000]);
        let (head, mut client) = server.send(flood).await;
        assert_eq!(head.status, 431);
        client.until_eof().await;
    }
    assert_eq!(server.audit.connected(), 0);
    let (head, mut client) = server.send(handshake()).await;
    assert_eq!(head.status, 101);
    client.assert_echo().await;
}

// covers: HS-20
#[tokio::test]
async fn a_frame_in_the_segment_of_the_handshake_is_handled_after_a_101_only() {
    let server = HttpServer::start().await;
    let mut refused = handshake_with("Origin", &["null"]).into_bytes();
    refused.extend_from_slice(TEXT_FRAME);
    let (head, mut client) = server.send(refused).await;
    assert_eq!(head.status, 403);
    assert_eq!(client.until_eof().await, b"origin not allowed\n");
    assert_eq!(server.audit.connected(), 0);

    let mut accepted = handshake().into_bytes();
    accepted.extend_from_slice(TEXT_FRAME);
    let (head, mut client) = server.send(accepted).await;
    assert_eq!(head.status, 101);
    assert_eq!(client.take(TEXT_ECHO.len()).await, TEXT_ECHO);
}

// covers: P2-10
#[tokio::test]
async fn every_refusal_has_the_same_shape() {
    let server = HttpServer::start().await;
    let with_token = handshake().replace("/ws", "/ws?token=x");
    let cases = [
        ("400", handshake_with("Connection", &[]), "connection: upgrade expected\n"),
        ("400", with_token, "no credentials in the url\n"),
        ("403", handshake_with("Origin", &["null"]), "origin not allowed\n"),
        ("405", handshake().replace("GET", "PUT"), "method not allowed\n"),
        ("426", handshake_with("Sec-WebSocket-Version", &["8"]), "websocket version 13 expected\n"),
    ];
    for (status, request, body) in cases {
        let (head, mut client) = server.send(request).await;
        assert_eq!(head.status.to_string(), status);
        assert_eq!(head.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(head.header("cache-control"), Some("no-store"));
        assert_eq!(head.header("sec-websocket-accept"), None);
        // Where `Upgrade` is sent it is listed in `Connection` (RFC 9110 §7.8).
        let (connection, upgrade) = match head.status {
            426 => ("close, upgrade", Some("websocket")),
            _ => ("close", None),
        };
        assert_eq!(head.header("connection"), Some(connection));
        assert_eq!(head.header("upgrade"), upgrade);
        assert_eq!(head.header("allow"), (head.status == 405).then_some("GET"));
        assert_eq!(client.until_eof().await, body.as_bytes());
    }
}

// covers: P2-12
#[tokio::test]
async fn only_the_exact_path_is_the_endpoints() {
    let server = HttpServer::start().await;
    let plain = handshake_with("Origin", &["http://app.example"]);
    for target in ["/ws/", "/ws%2f", "//ws", "/%77s", "/WS", "/x/../ws", "http://app.example/ws/"] {
        let (head, mut client) = server.send(plain.replace("/ws", target)).await;
        assert_eq!(head.status, 404, "{target}");
        assert_eq!(client.take(5).await, b"inner", "{target}");
    }
    let (head, mut client) = server.send(plain.replace("/ws", "http://app.example/ws")).await;
    assert_eq!(head.status, 101);
    client.assert_echo().await;
}
