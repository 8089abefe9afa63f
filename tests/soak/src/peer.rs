//! Speak WebSocket on a bare socket, correctly or not.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// A connection that is open, to the extent that its maker took it.
pub(crate) struct Peer {
    pub(crate) socket: TcpStream,
    input: BytesMut,
}

/// A frame from the server.
pub(crate) struct Frame {
    /// As the constants below: the server sends no fragments.
    pub(crate) first: u8,
    pub(crate) payload: BytesMut,
}

impl Peer {
    /// A socket from one of the many loopback addresses, so that ports suffice.
    ///
    /// A small one lets the kernel take little for a peer that does not read.
    pub(crate) async fn socket(
        source: Ipv4Addr,
        server: SocketAddr,
        small: bool,
    ) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if small {
            socket.set_recv_buffer_size(2048)?;
        }
        socket.bind((source, 0).into())?;
        let socket = timeout(PATIENCE, socket.connect(server)).await??;
        socket.set_nodelay(true)?;
        Ok(Self { socket, input: BytesMut::new() })
    }

    pub(crate) async fn connect(
        source: Ipv4Addr,
        server: SocketAddr,
        small: bool,
    ) -> io::Result<Self> {
        let mut peer = Self::socket(source, server, small).await?;
        let host = server.to_string();
        peer.socket.write_all(REQUEST.replace("HOST", &host).as_bytes()).await?;
        let head = async {
            loop {
                let end = peer.input.windows(4).position(|it| it == b"\r\n\r\n");
                if let Some(end) = end {
                    return Ok::<_, io::Error>(peer.input.split_to(end + 4));
                }
                peer.read().await?;
            }
        };
        let head = timeout(PATIENCE, head).await??;
        if !head.starts_with(b"HTTP/1.1 101 ") {
            let line = String::from_utf8_lossy(head.get(..40).unwrap_or(&head)).into_owned();
            return Err(io::Error::other(line));
        }
        Ok(peer)
    }

    /// Connected and logged in as `name`.
    pub(crate) async fn login(
        source: Ipv4Addr,
        server: SocketAddr,
        small: bool,
        name: &str,
    ) -> io::Result<Self> {
        let mut peer = Self::connect(source, server, small).await?;
        let token = super::TOKEN;
        peer.say(&format!(r#"{{"type":"auth","token":"{token}:{name}"}}"#)).await?;
        peer.hear(r#""type":"auth_ok""#).await?;
        Ok(peer)
    }

    pub(crate) async fn join(&mut self, room: &str) -> io::Result<()> {
        self.say(&format!(r#"{{"type":"join","roomId":"{room}"}}"#)).await?;
        self.hear(r#""type":"joined""#).await
    }

    pub(crate) async fn leave(&mut self, room: &str) -> io::Result<()> {
        self.say(&format!(r#"{{"type":"leave","roomId":"{room}"}}"#)).await?;
        self.hear(r#""type":"left""#).await
    }

    pub(crate) async fn chat(&mut self, room: &str, text: &str) -> io::Result<()> {
        self.say(&format!(r#"{{"type":"chat","roomId":"{room}","text":"{text}"}}"#)).await
    }

    pub(crate) async fn say(&mut self, text: &str) -> io::Result<()> {
        self.send(&frame(TEXT, text.as_bytes())).await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(PATIENCE, self.socket.write_all(bytes)).await?
    }

    /// Waits for a message with `part` in it; answers pings meanwhile.
    pub(crate) async fn hear(&mut self, part: &str) -> io::Result<()> {
        let heard = async {
            loop {
                let frame = self.next().await?;
                if frame.is_text_with(part) {
                    return Ok(());
                }
                self.answer(&frame).await?;
            }
        };
        timeout(PATIENCE, heard).await?
    }

    /// Answers a ping; a close frame is an error.
    pub(crate) async fn answer(&mut self, frame: &Frame) -> io::Result<()> {
        match frame.first {
            PING => self.send(&self::frame(PONG, &frame.payload)).await,
            CLOSE => Err(io::Error::other(format!("closed with {}", frame.code()))),
            _ => Ok(()),
        }
    }

    /// The next frame. Nothing is lost if this is dropped.
    pub(crate) async fn next(&mut self) -> io::Result<Frame> {
        loop {
            if let Some(frame) = Frame::split(&mut self.input) {
                return Ok(frame);
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> io::Result<()> {
        self.input.reserve(1024);
        match self.socket.read_buf(&mut self.input).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Reads, and answers nothing, until the server ends it. The code, or 0 if it sent none.
    pub(crate) async fn end(&mut self) -> io::Result<u16> {
        let end = async {
            let mut code = 0;
            loop {
                match self.next().await {
                    Ok(frame) if frame.first == CLOSE => code = frame.code(),
                    Ok(_) => {}
                    Err(_) => return code,
                }
            }
        };
        Ok(timeout(2 * PATIENCE, end).await?)
    }

    /// Closes with 1000. The code that comes back.
    pub(crate) async fn close(&mut self) -> io::Result<u16> {
        self.send(&frame(CLOSE, &1000u16.to_be_bytes())).await?;
        self.end().await
    }
}

impl Frame {
    fn split(input: &mut BytesMut) -> Option<Self> {
        let [first, second, ..] = **input else { return None };
        let (header, length) = match second {
            126 => (4, usize::from(u16::from_be_bytes([*input.get(2)?, *input.get(3)?]))),
            127 => {
                let bytes = input.get(2..10)?.try_into().ok()?;
                (10, usize::try_from(u64::from_be_bytes(bytes)).ok()?)
            }
            short => (2, usize::from(short)),
        };
        if input.len() < header + length {
            return None;
        }
        input.advance(header);
        let payload = input.split_to(length);
        if input.is_empty() {
            // Thousands of these wait for something to happen; the buffer goes meanwhile.
            *input = BytesMut::new();
        }
        Some(Self { first, payload })
    }

    pub(crate) fn is_text_with(&self, part: &str) -> bool {
        self.first == TEXT && self.payload.windows(part.len()).any(|it| it == part.as_bytes())
    }

    pub(crate) fn code(&self) -> u16 {
        match *self.payload {
            [high, low, ..] => u16::from_be_bytes([high, low]),
            _ => 1005,
        }
    }
}

/// A masked frame with this first byte.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len() as u64);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The header of a masked frame that says it has so many bytes.
pub(crate) fn header(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first];
    match length {
        0..=125 => header.push(0x80 | length as u8),
        126..=0xffff => {
            header.push(0x80 | 126);
            header.extend((length as u16).to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend(length.to_be_bytes());
        }
    }
    header.extend(MASK);
    header
}

/// First bytes of frames: the last of a message, and the opcode.
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const REQUEST: &str = "GET /ws HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
