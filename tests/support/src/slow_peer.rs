//! A peer that reads only when it is told to, and sends what it is told to, legal or not: before the 101 as
//! well as after it.

use std::{
    io,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

pub use tower_websocket::testing::wire::frame;

use crate::head::Head;

/// The client's end of a connection.
pub struct Peer {
    stream: TcpStream,
    read: Vec<u8>,
    line: Option<Line>,
}

/// A line of so many bytes a second.
struct Line {
    rate: u32,
    since: Instant,
    taken: usize,
}

impl Line {
    /// What has come through by now, and is not taken yet.
    async fn allowed(&self) -> usize {
        loop {
            let through = self.since.elapsed().as_secs_f64() * f64::from(self.rate);
            let allowed = (through as usize).saturating_sub(self.taken);
            if allowed >= SEGMENT {
                return allowed;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A frame from the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Frame {
    Data(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    /// The server hung up.
    End,
}

impl Peer {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, read: Vec::new(), line: None }
    }

    /// From here on it reads all the time, but no more than so many bytes in each second of real time.
    pub fn read_slowly(&mut self, rate: u32) {
        self.line = Some(Line { rate, since: Instant::now(), taken: 0 });
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await;
        sent.expect("the server does not read").unwrap();
    }

    /// Like [`send`](Self::send), to a server that may have hung up.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Sends until the server stops reading or hangs up; returns how much it took.
    pub async fn flood(&mut self, bytes: &[u8], times: usize) -> usize {
        let (mut sent, mut refused) = (0, 0);
        while sent < bytes.len() * times && refused < 200 {
            match self.stream.try_write(&bytes[sent % bytes.len()..]) {
                Ok(written) => (sent, refused) = (sent + written, 0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    refused += 1;
                    tokio::task::yield_now().await;
                }
                Err(_) => break,
            }
        }
        sent
    }

    pub async fn text(&mut self, text: &str) {
        self.send(frame(0x81, text)).await;
    }

    /// The next frame.
    pub async fn frame(&mut self) -> Frame {
        loop {
            if let Some((frame, used)) = parse(&self.read) {
                self.read.drain(..used);
                return frame;
            }
            if !self.fill().await {
                return Frame::End;
            }
        }
    }

    /// The next text message; pings and pongs are passed over.
    pub async fn message(&mut self) -> String {
        loop {
            match self.frame().await {
                Frame::Data(data) => return String::from_utf8(data).unwrap(),
                Frame::Ping(_) | Frame::Pong(_) => {}
                other => panic!("no message but {other:?}"),
            }
        }
    }

    /// Whether there is nothing to read after everybody had some turns.
    pub async fn nothing_comes(&mut self) -> bool {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        self.read.is_empty() && self.fill().now_or_never().is_none()
    }

    /// The messages until the connection ends, and the close code.
    pub async fn until_close(&mut self) -> (Vec<String>, Option<u16>) {
        let mut messages = Vec::new();
        loop {
            match self.frame().await {
                Frame::Data(data) => messages.push(String::from_utf8(data).unwrap()),
                Frame::Close(code, _) => return (messages, code),
                Frame::End => return (messages, None),
                Frame::Ping(_) | Frame::Pong(_) => {}
            }
        }
    }

    /// The next thing the peer gets is the end of the connection, with `code`.
    pub async fn assert_closed(&mut self, code: u16) {
        let (messages, closed) = self.until_close().await;
        assert_eq!((messages, closed), (Vec::new(), Some(code)));
    }

    /// Whether the server has hung up, whatever it sends until then.
    pub async fn ended(&mut self) {
        while self.fill().await {
            self.read.clear();
        }
    }

    /// Gives back the memory that reading took.
    pub fn forget(&mut self) {
        assert!(self.read.is_empty());
        self.read = Vec::new();
    }

    /// The head of the next HTTP response.
    pub async fn head(&mut self) -> Head {
        loop {
            if let Some(end) = self.read.windows(4).position(|it| it == b"\r\n\r\n") {
                let rest = self.read.split_off(end + 4);
                return Head::parse(&std::mem::replace(&mut self.read, rest));
            }
            assert!(self.fill().await, "EOF within a head: {:?}", self.read);
        }
    }

    /// The next `count` bytes.
    pub async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(self.fill().await, "EOF after {:?}", self.read);
        }
        let rest = self.read.split_off(count);
        std::mem::replace(&mut self.read, rest)
    }

    /// Everything until the server hangs up, however it does.
    pub async fn until_eof(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.read)
    }

    /// Sends a text message and takes the echo.
    pub async fn assert_echo(&mut self) {
        self.send(TEXT_FRAME).await;
        assert_eq!(self.take(TEXT_ECHO.len()).await, TEXT_ECHO);
    }

    async fn fill(&mut self) -> bool {
        let most = match &self.line {
            Some(line) => line.allowed().await,
            None => usize::MAX,
        };
        let mut stream = (&mut self.stream).take(most as u64);
        let read = timeout(PATIENCE, stream.read_buf(&mut self.read)).await;
        let read = read.expect("the server neither answers nor hangs up").unwrap_or(0);
        if let Some(line) = &mut self.line {
            line.taken += read;
        }
        read > 0
    }
}

/// The half of a peer that throws away what it gets.
pub struct Discarding(tokio::net::tcp::OwnedReadHalf);

/// The half of a peer that sends.
pub struct Sending(tokio::net::tcp::OwnedWriteHalf);

impl Peer {
    pub fn split(self) -> (Discarding, Sending) {
        let (read, write) = self.stream.into_split();
        (Discarding(read), Sending(write))
    }
}

impl Discarding {
    /// Whether there may be more.
    pub async fn discard(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        matches!(self.0.read(&mut bytes).await, Ok(1..))
    }
}

impl Sending {
    /// Whether the server took it.
    pub async fn send_all(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok()
    }
}

fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (length, header) = match *bytes.get(1)? {
        126 => (u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()).into(), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize, 10),
        short => (short.into(), 2),
    };
    let end = header + length;
    let payload = bytes.get(header..end)?.to_vec();
    let frame = match bytes[0] {
        0x81 | 0x82 => Frame::Data(payload),
        0x88 => {
            let code = payload.get(..2).map(|it| u16::from_be_bytes([it[0], it[1]]));
            let text = payload.get(2..).unwrap_or_default().to_vec();
            Frame::Close(code, String::from_utf8(text).unwrap())
        }
        0x89 => Frame::Ping(payload),
        0x8a => Frame::Pong(payload),
        other => panic!("the server sent a frame that begins with {other:#x}"),
    };
    Some((frame, end))
}

/// On the paused clock: longer than any deadline of a test, and no time at all.
pub const PATIENCE: Duration = Duration::from_secs(2_000_000);

/// What a line brings at once.
const SEGMENT: usize = 1448;

/// The text `{}`, masked with zeros.
pub const TEXT_FRAME: &[u8] = b"\x81\x82\0\0\0\0{}";

/// What the echo endpoint answers to it.
pub const TEXT_ECHO: &[u8] = b"\x81\x02{}";
