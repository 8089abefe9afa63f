//! How a connection ends: by the peer, by the server, by both, and what the peer gets to see of it.

use std::{
    io::{Read, Write},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};
use tower_websocket::{AuditEvent, Close, InvalidClose, Retry};

use test_support::{
    echo::endpoint,
    http::handshake,
    recorder::Recorder,
    slow_peer::{TEXT_ECHO, TEXT_FRAME},
};

use super::{
    support::{TestServer, quiet},
    support_client::{CLOSE, close, frame, text, wire},
};

const T_CLOSE: Duration = Duration::from_secs(5);
const MIB: usize = 1024 * 1024;

/// Steps 1, 2, 3 and 6 of the procedure that every refusal follows.
#[tokio::test(start_paused = true)]
async fn a_connection_that_failed_hands_nothing_on_and_says_so_once() {
    let server = TestServer::echo(quiet()).await;
    let mut client = server.connect().await;
    let start = Instant::now();
    let secret = text("SECRET");
    client.send_text("before").await;
    client.assert_text("before").await;
    // What stands behind the violation was read together with it.
    client.send([&*wire("c1"), &secret, &frame(0x89, "SECRET")].concat()).await;
    assert_eq!(client.assert_closed(1002).await, "protocol error");
    // The write half is shut at once, not when the server has heard enough.
    assert_eq!(start.elapsed(), Duration::ZERO);

    client.send([secret, close(1000, b"SECRET")].concat()).await;
    client.assert_eof().await;
    assert_eq!(server.probe.calls(), 1);
    drop(client);
    let closed = server.closed(0).await;
    assert_eq!((closed.rule, closed.intended_code), ("protocol", Some(1002)));
    assert!(closed.flushed);
    assert_eq!(server.closed_count(), 1);
    assert!(!format!("{:?}", server.audit.records()).contains("SECRET"));
}

/// Steps 4 and 5: as long as the time lasts.
#[tokio::test(start_paused = true)]
async fn a_connection_that_failed_is_heard_out_for_a_time() {
    let server = TestServer::echo(quiet()).await;
    let mut client = server.connect().await;
    let start = Instant::now();
    client.send(wire("c1")).await;
    client.assert_closed(1002).await;
    // Nothing the peer does moves the end.
    for _ in 0..4 {
        sleep(Duration::from_secs(1)).await;
        client.send(frame(0x89, "")).await;
        assert_eq!(server.closed_count(), 0);
    }
    let closed = server.closed(0).await;
    assert_eq!((closed.duration, start.elapsed()), (T_CLOSE, T_CLOSE));
    assert_eq!(server.probe.calls(), 0);
    // The socket is gone: what comes now is answered with a reset.
    assert!(client.flood(&[0; 1024], 1_000_000).await < 1_000_000);
}

/// Steps 4 and 5: as much as fits.
#[tokio::test(start_paused = true)]
async fn a_connection_that_failed_is_heard_out_up_to_a_size() {
    let server = TestServer::echo(quiet()).await;
    let mut client = server.connect().await;
    client.send(wire("c1")).await;
    assert_eq!(client.flood(&[0; MIB], 15).await, 15);
    client.assert_closed(1002).await;
    assert_eq!(server.closed_count(), 0);
    assert!(client.flood(&[0; MIB], 100).await < 100);
    let closed = server.closed(0).await;
    assert_eq!(closed.duration, Duration::ZERO);
    let heard = 16 * MIB as u64;
    assert!((heard..heard + MIB as u64).contains(&closed.bytes_in), "{}", closed.bytes_in);
}

// covers: FR-25
#[tokio::test(start_paused = true)]
async fn a_close_frame_is_answered_with_its_code_if_that_is_legal() {
    let mut cases: Vec<(Vec<u8>, Option<u16>, u16)> = Vec::new();
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        cases.push((close(code, b""), Some(code), 1002));
        cases.push((close(code, b"because"), Some(code), 1002));
    }
    for code in (1000..=1003).chain(1007..=1013).chain([3000, 4000, 4999]) {
        cases.push((close(code, b"because"), Some(code), code));
    }
    // The engine's own rule, which is stricter than the registry of codes.
    cases.push((close(1014, b""), Some(1014), 1002));
    cases.push((wire("88 81 K 03"), None, 1002));
    cases.push((wire("88 83 K 03e8 ff"), Some(1000), 1007));
    let server = TestServer::echo(quiet()).await;
    for (nth, (stimulus, received, answered)) in cases.into_iter().enumerate() {
        let mut client = server.connect().await;
        client.send(&stimulus).await;
        client.assert_closed(answered).await;
        drop(client);
        let closed = server.closed(nth).await;
        assert_eq!(closed.received_code, received, "{stimulus:x?}: {closed:?}");
        assert_eq!(closed.intended_code, Some(answered), "{stimulus:x?}: {closed:?}");
        assert!(closed.flushed);
    }
}

