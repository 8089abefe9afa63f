//! Code of the application that panics, sockets that break, and streams that break rules.

use std::{
    future::{Future, pending, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tower::service_fn;
use tower_service::Service;

use super::support::{Served, echo, frame, quiet, text};
use crate::{
    audit::{Audit, AuditRecord, AuditSink, Connected},
    close::Close,
    connection::Connection,
    driver::{self, Authentication, calls::Calls, stats::ConnectionStats, transport::Opaque},
    layers::{Anonymous, Failure, Inbound, Reply},
    message::Message,
};

type Answer = Result<Reply<Message>, Failure<Message>>;

/// Where a [`Faulty`] stack panics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Spot {
    Ready,
    Call,
    Poll,
    Error,
    ReadyError,
    DropOfCall,
    DropOfPendingCall,
    DropOfStack,
}

struct Faulty(Spot);
struct FaultyCall(Spot);
struct FaultyError(bool);

impl From<FaultyError> for Failure<Message> {
    fn from(error: FaultyError) -> Self {
        assert!(!error.0, "in the conversion");
        Self::Close(Close::FORBIDDEN)
    }
}

impl Service<Inbound<Message, Anonymous>> for Faulty {
    type Response = Reply<Message>;
    type Error = FaultyError;
    type Future = FaultyCall;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), FaultyError>> {
        assert_ne!(self.0, Spot::Ready);
        match self.0 {
            Spot::ReadyError => Poll::Ready(Err(FaultyError(true))),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, _: Inbound<Message, Anonymous>) -> FaultyCall {
        assert_ne!(self.0, Spot::Call);
        FaultyCall(self.0)
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        assert_ne!(self.0, Spot::DropOfStack);
    }
}

impl Future for FaultyCall {
    type Output = Result<Reply<Message>, FaultyError>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert_ne!(self.0, Spot::Poll);
        match self.0 {
            Spot::DropOfPendingCall => Poll::Pending,
            Spot::Error => Poll::Ready(Err(FaultyError(true))),
            Spot::DropOfStack => Poll::Ready(Err(FaultyError(false))),
            _ => Poll::Ready(Ok(Reply::none())),
        }
    }
}

impl Drop for FaultyCall {
    fn drop(&mut self) {
        assert!(!matches!(self.0, Spot::DropOfCall | Spot::DropOfPendingCall));
    }
}

// covers: XX-01
#[tokio::test(start_paused = true)]
async fn a_panic_anywhere_in_the_stack_is_an_internal_error() {
    use Spot::*;
    for spot in [Ready, Call, Poll, Error, ReadyError, DropOfCall] {
        let mut served = Served::new(quiet(), Faulty(spot));
        served.send(text("a").repeat(3)).await;
        assert_eq!(served.peer.close_code(), Some(1011), "{spot:?}");
        served.peer.end();
        served.settle().await;
        assert!(served.done, "{spot:?}");
        assert_eq!(served.records.closed().rule, "handler.failed", "{spot:?}");
    }
}

// covers: XX-01
#[tokio::test(start_paused = true)]
async fn a_panic_while_the_connection_ends_does_not_stop_the_end() {
    for spot in [Spot::DropOfPendingCall, Spot::DropOfStack] {
        let mut served = Served::new(quiet(), Faulty(spot));
        served.send(text("a")).await;
        served.connection.close(Close::FORBIDDEN);
        served.settle().await;
        assert_eq!(served.peer.close_code(), Some(4403), "{spot:?}");
        served.peer.end();
        served.settle().await;
        assert_eq!(served.records.closed().rule, "forbidden", "{spot:?}");
    }
}

// covers: AU-07
#[tokio::test(start_paused = true)]
async fn what_fails_before_authentication_is_the_verifier() {
    let mut served = Served::with(quiet(), Authentication::Required, Faulty(Spot::Poll));
    served.send(text("a")).await;
    assert_eq!(served.peer.close_code(), Some(1011));
    served.peer.end();
    served.settle().await;
    assert_eq!(served.records.closed().rule, "auth.error");
}

/// Panics at every event.
struct Broken;

impl AuditSink for Broken {
    fn record(&self, _record: &AuditRecord) {
        panic!("the sink is broken");
    }
}

// covers: XX-01
#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_costs_its_connection_and_nothing_else() {
    let config = quiet();
    let connection = Connection::new(None, config.outbound_limits(), None, Audit::new(Broken));
    let (ours, theirs) = tokio::io::duplex(1024);
    let stack = service_fn(|_: Inbound<Message, Anonymous>| pending::<Answer>());
    let stats = ConnectionStats::new(connection, Connected::default());
    let (io, config, calls) = (Opaque(ours), Arc::new(config), Calls::new(stack));
    let served = driver::serve(
        io,
        Box::default(),
        stats,
        config,
        Authentication::Optional,
        calls,
        Box::new(()),
    );
    let (_, written) = tokio::join!(served, async move {
        let (mut read, write) = tokio::io::split(theirs);
        let mut written = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut read, &mut written).await.unwrap();
        drop((read, write));
        written
    });
    let frames = super::support::frames(&written);
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].1[..2], 1011u16.to_be_bytes());
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_breaks_ends_the_connection_in_every_stage() {
    for (name, reason) in
        [("open", None), ("finishing", Some(Close::NORMAL)), ("closing", Some(Close::FORBIDDEN))]
    {
        let mut served = echo(quiet());
        served.settle().await;
        served.peer.room(0);
        served.connection.push(Message::text("a")).unwrap();
        served.settle().await;
        if let Some(reason) = &reason {
            served.connection.close(reason.clone());
        }
        served.settle().await;
        served.peer.break_down();
        served.settle().await;
        assert!(served.done, "{name}");
        let rule = reason.as_ref().map_or("lost", |it| it.reason().rule());
        assert_eq!(served.records.closed().rule, rule, "{name}");
    }
}

// covers: P2-06, FR-32
#[tokio::test(start_paused = true)]
async fn how_the_bytes_are_cut_does_not_change_the_verdict() {
    let bad_text = frame(0x81, b"\xc0\x80");
    let unmasked = vec![0x81, 0x02, b'{', b'}'];
    let bad_close = frame(0x88, b"\x03\xe8\xff");
    let streams = [
        ("bad text, then no mask", [bad_text.clone(), unmasked.clone()].concat(), 1007),
        ("no mask, then bad text", [unmasked.clone(), bad_text.clone()].concat(), 1002),
        ("bad reason, then anything", [bad_close, unmasked.clone()].concat(), 1007),
        ("messages, then no mask", [text("a"), text("b"), unmasked].concat(), 1002),
        ("bad text within fragments", [frame(0x01, b"\xe2"), bad_text].concat(), 1002),
    ];
    for (name, stream, code) in streams {
        for size in [1, 2, 3, 7, stream.len()] {
            let mut served = echo(quiet());
            served.settle().await;
            for chunk in stream.chunks(size) {
                served.peer.send(chunk);
            }
            served.settle().await;
            assert_eq!(served.peer.close_code(), Some(code), "{name}, {size} bytes at once");
        }
    }
}

// covers: MS-01
#[tokio::test(start_paused = true)]
async fn the_first_message_of_a_stranger_has_a_limit_of_its_own() {
    for (size, code) in [(4096, None), (4097, Some(1009))] {
        let answer = |_: Inbound<Message, Anonymous>| ready(Answer::Ok(Reply::none()));
        let mut served = Served::with(quiet(), Authentication::Required, service_fn(answer));
        served.send(text(&"x".repeat(size))).await;
        assert_eq!(served.peer.close_code(), code, "{size}");
    }
}
