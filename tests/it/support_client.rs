//! A client that writes frames byte by byte, and reads what no decoder has touched.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split},
    time::timeout,
};

use test_support::http::handshake;
pub(crate) use tower_websocket::testing::wire::{frame, masked};

/// Either end of whatever carries a connection.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// One end of an open connection. The runtime's clock must be paused: it then jumps to the end of
/// any wait in vain, and no wait in vain takes time.
pub(crate) struct TestClient {
    reader: ReadHalf<Box<dyn Io>>,
    writer: WriteHalf<Box<dyn Io>>,
    /// Read, and not asked for yet.
    read: Vec<u8>,
    ended: Option<End>,
}

/// How the server hung up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Clean,
    Reset,
}

/// A frame of the server's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl TestClient {
    /// Performs the handshake on `io`.
    pub(crate) async fn open(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let (reader, writer) = split(Box::new(io) as Box<dyn Io>);
        let mut client = Self { reader, writer, read: Vec::new(), ended: None };
        client.send(handshake()).await;
        let end = loop {
            if let Some(at) = client.read.windows(4).position(|it| it == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(client.fill().await, "no answer to the handshake");
        };
        assert!(client.read.starts_with(b"HTTP/1.1 101 "), "{:?}", client.read);
        client.read.drain(..end);
        client
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.unwrap();
    }

    /// Like [`send`](Self::send), to a server that may have hung up.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        timeout(PATIENCE, self.writer.write_all(bytes.as_ref())).await.expect("nobody reads")
    }

    pub(crate) async fn send_text(&mut self, message: &str) {
        self.send(text(message)).await;
    }

    /// Sends no more, and goes on reading.
    pub(crate) async fn half_close(&mut self) {
        self.writer.shutdown().await.unwrap();
    }

    /// Writes `chunk` up to `times` times, until the server takes no more, and reads meanwhile.
    /// Returns how many chunks it took.
    pub(crate) async fn flood(&mut self, chunk: &[u8], times: usize) -> usize {
        let Self { reader, writer, read, ended } = self;
        let write = async {
            for sent in 0..times {
                if writer.write_all(chunk).await.is_err() {
                    return sent;
                }
            }
            times
        };
        let mut write = std::pin::pin!(write);
        loop {
            tokio::select! {
                sent = &mut write => return sent,
                result = reader.read_buf(read), if ended.is_none() => match result {
                    Ok(0) => *ended = Some(End::Clean),
                    Ok(_) => {}
                    Err(_) => *ended = Some(End::Reset),
                },
            }
        }
    }

    /// The next frame; `None` if the server hung up.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            // A server's frames are neither masked nor in parts, nor is any bit of them reserved.
            if let Some((opcode, payload, rest)) = tower_websocket::testing::wire::parse(&self.read)
            {
                let frame = Frame { opcode, payload: payload.to_vec() };
                self.read = rest.to_vec();
                return Some(frame);
            }
            if !self.fill().await {
                assert!(self.read.is_empty(), "half a frame: {:?}", self.read);
                return None;
            }
        }
    }

    pub(crate) async fn assert_text(&mut self, expected: &str) {
        let frame = self.next().await.expect("the server hung up");
        assert_eq!((frame.opcode, &*frame.payload), (TEXT, expected.as_bytes()));
    }

    /// The next frame is a JSON text of this `type`.
    pub(crate) async fn assert_reply(&mut self, kind: &str) -> Value {
        let frame = self.next().await.expect("the server hung up");
        assert_eq!(frame.opcode, TEXT, "{frame:?}");
        let value: Value = serde_json::from_slice(&frame.payload).unwrap();
        assert_eq!(value["type"], kind, "{value}");
        value
    }

    /// The next frame is a pong with this payload.
    pub(crate) async fn assert_pong(&mut self, payload: &[u8]) {
        let frame = self.next().await.expect("the server hung up");
        assert_eq!((frame.opcode, &*frame.payload), (PONG, payload));
    }

    /// The payload of the next frame, which is a ping.
    pub(crate) async fn assert_ping(&mut self) -> Vec<u8> {
        let frame = self.next().await.expect("the server hung up");
        assert_eq!(frame.opcode, PING, "{frame:?}");
        frame.payload
    }

    /// The next frame is a close frame with `code`, and the last one. Returns the reason.
    pub(crate) async fn assert_closed(&mut self, code: u16) -> String {
        let frame = self.next().await.expect("hung up without a close frame");
        self.assert_was_close(&frame, code).await
    }

    /// The same behind whatever the peer gets before it is closed.
    pub(crate) async fn closed_after_replies(&mut self, code: u16) -> String {
        let frame = loop {
            let frame = self.next().await.expect("hung up without a close frame");
            if frame.opcode == CLOSE {
                break frame;
            }
        };
        self.assert_was_close(&frame, code).await
    }

    /// `frame` is a close frame with `code`, and behind it there is nothing but the end of the stream.
    pub(crate) async fn assert_was_close(&mut self, frame: &Frame, code: u16) -> String {
        assert_eq!(frame.opcode, CLOSE, "{frame:?}");
        let (sent, reason) = frame.payload.split_first_chunk().expect("a close frame with a code");
        assert_eq!(u16::from_be_bytes(*sent), code, "{frame:?}");
        self.assert_eof().await;
        String::from_utf8(reason.to_vec()).unwrap()
    }

    /// The server hangs up in good order, without another byte.
    pub(crate) async fn assert_eof(&mut self) {
        while self.fill().await {}
        assert_eq!(self.read, b"");
        assert_eq!(self.ended, Some(End::Clean));
    }

    /// The server has nothing to say for a while, and does not hang up.
    pub(crate) async fn assert_silent(&mut self) {
        let heard = timeout(Duration::from_millis(200), self.next()).await;
        assert!(heard.is_err(), "{heard:?}");
        assert_eq!(self.read, b"");
    }

    /// Reads more; `false` at the end of the stream.
    async fn fill(&mut self) -> bool {
        if self.ended.is_none() {
            let read = self.reader.read_buf(&mut self.read);
            self.ended =
                match patiently(read).await.expect("the server neither answers nor hangs up") {
                    Ok(0) => Some(End::Clean),
                    Ok(_) => return true,
                    Err(_) => Some(End::Reset),
                };
        }
        false
    }
}

