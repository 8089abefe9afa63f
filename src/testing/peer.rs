//! The other end of a connection, as well behaved or as bad as a test needs it.

use std::{
    fmt,
    future::{Future, poll_fn},
    panic::Location,
    time::Duration,
};

use http::Response;
use serde::de::DeserializeOwned;

use super::{
    auto_replies::AutoReplies,
    closing::Closing,
    content::{Content, Expected, shown},
    socket::Peer,
    wire::{self, masked, parse},
};
use crate::{message::Message, opaque::opaque_debug};

/// A peer of a [`TestServer`](super::TestServer), in memory.
///
/// It answers pings and the server's close frame at once, as clients do. Everything it was sent is kept
/// until it is received: it reads at once, unless [`stop_reading`](Self::stop_reading) says otherwise.
/// Dropping it closes its socket.
///
/// What is waited for has to come within a [minute](Self::patience) of tokio's clock; with the
/// clock paused (`#[tokio::test(start_paused = true)]`) that minute passes as soon as nothing else
/// can happen.
pub struct TestPeer {
    socket: Peer,
    response: Response<()>,
    auto_replies: AutoReplies,
    /// How much of what was written has been looked at.
    seen: usize,
    patience: Duration,
}

/// What a peer hears.
#[non_exhaustive]
#[derive(Clone, Eq, PartialEq)]
pub enum Received {
    /// A message.
    Message(Message),
    /// A close frame.
    Closed {
        /// Its code, if it has one.
        code: Option<u16>,
        /// Its reason.
        reason: String,
    },
    /// The end of the stream, without a close frame or behind it.
    Ended,
}

impl TestPeer {
    /// A peer whose handshake was answered with `response`, up to `seen` of what the server wrote.
    pub(super) fn new(socket: Peer, response: Response<()>, seen: usize) -> Self {
        let auto_replies = AutoReplies::default();
        socket.set_auto_reply(auto_replies.of(seen));
        Self { socket, response, auto_replies, seen, patience: PATIENCE }
    }

    /// How long to wait for what should come. The default is a minute.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The server's answer to the handshake, and its headers.
    pub fn response(&self) -> &Response<()> {
        &self.response
    }

    /// Sends a message in one frame.
    pub fn send(&self, content: impl Content) {
        self.send_bytes(in_one_frame(&content.message()));
    }

    /// Sends a message in so many frames; some are empty if it has fewer bytes.
    pub fn send_in_fragments(&self, content: impl Content, fragments: usize) {
        let message = content.message();
        for frame in wire::fragments(opcode(&message), MASK, message.as_bytes(), fragments) {
            self.send_bytes(frame);
        }
    }

    /// Sends a message that arrives in pieces of so many bytes, frame header included.
    pub fn send_in_pieces(&self, content: impl Content, bytes: usize) {
        for piece in in_one_frame(&content.message()).chunks(bytes.max(1)) {
            self.send_bytes(piece);
        }
    }

    /// Sends bytes as they are; they arrive in one read, if the server reads as much at once.
    pub fn send_bytes(&self, bytes: impl Into<Vec<u8>>) {
        self.socket.send(bytes);
    }

    /// Sends a close frame with this code: a [`CloseCode`](crate::CloseCode), or a number.
    pub fn close(&self, code: impl Closing) {
        let payload = code.code().map_or_else(Vec::new, |code| code.to_be_bytes().to_vec());
        self.auto_replies.close_sent();
        self.send_bytes(masked(0x88, MASK, payload));
    }

    /// Answers no pings from now on.
    pub fn ignore_pings(&self) {
        self.auto_replies.ignore_pings();
    }

    /// Takes nothing any more, until told otherwise: what is written waits in the server.
    pub fn stop_reading(&self) {
        self.socket.room(0);
    }

    /// Takes so many bytes more, and then nothing.
    pub fn read_only(&self, bytes: usize) {
        self.socket.room(bytes);
    }

    /// Takes everything again.
    pub fn resume_reading(&self) {
        self.socket.room(None);
    }

    /// Ends its half of the stream, and goes on reading.
    pub fn half_close(&self) {
        self.socket.end();
    }

    /// Breaks the connection: the server can neither read nor write.
    pub fn reset(self) {
        self.socket.break_down();
    }

    /// Is gone without a word, as a phone in a tunnel: answers nothing, never closes its socket, and
    /// what is written goes no further than 64 KiB of buffers on the way.
    pub fn vanish(self) {
        self.socket.clear_auto_reply();
        self.socket.at_most(KERNEL_BUFFERS);
        // To drop it would close its socket.
        std::mem::forget(self);
    }

