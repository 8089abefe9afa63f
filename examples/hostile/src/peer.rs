//! One socket to the target, and what was said on it.

use std::{fmt::Write as _, io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    http::Head,
    target::Target,
    verdict::{Verdict, Weight, found},
    wire::{self, CLOSE, Frame, PING, PONG, TEXT},
};

#[derive(Debug)]
pub(crate) struct Peer<'a> {
    target: &'a Target,
    stream: TcpStream,
    input: Vec<u8>,
    /// The server has ended its side.
    over: bool,
    /// Answers pings and closes, as a decent client does.
    decent: bool,
    /// The beginning of what was sent since [`begin`](Self::begin), and the length of it all.
    sent: (Vec<u8>, usize),
}

/// What came until the server ended the connection, or nothing more did.
#[derive(Debug, Default)]
pub(crate) struct End {
    pub(crate) messages: Vec<String>,
    pub(crate) pongs: Vec<Vec<u8>>,
    pub(crate) pings: usize,
    /// Code and reason of each close frame; 1005 stands for none.
    pub(crate) closes: Vec<(u16, String)>,
    /// Frames behind the first close frame.
    pub(crate) after_close: usize,
    /// The server ended the connection.
    pub(crate) over: bool,
    /// How long it took.
    pub(crate) took: Duration,
}

impl<'a> Peer<'a> {
    pub(crate) fn new(target: &'a Target, stream: TcpStream) -> Self {
        let (input, sent) = Default::default();
        Self { target, stream, input, over: false, decent: true, sent }
    }

    /// What is sent from here on is the attack.
    pub(crate) fn begin(&mut self) {
        self.sent = Default::default();
    }

    /// Answers neither pings nor a close from here on.
    pub(crate) fn be_indecent(&mut self) {
        self.decent = false;
    }

    /// Whether the server takes all of `bytes`. Reads meanwhile, so that both can go on.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        self.note(bytes);
        let mut rest = bytes;
        let deadline = Instant::now() + SEND_TIMEOUT;
        while !rest.is_empty() && !self.target.is_spent() {
            let both = Interest::READABLE | Interest::WRITABLE;
            let interest = if self.over { Interest::WRITABLE } else { both };
            let Ok(Ok(ready)) = timeout_at(deadline, self.stream.ready(interest)).await else {
                return false;
            };
            if ready.is_readable() && !self.over {
                let read = self.stream.try_read_buf(&mut self.input);
                self.took(read);
            }
            if ready.is_writable() {
                match self.stream.try_write(rest) {
                    Ok(written) => {
                        self.target.count_sent(written);
                        rest = rest.get(written..).unwrap_or_default();
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return false,
                }
            }
        }
        rest.is_empty()
    }

    /// How many bytes the server takes of `bytes` `times` over, from a peer that reads nothing: until
    /// it hangs up, or takes nothing for a while.
    pub(crate) async fn send_blindly(&mut self, bytes: &[u8], times: usize) -> usize {
        self.note(bytes);
        let mut taken = 0;
        for _ in 0..times {
            let write = timeout(STALL, self.stream.write_all(bytes));
            if self.target.is_spent() || !matches!(write.await, Ok(Ok(()))) {
                break;
            }
            self.target.count_sent(bytes.len());
            taken += bytes.len();
        }
        self.sent.1 = taken.max(bytes.len());
        taken
    }

