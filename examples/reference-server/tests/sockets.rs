//! The reference server's sockets that are no connection yet, and how it stops.
#![cfg(test)]

use std::{io, net::SocketAddr, time::Duration};

use test_support::program::{Peer, Program, page, socket_from, status};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

async fn server(args: &[&str]) -> (Program, SocketAddr) {
    let args = [&["--port", "0"], args].concat();
    let mut server = Program::start(SERVER, &args, &[]);
    let addr = server.addr().await;
    (server, addr)
}

fn handshake(addr: SocketAddr) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Asks for a page so many times without reading any of it.
async fn ask_and_never_read(addr: SocketAddr, times: usize) -> TcpStream {
    let mut socket = socket_from(ADA, addr).await.unwrap();
    let request = format!("GET /page.mjs HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    // A server that takes no more of it is as good.
    let requests = request.repeat(times);
    let _ = timeout(Duration::from_millis(500), socket.write_all(requests.as_bytes())).await;
    socket
}

/// Waits until the other side has closed `socket`, of which nothing is read.
async fn is_hung_up_on(socket: &TcpStream) {
    let hung_up = async {
        loop {
            match socket.try_write(b"G") {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                _ => sleep(Duration::from_millis(50)).await,
            }
        }
    };
    timeout(PATIENCE, hung_up).await.expect("it is still served");
}

// covers: HS-31
#[tokio::test]
async fn a_socket_that_asks_and_never_reads_is_hung_up_on() {
    let (_server, addr) = server(&["--http-timeout-ms", "500", "--header-timeout-ms", "500"]).await;
    let mut sockets = Vec::new();
    for times in [20, 40, 80, 120, 160, 240, 400] {
        sockets.push(ask_and_never_read(addr, times).await);
    }
    for socket in &sockets {
        is_hung_up_on(socket).await;
    }
}

// covers: HS-31
#[tokio::test]
async fn a_socket_that_goes_on_asking_is_told_that_an_answer_is_the_last() {
    let (_server, addr) = server(&["--http-timeout-ms", "500"]).await;
    let mut socket = socket_from(ADA, addr).await.unwrap();
    let request = format!("GET /icon.svg HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    let mut answers = Vec::new();
    let asking = async {
        let (mut reader, mut writer) = socket.split();
        let ask = async {
            while writer.write_all(request.as_bytes()).await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::join!(ask, reader.read_to_end(&mut answers));
    };
    timeout(PATIENCE, asking).await.expect("it may ask for ever");
    let answers = String::from_utf8_lossy(&answers).into_owned();
    assert!(answers.starts_with("HTTP/1.1 200 "), "{answers}");
}

// covers: HS-31
#[tokio::test]
async fn one_address_has_a_share_of_the_sockets_and_no_more() {
    let (_server, addr) = server(&["--header-timeout-ms", "20000"]).await;
    let mut sockets = Vec::new();
    for _ in 0..SHARE + 100 {
        sockets.push(socket_from(ADA, addr).await.unwrap());
    }
    for socket in &sockets[SHARE..] {
        is_hung_up_on(socket).await;
    }
    for socket in &sockets[..SHARE] {
        let error = socket.try_read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
    let mut other = socket_from([127, 0, 0, 2], addr).await.unwrap();
    other.write_all(handshake(addr).as_bytes()).await.unwrap();
    assert_eq!(status(&mut other).await, Some(101));
    drop(sockets);
    // Its share is free again.
    let mut again = loop {
        let mut socket = socket_from(ADA, addr).await.unwrap();
        let _ = socket.write_all(handshake(addr).as_bytes()).await;
        if status(&mut socket).await == Some(101) {
            break socket;
        }
    };
    again.shutdown().await.unwrap();
}

/// A server that is stopping, since it waits for a peer that never answers its close frame.
async fn stopping(
    args: &[&str],
    before: impl AsyncFnOnce(SocketAddr),
) -> (Program, SocketAddr, TcpStream) {
    let (mut server, addr) = server(args).await;
    let mut silent = socket_from(ADA, addr).await.unwrap();
    silent.write_all(handshake(addr).as_bytes()).await.unwrap();
    assert_eq!(status(&mut silent).await, Some(101));
    before(addr).await;
    server.terminate().await;
    server.line_with("\"closing\"").await;
    (server, addr, silent)
}

// covers: HS-36
#[tokio::test]
async fn a_handshake_that_ends_while_the_server_stops_is_refused() {
    let mut late = None;
    let (_server, addr, _silent) = stopping(&[], async |addr| {
        let mut socket = socket_from(ADA, addr).await.unwrap();
        let request = handshake(addr);
        socket.write_all(&request.as_bytes()[..request.len() - 2]).await.unwrap();
        late = Some(socket);
    })
    .await;
    let mut late = late.unwrap();
    late.write_all(b"\r\n").await.unwrap();
    assert_eq!(status(&mut late).await, Some(503));
    // So is one that begins only then.
    let mut later = socket_from([127, 0, 0, 2], addr).await.unwrap();
    later.write_all(handshake(addr).as_bytes()).await.unwrap();
    assert_eq!(status(&mut later).await, Some(503));
}

// covers: HS-36
#[tokio::test]
async fn every_handshake_around_the_stop_is_refused_or_told_goodbye() {
    // The first ping comes at a random moment of its interval.
    let (server, addr) = server(&["--heartbeat-interval-ms", "3600000"]).await;
    let knocking = async {
        let mut connections = Vec::new();
        loop {
            let mut socket = socket_from(ADA, addr).await.unwrap();
            let _ = socket.write_all(handshake(addr).as_bytes()).await;
            match status(&mut socket).await {
                Some(101) => connections.push(socket),
                Some(429) => {}
                Some(503) => return connections,
                other => panic!("{other:?}"),
            }
        }
    };
    let stopping = async {
        sleep(Duration::from_millis(50)).await;
        server.terminate().await;
    };
    let knocked = timeout(PATIENCE, async { tokio::join!(knocking, stopping) }).await;
    let (connections, ()) = knocked.expect("it never stops");
    assert!(!connections.is_empty());
    for mut socket in connections {
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, socket.read_to_end(&mut rest)).await.expect("left open");
        assert!(rest.starts_with(&GOING_AWAY), "{rest:?}");
    }
}

#[tokio::test]
async fn sockets_that_say_nothing_do_not_hold_up_the_stop() {
    let (mut server, addr) = server(&["--header-timeout-ms", "600000"]).await;
    let mut fresh = socket_from(ADA, addr).await.unwrap();
    let mut kept = socket_from(ADA, addr).await.unwrap();
    let request = format!("GET /icon.svg HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    kept.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(status(&mut kept).await, Some(200));
    // Later than those, so that they were accepted.
    assert!(page(addr, "/").await.contains("<!doctype html>"));
    server.terminate().await;
    let mut rest = Vec::new();
    for socket in [&mut fresh, &mut kept] {
        let _ = timeout(PATIENCE, socket.read_to_end(&mut rest)).await.expect("left open");
    }
    assert!(server.exit().await.success());
}

// covers: HS-36
#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (mut server, _, mut silent) = stopping(&[], async |_| {}).await;
    server.terminate().await;
    server.line_with("asked twice").await;
    assert!(!server.exit().await.success());
    // It was told the first time.
    let mut heard = Vec::new();
    let _ = timeout(PATIENCE, silent.read_to_end(&mut heard)).await.expect("left open");
    assert!(heard.starts_with(&GOING_AWAY), "{heard:?}");
}

#[tokio::test]
async fn ctrl_c_stops_as_a_termination_does() {
    let (mut server, addr) = server(&[]).await;
    let mut ada = Peer::join(addr, "dev-token:ada", "den").await;
    server.signal("INT").await;
    assert_eq!(ada.closed().await, (1001, "going away".to_owned()));
    drop(ada);
    assert!(server.exit().await.success());
}

/// A close frame with 1001.
const GOING_AWAY: [u8; 4] = [0x88, 12, 0x03, 0xe9];

/// What one address may have of the sockets that are still HTTP.
const SHARE: usize = 512;

const ADA: [u8; 4] = [127, 0, 0, 1];

const PATIENCE: Duration = Duration::from_secs(20);

/// The built server.
const SERVER: &str = env!("CARGO_BIN_EXE_reference-server");
