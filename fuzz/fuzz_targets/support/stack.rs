//! A stack that does what it is told, and records of what became of the connection.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
};

use tokio::sync::oneshot;
use tower_service::Service;
use tower_websocket::{
    Anonymous, AuditEvent, AuditSink, CloseReason, Closed, Failure, Inbound, Message, Reply,
};

/// What a handler does with its message.
pub(crate) enum Outcome {
    /// So many replies.
    Replies(usize),
    Waits,
    Fails,
}

#[derive(Clone, Default)]
pub(crate) struct Plan(Arc<Mutex<Planning>>);

#[derive(Default)]
pub(crate) struct Planning {
    pub(crate) outcomes: VecDeque<Outcome>,
    waiting: Option<oneshot::Sender<()>>,
    /// A close reason was given: nothing may be handed to the stack any more.
    pub(crate) ended: bool,
    pub(crate) handed_after_the_end: usize,
    /// Every message that was accepted for the peer, in order.
    pub(crate) accepted: Vec<String>,
}

impl Plan {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Planning> {
        self.0.lock().unwrap()
    }

    /// The handler that waits is done.
    pub(crate) fn answer(&self) {
        let waiting = self.lock().waiting.take();
        if let Some(waiting) = waiting {
            let _ = waiting.send(());
        }
    }
}

impl Planning {
    pub(crate) fn message(&mut self, size: usize) -> Message {
        let text = format!("{}{}", self.accepted.len(), "x".repeat(size));
        self.accepted.push(text.clone());
        Message::text(text)
    }

    fn replies(&mut self, count: usize) -> Reply<Message> {
        Reply::many((0..count).map(|n| self.message(n)).collect::<Vec<_>>())
    }
}

pub(crate) struct Planned(pub(crate) Plan);

impl Service<Inbound<Message, Anonymous>> for Planned {
    type Response = Reply<Message>;
    type Error = Failure<Message>;
    type Future = Pin<Box<dyn Future<Output = Result<Reply<Message>, Failure<Message>>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Inbound<Message, Anonymous>) -> Self::Future {
        let shared = self.0.clone();
        let mut plan = self.0.lock();
        plan.handed_after_the_end += usize::from(plan.ended);
        let outcome = plan.outcomes.pop_front().unwrap_or(Outcome::Replies(1));
        plan.ended |= matches!(outcome, Outcome::Fails);
        let (done, wait) = oneshot::channel();
        if matches!(outcome, Outcome::Waits) {
            plan.waiting = Some(done);
        }
        drop(plan);
        Box::pin(async move {
            match outcome {
                Outcome::Replies(count) => Ok(shared.lock().replies(count)),
                Outcome::Waits => {
                    let _ = wait.await;
                    Ok(shared.lock().replies(1))
                }
                Outcome::Fails => Err(CloseReason::InvalidMessage.into()),
            }
        })
    }
}

/// Audit records, kept.
#[derive(Clone, Default)]
pub(crate) struct Records(Arc<Mutex<Vec<AuditEvent>>>);

impl AuditSink for Records {
    fn record(&self, event: AuditEvent) {
        self.0.lock().unwrap().push(event);
    }
}

impl Records {
    pub(crate) fn connected(&self) -> usize {
        let records = self.0.lock().unwrap();
        records.iter().filter(|it| matches!(it, AuditEvent::Connected { .. })).count()
    }

    pub(crate) fn closed(&self) -> Vec<Closed> {
        let records = self.0.lock().unwrap();
        let closed = records.iter().filter_map(|it| match it {
            AuditEvent::Closed(closed) => Some(closed.clone()),
            _ => None,
        });
        closed.collect()
    }
}
