//! What the header of a frame may cost in memory, whatever it announces.
//!
//! A binary of its own: the allocator counts the process.
#![cfg(test)]
#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::convert::Infallible;

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::TokioIo;
use peak_alloc::PeakAlloc;
use test_support::turns::alone;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tower::{ServiceExt, service_fn};
use tower_layer::{Identity, Layer};
use tower_websocket::{Anonymous, Close, Inbound, Message, Reply, WebSocketEndpoint};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A connection to an echo, which has been used once: what is allocated once is there.
async fn connect() -> DuplexStream {
    let (mut client, server) = duplex(4096);
    let echo = service_fn(async |inbound: Inbound<Message, Anonymous>| {
        Ok::<_, Close>(Reply::one(inbound.message))
    });
    let layer = WebSocketEndpoint::new(Identity::new(), echo).allow_anonymous();
    let inner =
        service_fn(async |_: Request<Incoming>| Ok::<_, Infallible>(Response::new(String::new())));
    let service = layer.layer_on_every_path().layer(inner);
    let service = hyper::service::service_fn(move |request| service.clone().oneshot(request));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(server), service);
    tokio::spawn(async { drop(connection.with_upgrades().await) });
    client.write_all(HANDSHAKE).await.expect("the server is there");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(client.read_u8().await.expect("an answer"));
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    client.write_all(b"\x81\x82\0\0\0\0{}").await.expect("the server is there");
    let mut echoed = [0; 4];
    client.read_exact(&mut echoed).await.expect("an echo");
    assert_eq!(&echoed, b"\x81\x02{}");
    client
}

// covers: FR-02
// holds: I3
#[test]
fn a_header_allocates_nothing_for_what_it_announces() {
    alone(async {
        let cases: [(&str, &[u8], u16); 3] = [
            ("32 TiB", b"\x82\xff\0\0\x20\0\0\0\0\0\0\0\0\0", 1009),
            ("all ones", b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 1002),
            ("16 MiB", b"\x82\xff\0\0\0\0\x01\0\0\0\0\0\0\0", 1009),
        ];
        let mut answer = Vec::with_capacity(1024);
        for (name, header, code) in cases {
            let mut client = connect().await;
            answer.clear();
            let before = ALLOCATOR.current_usage();
            ALLOCATOR.reset_peak_usage();
            client.write_all(header).await.expect("the server is there");
            client.read_to_end(&mut answer).await.expect("a close frame");
            let peak = ALLOCATOR.peak_usage().saturating_sub(before);
            assert_eq!(answer[2..4], code.to_be_bytes(), "{name}");
            // A close frame, an audit record, and the wheels of a timer.
            assert!(peak <= 4 * 1024, "{name}: {peak} bytes");
        }
    });
}

// covers: FR-32
#[test]
fn random_frames_hold_no_more_than_the_limits_say() {
    alone(async {
        const LIMIT: usize = 64 * 1024;
        for seed in 0..500 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut stream = Vec::new();
            while random.u8(..) > 8 {
                // Mostly headers that a server takes, so that something comes of them.
                let first = random.choice([0x01, 0x02, 0x00, 0x80, 0x81, 0x82, 0x89, 0x8a, 0xff]);
                let length = random.choice([0_u16, 1, 125, 126, 4_000, 60_000, 65_535]);
                let (first, length) = (first.expect("a choice"), length.expect("a choice"));
                stream.push(first);
                if length < 126 {
                    stream.push(0x80 | length as u8);
                } else {
                    stream.push(0xfe);
                    stream.extend(length.to_be_bytes());
                }
                let payload = random.usize(..=usize::from(length));
                let whole = random.bool();
                let fill = if whole { usize::from(length) } else { payload };
                stream.extend([0; 4]);
                stream.resize(stream.len() + fill, b'a');
            }
            let client = connect().await;
            let (mut reader, mut writer) = tokio::io::split(client);
            let mut answer = [0; 4096];
            let before = ALLOCATOR.current_usage();
            ALLOCATOR.reset_peak_usage();
            let write = async {
                // The server may hang up.
                let _ = writer.write_all(&stream).await;
                let _ = writer.shutdown().await;
            };
            let read = async { while reader.read(&mut answer).await.is_ok_and(|size| size > 0) {} };
            tokio::join!(write, read);
            let peak = ALLOCATOR.peak_usage().saturating_sub(before);
            // One message being read, one being answered, and buffers for either.
            assert!(peak <= 4 * LIMIT + 128 * 1024, "{seed}: {peak} bytes");
        }
    });
}
