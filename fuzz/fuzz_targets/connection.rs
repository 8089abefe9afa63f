//! A connection on a socket whose every answer is the input's, step by step.
//!
//! An input is a list of operations: a byte that says which, then what it needs. Time is tokio's,
//! paused. `src/connection/tests/operation.rs` has the same idea for properties; what is missing here
//! is a handler that panics, which libFuzzer takes for a finding even if it is caught.

#![no_main]

#[path = "support/peer.rs"]
mod peer;
#[path = "support/stack.rs"]
mod stack;

use std::{
    future::Future,
    num::NonZeroUsize,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use libfuzzer_sys::fuzz_target;
use tower_websocket::{
    CloseReason, Connection, ConnectionConfig,
    internal::{self, FIXED_CLOSE_REASONS},
};

use self::{
    peer::{Peer, Server, frame},
    stack::{Outcome, Plan, Planned, Records},
};

fuzz_target!(|input: &[u8]| {
    // The only randomness is the time of the first ping.
    fastrand::seed(0);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(run(Input(input)));
});

async fn run(mut input: Input<'_>) {
    let mut served = Served::new();
    while let Some(operation) = input.byte() {
        served.apply(operation, &mut input).await;
        served.settle().await;
        served.assert_bounded();
    }
    served.plan.lock().ended = true;
    served.connection.close(CloseReason::Forbidden);
    served.wait(2 * CLOSE).await;
    served.assert_over();
}

struct Served {
    future: Pin<Box<dyn Future<Output = ()>>>,
    woken: Arc<Woken>,
    peer: Peer,
    plan: Plan,
    connection: Connection,
    records: Records,
    done: bool,
}

impl Served {
    fn new() -> Self {
        let millis = Duration::from_millis;
        let config = ConnectionConfig::new()
            .ping_interval(millis(60))
            .pong_timeout(millis(300))
            .message_timeout(millis(500))
            .write_timeout(millis(100))
            .handler_timeout(millis(300))
            .close_timeout(CLOSE)
            .max_outbound_bytes(NonZeroUsize::new(OUTBOUND).unwrap());
        let (peer, plan, records) = (Peer::default(), Plan::default(), Records::default());
        let connection = internal::connection(&config, records.clone());
        let (io, stack) = (Server(peer.clone()), Planned(plan.clone()));
        let future = Box::pin(internal::serve(io, connection.clone(), config, true, stack));
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        Self { future, woken, peer, plan, connection, records, done: false }
    }

    async fn apply(&mut self, operation: u8, input: &mut Input<'_>) {
        match operation % 16 {
            0..=2 => {
                let length = input.byte().unwrap_or(0);
                let (bytes, rest) = input.0.split_at(input.0.len().min(length.into()));
                input.0 = rest;
                self.peer.send(bytes);
            }
            3 | 4 => self.peer.send(&frame(0x81, &vec![b't'; input.number() % 1500])),
            5 | 6 => {
                let first = input.byte().unwrap_or(0x89);
                let payload = vec![b'f'; usize::from(input.byte().unwrap_or(0)) % 126];
                self.peer.send(&frame(first, &payload));
            }
            7 => self.peer.room((input.number() > 0).then_some(input.number() % 5000)),
            8 => self.peer.piece(1 + input.number()),
            9 => self.wait(Duration::from_millis(4 * input.byte().map_or(0, u64::from))).await,
            10 => self.plan.lock().outcomes.push_back(match input.byte().unwrap_or(0) {
                0..=127 => Outcome::Waits,
                128..=250 => Outcome::Replies(input.byte().map_or(0, usize::from) % 8),
                _ => Outcome::Fails,
            }),
            11 => self.plan.answer(),
            12 | 13 => {
                let mut plan = self.plan.lock();
                let message = plan.message(input.number() % 3000);
                if self.connection.push(message).is_err() {
                    plan.accepted.pop();
                }
            }
            14 => {
                let n = usize::from(input.byte().unwrap_or(0));
                self.plan.lock().ended = true;
                self.connection.close(FIXED_CLOSE_REASONS[n % FIXED_CLOSE_REASONS.len()].clone());
            }
            _ => match input.byte().unwrap_or(0) {
                0..=127 => self.peer.end(),
                _ => self.peer.break_down(),
            },
        }
    }

    async fn wait(&mut self, time: Duration) {
        self.settle().await;
        tokio::time::advance(time).await;
        self.settle().await;
    }

    /// Turns until nothing wakes it any more.
    async fn settle(&mut self) {
        for _ in 0..4000 {
            // Gives the timers a look at the clock, and a budget of their own.
            tokio::task::yield_now().await;
            if self.done || !self.woken.0.swap(false, Ordering::SeqCst) {
                return;
            }
            let waker = Waker::from(Arc::clone(&self.woken));
            self.done = self.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        }
        panic!("wakes itself for ever");
    }

    fn assert_bounded(&self) {
        // A message counts as no less than its share of the bound.
        assert!(internal::held(&self.connection) <= OUTBOUND + 37 * 1024);
        assert_eq!(self.plan.lock().handed_after_the_end, 0);
        assert!(
            self.records.connected() == 1 && self.records.closed().len() == usize::from(self.done)
        );
    }

    fn assert_over(&self) {
        assert!(self.done, "within two close timeouts");
        self.assert_bounded();
        let closed = &self.records.closed()[0];
        assert!(closed.queued_peak <= OUTBOUND);
        let written = self.peer.written();
        assert_eq!(closed.bytes_out, written.len() as u64);
        let mut frames = peer::frames(&written);
        let mut close = None;
        if frames.last().is_some_and(|(opcode, _)| *opcode == 8) {
            close = frames.pop();
        }
        assert!(frames.iter().all(|(opcode, _)| *opcode != 8), "data behind a close");
        let texts = frames.iter().filter(|(opcode, _)| *opcode == 1);
        let texts: Vec<_> = texts.map(|(_, it)| String::from_utf8(it.clone()).unwrap()).collect();
        assert!(self.plan.lock().accepted.starts_with(&texts), "in order, at most once");
        assert!(close.is_some() || !closed.flushed);
        if let Some((_, payload)) = close
            && let Some((code, _)) = payload.split_first_chunk()
        {
            let code = u16::from_be_bytes(*code);
            let fixed = FIXED_CLOSE_REASONS.iter().filter_map(CloseReason::code);
            // The peer's own is answered with itself, if it may be sent at all.
            let answer = CloseReason::PeerClosed(closed.received_code).code();
            assert!(fixed.chain(answer).any(|it| u16::from(it) == code), "{code}");
        }
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn number(&mut self) -> usize {
        let mut byte = || self.byte().unwrap_or(0);
        usize::from(u16::from_be_bytes([byte(), byte()]))
    }
}

const CLOSE: Duration = Duration::from_millis(50);
const OUTBOUND: usize = 48 * 1024;
