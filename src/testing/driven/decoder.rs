//! What the decoder behind the scanner makes of bytes, by itself: the oracle that the scanner is held
//! to.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
};

use tokio_tungstenite::tungstenite::{
    Error, Message, WebSocket,
    protocol::{Role, WebSocketConfig},
};

use crate::driver::scanner::ScannerLimits;

/// How it ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    Closed,
    Refused(Refusal),
    Waiting,
}

/// What the decoder has against it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    Capacity,
    Protocol,
    Utf8,
}

/// What tungstenite makes of `bytes`, cut into pieces of these sizes, up to its first error: reading
/// on splices messages, and panics in debug builds.
pub fn decode(bytes: &[u8], cuts: &[usize], limits: &ScannerLimits) -> (Vec<Message>, End) {
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_message_size(Some(limits.max_message))
        // As the connection does: a ping may be longer than a message may be.
        .max_frame_size(Some(limits.max_message.max(125)));
    let wire = Wire(chunks(bytes, cuts).map(<[u8]>::to_vec).collect());
    let mut socket = WebSocket::from_raw_socket(wire, Role::Server, Some(config));
    let mut messages = Vec::new();
    let end = loop {
        match socket.read() {
            Ok(message) => messages.push(message),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                break End::Waiting;
            }
            Err(Error::ConnectionClosed) => break End::Closed,
            Err(Error::Capacity(_)) => break End::Refused(Refusal::Capacity),
            Err(Error::Protocol(_)) => break End::Refused(Refusal::Protocol),
            Err(Error::Utf8(_)) => break End::Refused(Refusal::Utf8),
            Err(error) => panic!("{error}"),
        }
    };
    (messages, end)
}

/// `bytes` in pieces of these sizes, again and again.
pub fn chunks<'a>(mut bytes: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    sizes.iter().cycle().map_while(move |size| {
        let (chunk, rest) = bytes.split_at((*size).min(bytes.len()));
        bytes = rest;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// A socket whose peer sends these chunks and then pauses, and takes all that is written.
#[derive(Debug)]
struct Wire(VecDeque<Vec<u8>>);

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut chunk = self.0.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let rest = chunk.split_off(chunk.len().min(buffer.len()));
        buffer[..chunk.len()].copy_from_slice(&chunk);
        if !rest.is_empty() {
            self.0.push_front(rest);
        }
        Ok(chunk.len())
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
