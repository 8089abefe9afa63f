//! The other end of a connection, as well behaved or as bad as a test needs it.

use std::{
    fmt,
    future::{Future, poll_fn},
    panic::Location,
    time::Duration,
};

use super::{
    content::{Content, matches, shown},
    socket::Peer,
    wire::{frame, parse},
};
use crate::message::Message;

/// A peer of a [`TestServer`](super::TestServer), in memory.
///
/// It answers pings and the server's close frame by itself while one of its methods waits, as clients
/// do. Everything it was sent is kept until it is received: it reads at once, unless
/// [`stop_reading`](Self::stop_reading) says otherwise. Dropping it closes its socket.
///
/// What is waited for has to come within a [minute](Self::patience) of tokio's clock; with the
/// clock paused (`#[tokio::test(start_paused = true)]`) that minute passes as soon as nothing else
/// can happen.
pub struct TestPeer {
    socket: Peer,
    /// How much of what was written has been looked at.
    seen: usize,
    patience: Duration,
}

/// What a peer hears.
#[non_exhaustive]
#[derive(Clone, Eq, PartialEq)]
pub enum Heard {
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
    /// A peer whose handshake is over and took `seen` bytes of what the server wrote.
    pub(super) fn new(socket: Peer, seen: usize) -> Self {
        Self { socket, seen, patience: Duration::from_secs(60) }
    }

    /// How long to wait for what should come. The default is a minute.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sends a message in one frame.
    pub fn send(&self, content: impl Content) {
        self.send_bytes(frame(first_byte(&content.message()), content.message().as_bytes()));
    }

    /// Sends a message in so many frames.
    pub fn send_in_fragments(&self, content: impl Content, fragments: usize) {
        let message = content.message();
        let size = message.len().div_ceil(fragments.max(1)).max(1);
        let mut pieces = message.as_bytes().chunks(size).peekable();
        // Its opcode without the bit that says that the message ends here.
        let mut first = first_byte(&message) & 0x0f;
        self.send_bytes(
            std::iter::from_fn(|| {
                let piece = pieces.next()?;
                let last = if pieces.peek().is_none() { 0x80 } else { 0 };
                Some(frame(std::mem::take(&mut first) | last, piece))
            })
            .flatten()
            .collect::<Vec<_>>(),
        );
    }

    /// Sends a message that arrives in pieces of so many bytes, frame header included.
    pub fn send_in_pieces(&self, content: impl Content, bytes: usize) {
        let message = content.message();
        for piece in frame(first_byte(&message), message.as_bytes()).chunks(bytes.max(1)) {
            self.send_bytes(piece);
        }
    }

    /// Sends bytes as they are; they arrive in one read, if the server reads as much at once.
    pub fn send_bytes(&self, bytes: impl Into<Vec<u8>>) {
        self.socket.send(bytes);
    }

    /// Sends a close frame.
    pub fn close(&self, code: impl Into<u16>) {
        self.send_bytes(frame(CLOSE, code.into().to_be_bytes()));
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
        self.read_only(KERNEL_BUFFERS);
        std::mem::forget(self);
    }

    /// The next thing the server says. Pongs are left out.
    #[track_caller]
    pub fn recv(&mut self) -> impl Future<Output = Heard> + Send + '_ {
        let at = Location::caller();
        async move {
            match self.next().await {
                Some(heard) => heard,
                None => panic!("{at}: the peer heard nothing for {:?}", self.patience),
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
        self.expect(Location::caller(), "a reply", reply.message())
    }

    /// Expects the next message to be `message`, without having asked.
    #[track_caller]
    pub fn assert_push(&mut self, message: impl Content) -> impl Future<Output = ()> + Send + '_ {
        self.expect(Location::caller(), "a push", message.message())
    }

    /// Expects the server to close with this code as the next thing it does, and then to hang up:
    /// a [`CloseCode`](crate::CloseCode), or a number.
    #[track_caller]
    pub fn assert_closed(&mut self, code: impl Into<u16>) -> impl Future<Output = ()> + Send + '_ {
        let (at, code) = (Location::caller(), code.into());
        async move {
            match self.next().await {
                Some(Heard::Closed { code: Some(sent), .. }) if sent == code => {}
                heard => panic!("{at}: expected a close with {code}, not {}", said(&heard)),
            }
            match self.next().await {
                Some(Heard::Ended) => {}
                heard => panic!("{at}: expected nothing behind the close, not {}", said(&heard)),
            }
        }
    }

    /// Expects the server to say nothing for so long.
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
        expected: Message,
    ) {
        match self.next().await {
            Some(Heard::Message(actual)) if matches(&expected, &actual) => {}
            heard => {
                panic!("{at}: expected {what}: {}, not {}", shown(&expected), said(&heard));
            }
        }
    }

    /// What comes within its patience.
    pub(super) async fn next(&mut self) -> Option<Heard> {
        tokio::time::timeout(self.patience, self.hear()).await.ok()
    }

    pub(super) async fn hear(&mut self) -> Heard {
        loop {
            match self.next_frame().await {
                None => return Heard::Ended,
                Some((0x1, payload)) => {
                    let text = String::from_utf8(payload).expect("a server's text is UTF-8");
                    return Heard::Message(Message::text(text));
                }
                Some((0x2, payload)) => return Heard::Message(Message::binary(payload)),
                Some((0x8, payload)) => {
                    self.send_bytes(frame(CLOSE, &payload));
                    // The server waits for this or for its close timeout before it hangs up.
                    self.half_close();
                    let (code, reason) = payload.split_first_chunk().unwrap_or((&[0; 2], &[]));
                    let code = Some(u16::from_be_bytes(*code)).filter(|code| *code > 0);
                    let reason = String::from_utf8_lossy(reason).into_owned();
                    return Heard::Closed { code, reason };
                }
                Some((0x9, payload)) => self.send_bytes(frame(PONG, &payload)),
                Some(_pong) => {}
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

impl fmt::Debug for TestPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestPeer").finish_non_exhaustive()
    }
}

/// A test that fails shows what was heard.
impl fmt::Debug for Heard {
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

fn said(heard: &Option<Heard>) -> String {
    heard.as_ref().map_or_else(|| "silence".into(), |heard| format!("{heard:?}"))
}

fn first_byte(message: &Message) -> u8 {
    match message {
        Message::Text(_) => 0x81,
        Message::Binary(_) => 0x82,
    }
}

/// What a kernel takes of a server before it is full: as a rule more.
const KERNEL_BUFFERS: usize = 64 * 1024;
const CLOSE: u8 = 0x88;
const PONG: u8 = 0x8a;
