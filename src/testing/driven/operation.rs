//! What can happen to a connection from all sides, as a value: for properties and for a fuzz target.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use tokio::sync::oneshot;
use tower_service::Service;

use super::served::Served;
use crate::{
    close::Close,
    driver::ConnectionConfig,
    layers::{Anonymous, Failure, Inbound, Reply},
    message::Message,
    testing::wire::frame,
};

/// One thing that happens from outside the driver.
#[derive(Clone, Debug)]
pub enum Operation {
    /// The peer sends frames, cut into chunks of so many bytes.
    Send(Vec<Sent>, usize),
    /// From now on the socket takes so many bytes more.
    Room(Option<usize>),
    /// From now on the socket takes at most so many bytes at once.
    Piece(Option<usize>),
    /// So many milliseconds pass.
    Wait(u64),
    /// So many milliseconds pass before the task is run again.
    Late(u64),
    /// What handlers will do.
    Plan(Outcome),
    /// The handler that waits is done.
    Answer,
    /// The application pushes a message of so many bytes, more or less.
    Push(usize),
    Close(Close),
    /// The peer sends no more.
    End,
    BreakDown,
}

/// What a peer may send.
#[derive(Clone, Debug)]
pub enum Sent {
    Text(usize),
    First(usize),
    Middle,
    Last,
    Ping,
    Pong,
    Close,
    Raw(Vec<u8>),
    /// A frame with this first byte, and so many bytes of payload.
    Frame(u8, usize),
}

/// What a handler does with its message.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// So many replies.
    Replies(usize),
    Waits,
    Fails,
    Panics,
}

/// The stack's side, and what was put in the peer's queue.
#[derive(Default)]
pub struct Plan {
    outcomes: VecDeque<Outcome>,
    waiting: Option<oneshot::Sender<()>>,
    /// A close reason was given: nothing may be handed to the stack any more.
    pub ended: bool,
    pub handed_after_the_end: usize,
    /// Every message that was accepted for the peer, in order.
    pub accepted: Vec<String>,
}

impl Plan {
    fn message(&mut self, size: usize) -> Message {
        let text = format!("{}{}", self.accepted.len(), "x".repeat(size));
        self.accepted.push(text.clone());
        Message::text(text)
    }

    fn replies(&mut self, count: usize) -> Reply<Message> {
        Reply::many((0..count).map(|n| self.message(n)).collect::<Vec<_>>())
    }
}

struct Planned(Arc<Mutex<Plan>>);

impl Service<Inbound<Message, Anonymous>> for Planned {
    type Response = Reply<Message>;
    type Error = Failure<Message>;
    type Future = Pin<Box<dyn Future<Output = Result<Reply<Message>, Failure<Message>>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Inbound<Message, Anonymous>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        let mut plan = self.0.lock().unwrap();
        plan.handed_after_the_end += usize::from(plan.ended);
        let outcome = plan.outcomes.pop_front().unwrap_or(Outcome::Replies(1));
        plan.ended |= matches!(outcome, Outcome::Fails | Outcome::Panics);
        let wait = matches!(outcome, Outcome::Waits).then(|| {
            let (done, wait) = oneshot::channel();
            plan.waiting = Some(done);
            wait
        });
        drop(plan);
        Box::pin(async move {
            match outcome {
                Outcome::Replies(count) => Ok(shared.lock().unwrap().replies(count)),
                Outcome::Waits => {
                    let _ = wait.unwrap().await;
                    Ok(shared.lock().unwrap().replies(1))
                }
                Outcome::Fails => Err(Close::INVALID_MESSAGE.into()),
                Outcome::Panics => panic!("as planned"),
            }
        })
    }
}

/// A connection, and what it is put through.
pub struct Run {
    pub served: Served,
    pub plan: Arc<Mutex<Plan>>,
}

impl Run {
    pub fn new(config: ConnectionConfig) -> Self {
        let plan = Arc::new(Mutex::new(Plan::default()));
        let served = Served::new(config, Planned(Arc::clone(&plan)));
        Self { served, plan }
    }

    pub async fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Send(sent, size) => {
                let bytes: Vec<u8> = sent.iter().flat_map(Sent::bytes).collect();
                for chunk in bytes.chunks(*size) {
                    self.served.peer.send(chunk);
                }
            }
            Operation::Room(room) => self.served.peer.room(*room),
            Operation::Piece(piece) => self.served.peer.piece(*piece),
            Operation::Wait(millis) => self.served.wait(*millis).await,
            Operation::Late(millis) => self.served.sleep(*millis).await,
            Operation::Plan(outcome) => {
                self.plan.lock().unwrap().outcomes.push_back(outcome.clone());
            }
            Operation::Answer => {
                let waiting = self.plan.lock().unwrap().waiting.take();
                waiting.map(|it| it.send(()));
            }
            Operation::Push(size) => {
                let mut plan = self.plan.lock().unwrap();
                let message = plan.message(*size);
                if self.served.connection.push(message).is_err() {
                    plan.accepted.pop();
                }
            }
            Operation::Close(reason) => {
                self.plan.lock().unwrap().ended = true;
                self.served.connection.close(reason.clone());
            }
            Operation::End => self.served.peer.end(),
            Operation::BreakDown => self.served.peer.break_down(),
        }
        self.served.settle().await;
    }
}

impl Sent {
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(size) => frame(0x81, secret(*size)),
            Self::First(size) => frame(0x01, secret(*size)),
            Self::Middle => frame(0x00, b""),
            Self::Last => frame(0x80, secret(1)),
            Self::Ping => frame(0x89, secret(4)),
            Self::Pong => frame(0x8a, 0u64.to_be_bytes()),
            Self::Close => frame(0x88, [&1000u16.to_be_bytes(), &*secret(40)].concat()),
            Self::Raw(bytes) => bytes.clone(),
            Self::Frame(first, size) => frame(*first, secret(*size)),
        }
    }
}

/// What every peer sends, so that it can be looked for where it must not be.
pub const SECRET: &str = "s3cret";

fn secret(size: usize) -> Vec<u8> {
    SECRET.bytes().cycle().take(size).collect()
}