    /// The next thing the server says. Pings and pongs are left out.
    #[track_caller]
    pub fn recv(&mut self) -> impl Future<Output = Received> + Send + '_ {
        let at = Location::caller();
        async move {
            match self.next().await {
                Some(heard) => heard,
                None => panic!("{at}: the peer heard nothing for {:?}", self.patience),
            }
        }
    }

    /// The next thing the server says, which has to be JSON of this type.
    #[track_caller]
    pub fn recv_json<T: DeserializeOwned>(&mut self) -> impl Future<Output = T> + Send + '_ {
        let at = Location::caller();
        async move {
            let heard = self.next().await;
            let Some(Received::Message(message)) = &heard else {
                panic!("{at}: expected JSON, not {}", said(&heard));
            };
            match serde_json::from_slice(message.as_bytes()) {
                Ok(json) => json,
                Err(error) => panic!("{at}: {error}: {}", shown(message)),
            }
        }
    }

    /// Sends `request`, and expects `reply` to be the next message.
    #[track_caller]
    pub fn assert_reply(
        &mut self,
        request: impl Content,
        reply: impl Content,
    ) -> impl Future<Output = ()> + Send + '_ {
        self.send(request);
        self.expect(Location::caller(), "a reply", reply.expected())
    }

    /// Expects the next message to be `message`, without having asked.
    #[track_caller]
    pub fn assert_push(&mut self, message: impl Content) -> impl Future<Output = ()> + Send + '_ {
        self.expect(Location::caller(), "a push", message.expected())
    }

    /// Expects the server to close as the next thing it does, and then to hang up: with a code, which
    /// is a number or a [`CloseCode`](crate::CloseCode), or with a [`CloseReason`](crate::CloseReason)'s
    /// code and text.
    #[track_caller]
    pub fn assert_closed(&mut self, close: impl Closing) -> impl Future<Output = ()> + Send + '_ {
        let (at, expected) = (Location::caller(), (close.code(), close.text()));
        async move {
            match self.next().await {
                Some(Received::Closed { code, reason })
                    if code == expected.0 && expected.1.is_none_or(|text| text == reason) => {}
                heard => panic!("{at}: expected a close with {expected:?}, not {}", said(&heard)),
            }
            match self.next().await {
                Some(Received::Ended) => {}
                heard => panic!("{at}: expected nothing behind the close, not {}", said(&heard)),
            }
        }
    }

    /// Expects the server to say nothing for so long. It says nothing to a peer that has
    /// [stopped reading](Self::stop_reading), whatever it has to say.
    #[track_caller]
    pub fn assert_silent(&mut self, time: Duration) -> impl Future<Output = ()> + Send + '_ {
        let at = Location::caller();
        async move {
            let heard = tokio::time::timeout(time, self.hear()).await.ok();
            assert!(heard.is_none(), "{at}: expected silence, not {}", said(&heard));
        }
    }

    pub(super) async fn expect(
        &mut self,
        at: &'static Location<'static>,
        what: &'static str,
        expected: Expected,
    ) {
        match self.next().await {
            Some(Received::Message(actual)) if expected.matches(&actual) => {}
            heard => {
                panic!("{at}: expected {what}: {}, not {}", expected.shown(), said(&heard));
            }
        }
    }

    /// What comes within its patience.
    pub(super) async fn next(&mut self) -> Option<Received> {
        tokio::time::timeout(self.patience, self.hear()).await.ok()
    }

    pub(super) async fn hear(&mut self) -> Received {
        loop {
            match self.next_frame().await {
                None => return Received::Ended,
                Some((0x1, payload)) => {
                    let text = String::from_utf8(payload).expect("a server's text is UTF-8");
                    return Received::Message(Message::text(text));
                }
                Some((0x2, payload)) => return Received::Message(Message::binary(payload)),
                Some((0x8, payload)) => {
                    let (code, reason) = payload.split_first_chunk().unwrap_or((&[0; 2], &[]));
                    let code = Some(u16::from_be_bytes(*code)).filter(|code| *code > 0);
                    let reason = String::from_utf8_lossy(reason).into_owned();
                    return Received::Closed { code, reason };
                }
                Some(_ping_or_pong) => {}
            }
        }
    }

    /// The next frame's opcode and payload; `None` at the end of the stream.
    async fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (frame, seen) = poll_fn(|cx| {
            self.socket.poll_heard(cx, |socket| {
                let unseen = &socket.written[self.seen..];
                if let Some((opcode, payload, rest)) = parse(unseen) {
                    let seen = socket.written.len() - rest.len();
                    return Some((Some((opcode, payload.to_vec())), seen));
                }
                (socket.shut_down || socket.gone).then_some((None, self.seen))
            })
        })
        .await;
        self.seen = seen;
        frame
    }
}

impl Drop for TestPeer {
    fn drop(&mut self) {
        self.socket.hang_up();
    }
}

opaque_debug! { [] TestPeer; }

/// A test that fails shows what was heard.
impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => write!(f, "the message {}", shown(message)),
            Self::Closed { code: Some(code), reason } => {
                write!(f, "a close with {code} {reason:?}")
            }
            Self::Closed { code: None, .. } => f.write_str("a close without a code"),
            Self::Ended => f.write_str("the end of the stream"),
        }
    }
}

fn said(heard: &Option<Received>) -> String {
    heard.as_ref().map_or_else(|| "silence".into(), |heard| format!("{heard:?}"))
}

/// The message as a client writes it, in one frame.
pub(super) fn in_one_frame(message: &Message) -> Vec<u8> {
    masked(0x80 | opcode(message), MASK, message.as_bytes())
}

fn opcode(message: &Message) -> u8 {
    match message {
        Message::Text(_) => 0x1,
        Message::Binary(_) => 0x2,
    }
}

/// The mask of the example in RFC 6455 §5.7.
pub(super) const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// How long to wait for what should come.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What a kernel takes of a server before it is full: as a rule more.
const KERNEL_BUFFERS: usize = 64 * 1024;