    /// Sends what the kernel takes at once, and reads nothing; whether the connection is still there.
    pub(crate) fn send_unread(&mut self, bytes: &[u8]) -> bool {
        self.note(bytes);
        match self.stream.try_write(bytes) {
            Ok(written) => self.target.count_sent(written),
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
        true
    }

    pub(crate) async fn say(&mut self, text: &str) -> bool {
        self.send(&wire::text(text)).await
    }

    pub(crate) async fn join(&mut self, room: &str) -> io::Result<()> {
        let protocol = &self.target.protocol;
        self.say(&protocol.join(room)).await;
        self.hear(protocol.joined()).await?;
        self.begin();
        Ok(())
    }

    /// Ends this side, as a program does that has no more to say.
    pub(crate) async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// The head of the answer to a request.
    pub(crate) async fn head(&mut self) -> Head {
        let deadline = Instant::now() + self.target.patience();
        loop {
            if let Some(end) = self.input.windows(4).position(|it| it == b"\r\n\r\n") {
                return Head::parse(&self.input.drain(..end + 4).collect::<Vec<_>>());
            }
            if !self.fill(deadline).await {
                return Head::default();
            }
        }
    }

    /// Every byte until the server hangs up, and whether it did.
    pub(crate) async fn rest(&mut self, within: Duration) -> (Vec<u8>, bool) {
        let deadline = Instant::now() + within;
        while self.fill(deadline).await {}
        (std::mem::take(&mut self.input), self.over)
    }

    /// The text of the next message with `part` in it.
    pub(crate) async fn hear(&mut self, part: &str) -> io::Result<String> {
        let deadline = Instant::now() + HEAR_TIMEOUT;
        while let Some(frame) = self.next(deadline).await {
            let text = String::from_utf8_lossy(&frame.payload);
            if frame.first == TEXT && text.contains(part) {
                return Ok(text.into_owned());
            }
            if frame.first == CLOSE {
                break;
            }
        }
        let sent = self.sent();
        Err(io::Error::other(format!("no message with {part} came after {sent}")))
    }

    /// The next frame; `None` at the deadline and at the end.
    pub(crate) async fn next(&mut self, deadline: Instant) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::split(&mut self.input) {
                if self.decent && frame.first == PING {
                    self.answer(PONG, &frame.payload).await;
                }
                return Some(frame);
            }
            if !self.fill(deadline).await {
                return None;
            }
        }
    }

    /// Everything until the server ends the connection, or for as long as it should take to.
    pub(crate) async fn end(&mut self) -> End {
        self.end_within(self.target.patience()).await
    }

    /// The same of a server that has much to say: it goes on as long as messages come, and until a ping is
    /// answered, which stands behind all that was sent: a server that is slow is not one that is silent.
    pub(crate) async fn end_when_quiet(&mut self) -> End {
        self.send(&wire::frame(PING, PROBE)).await;
        let mut end = self.end().await;
        let mut silences = 0;
        while end.closes.is_empty() && !end.over {
            let answered = end.pongs.iter().any(|it| it == PROBE);
            let more = self.end().await;
            if more.messages.is_empty() && more.closes.is_empty() && !more.over {
                silences += 1;
                if answered || silences == SILENCES {
                    break;
                }
            }
            end = End {
                messages: [end.messages, more.messages].concat(),
                pongs: [end.pongs, more.pongs].concat(),
                pings: end.pings + more.pings,
                took: end.took + more.took,
                ..more
            };
        }
        end.pongs.retain(|it| it != PROBE);
        end
    }

    pub(crate) async fn end_within(&mut self, within: Duration) -> End {
        let mut end = End::default();
        let start = Instant::now();
        while let Some(frame) = self.next(start + within).await {
            end.after_close += usize::from(!end.closes.is_empty());
            match frame.first {
                TEXT => end.messages.push(String::from_utf8_lossy(&frame.payload).into_owned()),
                PING => end.pings += 1,
                PONG => end.pongs.push(frame.payload),
                CLOSE => {
                    if end.closes.is_empty() {
                        end.took = start.elapsed();
                        if self.decent {
                            self.answer(CLOSE, &frame.payload).await;
                        }
                    }
                    end.closes.push(code_and_reason(&frame.payload));
                }
                other => end.messages.push(format!("a frame that begins with {other:02x}")),
            }
        }
        if end.closes.is_empty() {
            end.took = start.elapsed();
        }
        end.over = self.over;
        end
    }

    /// The server must close with one of `codes`, and has not said any of `never` before.
    pub(crate) async fn must_close(&mut self, codes: &[u16], never: &[&str]) -> Verdict {
        let end = self.end().await;
        self.judge(&end, codes, never)
    }

    pub(crate) fn judge(&self, end: &End, codes: &[u16], never: &[&str]) -> Verdict {
        let accepted = end.messages.iter().any(|it| never.iter().any(|part| it.contains(part)));
        let weight = match end.code() {
            _ if accepted => Weight::Broken,
            Some(code) if codes.contains(&code) => return Ok(()),
            None if !end.over => Weight::Broken,
            _ => Weight::WrongAnswer,
        };
        let codes: Vec<_> = codes.iter().map(u16::to_string).collect();
        found(weight, self.sent(), end.describe(), format!("close {}", codes.join(" or ")))
    }

    /// What was sent, for people.
    pub(crate) fn sent(&self) -> String {
        let (bytes, length) = &self.sent;
        match length {
            0 => "nothing".to_owned(),
            _ => {
                let readable = bytes.get(..READABLE).unwrap_or(bytes).escape_ascii();
                format!("{length} bytes: {}  \"{readable}\"", wire::as_hex(bytes))
            }
        }
    }

    async fn answer(&mut self, first: u8, payload: &[u8]) {
        let frame = wire::frame(first, payload);
        self.target.count_sent(frame.len());
        let _ = timeout(SEND_TIMEOUT, self.stream.write_all(&frame)).await;
    }

    async fn fill(&mut self, deadline: Instant) -> bool {
        if self.over || self.target.is_spent() {
            return false;
        }
        let read = timeout_at(deadline, self.stream.read_buf(&mut self.input)).await;
        read.is_ok_and(|read| self.took(read))
    }

    fn took(&mut self, read: io::Result<usize>) -> bool {
        match read {
            Ok(bytes @ 1..) => {
                self.target.count_received(bytes);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Ok(0) | Err(_) => {
                self.over = true;
                false
            }
        }
    }

    fn note(&mut self, bytes: &[u8]) {
        let (kept, length) = &mut self.sent;
        *length += bytes.len();
        kept.extend(bytes.iter().take(KEPT.saturating_sub(kept.len())));
    }
}

