//! Count what a message costs between the socket and the handler: no socket, no kernel.
//!
//! `cargo bench --bench driver` prints nanoseconds. For instructions, which do not depend on how busy
//! the machine is, run the binary under callgrind twice and divide the difference:
//! `valgrind --tool=callgrind target/release/deps/driver-… echo 10000`, then `20000`.

use std::{
    env, io,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower::{ServiceBuilder, service_fn};
use tower_layer::Layer as _;
use tower_websocket::{
    Anonymous, AuditRecord, AuditSink, AuthFailure, Authenticate, Close, Connection,
    ConnectionConfig, DecodeLayer, Inbound, Message, OpenRooms, Quota, RateLimitLayer, Reply,
    RequireAuthLayer, Rooms, RoomsLayer, Session,
    internal::{self, Authentication},
    service,
};

/// Gives the same frames in each read, one read at a time, and takes whatever is written.
struct Tape {
    first: Vec<u8>,
    frames: Vec<u8>,
    reads: usize,
    /// Whether the last read was answered; the next one must wait, as on a socket that is empty.
    given: bool,
}

impl AsyncRead for Tape {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::replace(&mut self.given, true) {
            self.given = false;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if !self.first.is_empty() {
            buf.put_slice(&std::mem::take(&mut self.first));
        } else if self.reads > 0 {
            self.reads -= 1;
            buf.put_slice(&self.frames);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tape {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

struct Silent;

impl AuditSink for Silent {
    fn record(&self, _: &AuditRecord) {}
}

struct Anybody;

impl Authenticate for Anybody {
    type User = &'static str;

    async fn authenticate(
        &self,
        _: &Message,
        _: &Connection,
    ) -> Result<Session<Self::User>, AuthFailure> {
        Ok(Session::new("user"))
    }
}

fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u8::try_from(text.len()).ok().filter(|len| *len < 126) {
        Some(len) => frame.push(0x80 | len),
        None => {
            frame.push(0xfe);
            frame.extend((text.len() as u16).to_be_bytes());
        }
    }
    frame.extend([1, 2, 3, 4]);
    frame
        .extend(text.bytes().zip([1, 2, 3, 4].into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn unlimited() -> Quota {
    Quota::per_second(1_000_000_000).burst(1_000_000_000)
}

/// `turns` reads of 16 messages of 64 bytes, each sent back.
async fn echo(turns: usize) {
    let frames = frame(&"x".repeat(64)).repeat(16);
    let tape = Tape { first: Vec::new(), frames, reads: turns, given: false };
    let config = ConnectionConfig::new();
    let connection = internal::connection(&config, Silent);
    let layer = RateLimitLayer::per_connection(unlimited());
    let stack = layer.layer(service_fn(async |inbound: Inbound<Message, Anonymous>| {
        Ok::<_, Close>(Reply::one(inbound.message))
    }));
    internal::serve(tape, connection, config, Authentication::Optional, stack).await;
}

/// `turns` chat messages from one of `members` connections in a room.
async fn fanout(turns: usize, members: usize) {
    let rooms = Rooms::new();
    let layers = ServiceBuilder::new()
        .layer(RateLimitLayer::per_connection(unlimited()))
        .layer(RequireAuthLayer::new(Anybody))
        .layer(DecodeLayer::<service::ClientMessage>::json())
        .layer(RoomsLayer::new(rooms, OpenRooms));
    let local = tokio::task::LocalSet::new();
    for member in 0..members {
        let mut first = frame("credentials");
        first.extend(frame(r#"{"type":"join","roomId":"room"}"#));
        let speaks = member + 1 == members;
        let chat =
            r#"{"type":"chat","roomId":"room","requestId":"12345","text":"hello, all of you"}"#;
        let tape = Tape {
            first,
            frames: frame(chat),
            reads: if speaks { turns } else { 0 },
            given: false,
        };
        let config = ConnectionConfig::new();
        let connection = internal::connection(&config, Silent);
        let stack = layers.service(service_fn(service::handle::<&'static str, ()>));
        if speaks {
            let speaker =
                internal::serve(tape, connection, config, Authentication::Required, stack);
            local.run_until(speaker).await;
        } else {
            local.spawn_local(internal::serve(
                Listening(tape),
                connection,
                config,
                Authentication::Required,
                stack,
            ));
            local.run_until(tokio::task::yield_now()).await;
            local.run_until(tokio::task::yield_now()).await;
        }
    }
}

/// A tape that waits at its end.
struct Listening(Tape);

impl AsyncRead for Listening {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.first.is_empty() {
            Poll::Pending
        } else {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }
}

impl AsyncWrite for Listening {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

fn main() -> io::Result<()> {
    let mut args = env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let what = args.next();
    let turns = args.next().and_then(|arg| arg.parse().ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let measure = |name: &str, turns: usize| {
        let began = Instant::now();
        let units = match name {
            "echo" => {
                runtime.block_on(echo(turns));
                turns * 16
            }
            _ => {
                runtime.block_on(fanout(turns, 100));
                turns * 100
            }
        };
        println!("{name}: {} ns for each of {units}", began.elapsed().as_nanos() / units as u128);
    };
    match what.as_deref() {
        Some(name @ ("echo" | "fanout")) => measure(name, turns.unwrap_or(10_000)),
        _ => {
            measure("echo", 100_000);
            measure("fanout", 20_000);
        }
    }
    Ok(())
}