/// What comes of `read` within [`PATIENCE`] of the paused clock, which may be at once, and then within a few
/// seconds of the real one: a kernel that is short of memory holds an end back until it sends once more what
/// was not acknowledged.
async fn patiently<T>(read: impl Future<Output = T>) -> Option<T> {
    let mut read = std::pin::pin!(read);
    if let Ok(done) = timeout(PATIENCE, &mut read).await {
        return Some(done);
    }
    for _ in 0..100 {
        // As long as there is blocking work, the clock stands still.
        let moment = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(20)));
        tokio::select! {
            done = &mut read => return Some(done),
            _ = moment => {}
        }
    }
    None
}

/// A text message in one frame.
pub(crate) fn text(message: &str) -> Vec<u8> {
    frame(0x80 | TEXT, message)
}

/// A close frame with `code`.
pub(crate) fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(0x80 | CLOSE, [&code.to_be_bytes(), reason].concat())
}

/// Bytes in the notation of the attack catalogue: hex, and `K` for the mask key of zeros.
pub(crate) fn wire(notation: &str) -> Vec<u8> {
    let digits: Vec<u8> = notation
        .replace('K', "00000000")
        .chars()
        .filter(|it| !it.is_whitespace())
        .map(|it| it.to_digit(16).unwrap() as u8)
        .collect();
    let (pairs, []) = digits.as_chunks() else { panic!("half a byte: {notation}") };
    pairs.iter().map(|[high, low]| high << 4 | low).collect()
}

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;

/// Longer than anything that a test waits for. It passes at once: the clock is paused.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60 * 60);