// covers: FR-25
#[tokio::test(start_paused = true)]
async fn a_close_frame_without_a_code_is_answered_in_kind() {
    let server = TestServer::echo(quiet()).await;
    let mut client = server.connect().await;
    client.send(frame(0x88, "")).await;
    let answer = client.next().await.unwrap();
    assert_eq!((answer.opcode, &*answer.payload), (CLOSE, &b""[..]));
    client.assert_eof().await;
    let closed = server.closed(0).await;
    assert_eq!((closed.rule, closed.received_code), ("peer_closed", None));
    assert_eq!((closed.intended_code, closed.flushed), (None, true));
}

// covers: FR-28
#[tokio::test(start_paused = true)]
async fn what_stands_behind_the_peers_close_is_never_handled() {
    let server = TestServer::echo(quiet()).await;
    let mut client = server.connect().await;
    client.send([wire("88 82 K 03e8"), wire("81 82 K 7b7d"), wire("89 80 K")].concat()).await;
    client.assert_closed(1000).await;
    let closed = server.closed(0).await;
    assert_eq!((closed.received_code, closed.messages_in), (Some(1000), 0));
    assert_eq!(server.probe.calls(), 0);
}

// covers: FR-29
#[tokio::test(start_paused = true)]
async fn the_application_can_send_only_what_may_be_sent() {
    for code in [1004, 1005, 1006, 1015, 0, 999, 1016, 5000] {
        let made = Close::application(code, "", Retry::Stop);
        assert_eq!(made, Err(InvalidClose::Code(code)));
    }
    for long in [124, 200] {
        let text: &'static str = "x".repeat(long).leak();
        let made = Close::application(4000, text, Retry::Stop);
        assert_eq!(made, Err(InvalidClose::ReasonTooLong(long)));
    }
    // A character across the boundary is refused with the rest, not cut in half.
    let across: &'static str = format!("{}🦀", "x".repeat(121)).leak();
    assert!(Close::application(4000, across, Retry::Stop).is_err());

    let server = TestServer::echo(quiet()).await;
    let longest: &'static str = format!("{}🦀", "x".repeat(119)).leak();
    for (nth, (code, reason)) in [(4000, longest), (4999, "")].into_iter().enumerate() {
        let mut client = server.connect().await;
        let reason_given = Close::application(code, reason, Retry::Stop).unwrap();
        server.probe.connection(nth).close(reason_given);
        assert_eq!(client.assert_closed(code).await, reason);
    }
}

// covers: P2-07
#[tokio::test(start_paused = true)]
async fn a_clean_close_is_answered_once_and_the_server_hangs_up() {
    let server = TestServer::echo(quiet()).await;
    for (nth, size) in [0, 1, 123].into_iter().enumerate() {
        let mut client = server.connect().await;
        // Two of them: the second is behind the end.
        client.send(close(1000, "Z".repeat(size).as_bytes()).repeat(2)).await;
        client.assert_closed(1000).await;
        // The client has not hung up: the server was first.
        let closed = server.closed(nth).await;
        assert_eq!((closed.rule, closed.duration), ("peer_closed", Duration::ZERO));
    }
    assert!(!format!("{:?}", server.audit.records()).contains("ZZZ"));
}

// covers: P2-07
#[tokio::test(start_paused = true)]
async fn when_both_close_at_once_each_is_heard_once() {
    let server = TestServer::echo(quiet()).await;
    for (nth, said) in [Close::GOING_AWAY, Close::FORBIDDEN].into_iter().enumerate() {
        let mut client = server.connect().await;
        client.send(close(1000, b"")).await;
        let code = u16::from(said.reason().code().unwrap());
        server.probe.connection(nth).close(said);
        client.assert_closed(code).await;
        drop(client);
        assert_eq!(server.closed(nth).await.intended_code, Some(code));
    }
}

// covers: HS-28
#[test]
fn a_runtime_that_stops_says_1001_to_those_who_read() {
    let audit = Arc::new(Recorder::default());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let addr = runtime.block_on(async {
        let app = axum::Router::new()
            .route_service("/ws", endpoint(Arc::<Recorder>::clone(&audit)).into_service());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, app).await });
        addr
    });
    let mut client = std::net::TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client.write_all(handshake().as_bytes()).unwrap();
    client.write_all(TEXT_FRAME).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(TEXT_ECHO) {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    // All that is left of `axum::serve` with a graceful shutdown: upgraded connections are none of its.
    drop(runtime);
    let mut last = Vec::new();
    client.read_to_end(&mut last).unwrap();
    assert_eq!(last[..4], [0x88, 2 + 10, 0x03, 0xe9], "{last:?}");
    let records = audit.records();
    let Some(AuditEvent::Closed(closed)) = records.last().map(|it| &it.event) else {
        panic!("{records:?}");
    };
    assert_eq!((closed.rule, closed.intended_code, closed.flushed), ("aborted", Some(1001), true));
}
