//! What holds for a connection whatever it is put through: the same checks for properties and for
//! the fuzz target.

use std::sync::Arc;

use crate::{
    close::{Close, CloseReason},
    driver::ConnectionConfig,
    testing::invariant::Invariant,
};

use super::operation::{Operation, Run, SECRET};

impl Run {
    /// What holds at any time.
    pub fn check(&self) {
        let Self { served, plan } = self;
        let (held, bound) = (served.connection.outbound().held(), outbound_bound(&served.config));
        Invariant::Bounded.assert(held <= bound, || format!("{held} bytes for the peer"));
        let (used, bound) = (served.budget.used(), bound + input_bound(&served.config));
        Invariant::Bounded.assert(used <= bound, || format!("{used} bytes in all"));

        let late = plan.lock().unwrap().handed_after_the_end;
        Invariant::OneEnd.assert(late == 0, || format!("{late} handed up after the end"));
        let ends = served.records.all_closed().len();
        Invariant::OneEnd.assert(ends == usize::from(served.done), || format!("{ends} recorded"));
    }

    /// Ends the connection, and checks what is left of it.
    pub async fn finish(mut self) {
        self.apply(&Operation::Close(Close::FORBIDDEN)).await;
        let close = self.served.config.close_timeout.as_millis();
        // What was queued may take one, and the close frame another.
        for _ in 0..2 {
            self.apply(&Operation::Late(close as u64)).await;
        }
        self.check();
        self.check_end();
        self.check_wire();
    }

    fn check_end(&self) {
        let Self { served, plan } = self;
        let returned = Invariant::AllReturned;
        returned.assert(served.done, || "not done within two close timeouts".into());
        returned.assert(served.peer.socket().gone, || "the socket".into());
        returned.assert(served.permit_is_back(), || "the permit".into());
        returned.assert(Arc::strong_count(plan) == 1, || "the stack, or a call".into());
        let used = served.budget.used();
        returned.assert(used == 0, || format!("{used} bytes are still charged"));

        let closed = served.records.closed();
        let (peak, bound) = (closed.queued_peak, served.config.outbound_bytes());
        Invariant::Bounded.assert(peak <= bound, || format!("{peak} bytes queued"));
        assert_eq!(closed.bytes_out, served.peer.socket().written.len() as u64);
        let records = format!("{:?}", served.records);
        Invariant::NoSecrets.assert(!records.contains(SECRET), || records);
    }

    /// What the peer has got: data in order and at most once, then one close frame at most.
    fn check_wire(&self) {
        let mut frames = self.served.peer.frames();
        let close = frames.pop_if(|(opcode, _)| *opcode == 8);
        let behind = frames.iter().any(|(opcode, _)| *opcode == 8);
        Invariant::OneEnd.assert(!behind, || "a frame behind a close".into());
        let texts = frames.into_iter().filter(|(opcode, _)| *opcode == 1);
        let texts: Vec<_> = texts.map(|(_, text)| String::from_utf8(text).unwrap()).collect();
        assert!(self.plan.lock().unwrap().accepted.starts_with(&texts), "in order, at most once");

        let closed = self.served.records.closed();
        let Some((_, payload)) = close else {
            return Invariant::OneEnd.assert(!closed.flushed, || "no close on the wire".into());
        };
        let shown = String::from_utf8_lossy(&payload);
        Invariant::NoSecrets.assert(!shown.contains(SECRET), || shown.to_string());
        // The peer's own is answered with itself, if it may be sent at all.
        let answer = CloseReason::PeerClosed(closed.received_code);
        let mut known = CloseReason::ALL.iter().chain([&answer]).map(payload_of);
        Invariant::KnownCloses.assert(known.any(|it| it == payload), || shown.to_string());
    }
}

/// The payload of a close frame, as the table has it.
fn payload_of(reason: &CloseReason) -> Vec<u8> {
    let Some(code) = reason.code() else { return Vec::new() };
    [&u16::from(code).to_be_bytes(), reason.text().as_bytes()].concat()
}

/// A message counts as no less than its share of the bound, and pongs and pings are the peer's and
/// ours, not the application's.
fn outbound_bound(config: &ConnectionConfig) -> usize {
    config.outbound_bytes() + 37 * 1024
}

/// The largest message, in a buffer that grows, and what one read may have brought with it.
fn input_bound(config: &ConnectionConfig) -> usize {
    2 * config.max_message_size + 16 * 1024
}
