//! Connections of one thread share protocol contexts: nobody hears what another has sent.

use std::task::{Context, Poll, Waker};

use proptest::{collection::vec, prelude::*};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::tungstenite::Message;

use super::support::frame;
use crate::driver::{
    contexts,
    engine::Engine,
    scanner::{FrameScanner, ScannerLimits},
    transport::Opaque,
    wire::Wire,
};

/// A connection, the peer's end, and what the peer has still to send.
struct Line {
    engine: Engine<Opaque<DuplexStream>>,
    peer: DuplexStream,
    unsent: Vec<u8>,
    heard: Vec<String>,
}

/// Announced, then cut in pieces: text in one frame or two, with a ping before, between or behind.
#[derive(Clone, Debug)]
struct Said {
    text: String,
    cut: usize,
    ping: usize,
}

impl Said {
    fn bytes(&self) -> Vec<u8> {
        let (first, second) = self.text.split_at(self.cut.min(self.text.len()));
        let mut frames = vec![frame(0x01, first), frame(0x80, second)];
        frames.insert(self.ping, frame(0x89, "ping"));
        frames.concat()
    }
}

impl Line {
    fn new(said: &[Said]) -> Self {
        let limits = ScannerLimits {
            max_message: 10_000,
            max_first_message: 10_000,
            max_fragments: 8,
            control_burst: 1_000,
        };
        let (io, peer) = duplex(64 * 1024);
        let wire = Wire::new(Opaque(io), 0, FrameScanner::new(limits), None);
        let unsent = said.iter().flat_map(Said::bytes).collect();
        Self { engine: Engine::new(wire, 10_000), peer, unsent, heard: Vec::new() }
    }

    /// The peer sends up to `most` bytes, and all that has come is read.
    async fn go_on(&mut self, most: usize) {
        let piece: Vec<u8> = self.unsent.drain(..most.min(self.unsent.len())).collect();
        self.peer.write_all(&piece).await.unwrap();
        let cx = &mut Context::from_waker(Waker::noop());
        while let Poll::Ready(read) = self.engine.poll_read(cx) {
            if let Message::Text(text) = read.unwrap().unwrap() {
                self.heard.push(text.to_string());
            }
        }
    }
}

fn said() -> impl Strategy<Value = Said> {
    let text = prop_oneof![4 => "[a-z]{0,30}", 1 => "[a-z]{1000,3000}"];
    (text, 0_usize..40, 0_usize..=2).prop_map(|(text, cut, ping)| Said { text, cut, ping })
}

proptest! {
    #[test]
    fn each_hears_its_own_peer_whoever_had_the_context_before(
        said in vec(vec(said(), 0..6), 2..5),
        steps in vec((any::<prop::sample::Index>(), 1_usize..200), 0..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut lines: Vec<_> = said.iter().map(|it| Line::new(it)).collect();
            for (line, most) in &steps {
                let at = line.index(lines.len());
                lines[at].go_on(*most).await;
            }
            for (line, said) in lines.iter_mut().zip(&said) {
                line.go_on(usize::MAX).await;
                let texts: Vec<_> = said.iter().map(|it| it.text.clone()).collect();
                prop_assert_eq!(&line.heard, &texts);
                prop_assert!(!line.engine.has_context() || line.engine.is_grown());
            }
            Ok(())
        })?;
    }
}

#[test]
fn a_context_keeps_to_the_limits_of_whom_it_is_lent_to() {
    let config = |max| contexts::config(max);
    let first = contexts::take(config(10));
    contexts::give_back(first);
    let second = contexts::take(config(20_000));
    assert_eq!(second.get_config().max_message_size, Some(20_000));
    assert_eq!(second.get_config().max_frame_size, Some(20_000));
    contexts::give_back(second);
    // A ping may be longer than a message may be.
    assert_eq!(contexts::take(config(10)).get_config().max_frame_size, Some(125));
}
