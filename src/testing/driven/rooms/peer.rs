//! One peer: its connection, and what it has heard on it.

use crate::testing::{
    driven::served::Served,
    invariant::Invariant,
    wire::{self, frame},
};

use super::service::Say;

pub(super) struct Peer {
    pub(super) served: Served,
    /// Lines, in order.
    pub(super) heard: Vec<String>,
    /// The payload of the close frame.
    pub(super) closed: Option<Vec<u8>>,
    /// Bytes of the wire that were looked at.
    read: usize,
}

impl Peer {
    pub(super) fn new(served: Served) -> Self {
        Self { served, heard: Vec::new(), closed: None, read: 0 }
    }

    pub(super) fn say(&self, say: &Say) {
        let text = serde_json::to_string(say).unwrap();
        self.served.peer.send(frame(0x81, text));
    }

    pub(super) fn say_goodbye(&self) {
        self.served.peer.send(frame(0x88, 1000u16.to_be_bytes()));
    }

    /// Takes from the wire what is new on it.
    pub(super) fn listen(&mut self) {
        let socket = self.served.peer.socket();
        while let Some((opcode, payload, rest)) = wire::parse(&socket.written[self.read..]) {
            let closed = self.closed.is_some();
            Invariant::OneEnd.assert(!closed, || "a frame behind a close".into());
            match opcode {
                1 => self.heard.push(serde_json::from_slice(payload).unwrap()),
                8 => self.closed = Some(payload.to_vec()),
                opcode => panic!("nobody asked for {opcode}"),
            }
            self.read = socket.written.len() - rest.len();
        }
    }

    /// The rooms it was let into and has not left, as audit records have them: sorted.
    pub(super) fn rooms(&self) -> Vec<String> {
        let mut rooms = Vec::new();
        for (room, times) in self.served.records.memberships() {
            let once = times == 0 || times == 1;
            Invariant::AllReturned.assert(once, || format!("in {room} {times} times"));
            rooms.extend((times == 1).then_some(room));
        }
        rooms
    }
}