impl End {
    /// Of the first close frame.
    pub(crate) fn code(&self) -> Option<u16> {
        self.closes.first().map(|(code, _)| *code)
    }

    /// Whether a message came with `part` in it.
    pub(crate) fn heard(&self, part: &str) -> bool {
        self.messages.iter().any(|it| it.contains(part))
    }

    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        for message in self.messages.iter().take(2) {
            let _ = write!(text, "{:?}, ", message.chars().take(80).collect::<String>());
        }
        if let Some(more) = self.messages.len().checked_sub(3) {
            let _ = write!(text, "{} messages more, ", more + 1);
        }
        if !self.pongs.is_empty() {
            let _ = write!(text, "{} pongs, ", self.pongs.len());
        }
        for (code, reason) in &self.closes {
            let _ = write!(text, "close {code} {reason:?}, ");
        }
        let millis = self.took.as_millis();
        let end = match (self.closes.is_empty(), self.over) {
            (true, true) => "the end without a close frame",
            (false, true) => "the end",
            (_, false) => "still open",
        };
        let _ = write!(text, "{end} after {millis} ms");
        text
    }
}

fn code_and_reason(payload: &[u8]) -> (u16, String) {
    match payload {
        [high, low, reason @ ..] => {
            let reason = String::from_utf8_lossy(reason).into_owned();
            (u16::from_be_bytes([*high, *low]), reason)
        }
        _ => (1005, String::new()),
    }
}

/// For what a working server answers at once, on a machine that may be busy.
const HEAR_TIMEOUT: Duration = Duration::from_secs(10);
const SEND_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a server may take nothing before it counts as having stopped. A kernel says that there is
/// room again only when there is much of it, which a busy server takes a while to make.
const STALL: Duration = Duration::from_secs(10);

/// Bytes of what was sent that are kept, and of those that a report shows as text.
const KEPT: usize = 4096;
const READABLE: usize = 100;

/// What a ping says that is sent to find out whether all before it was read.
const PROBE: &[u8] = b"all read";

/// How many silences a server is waited for that does not answer a ping.
const SILENCES: usize = 8;
