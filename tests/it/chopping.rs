//! What a stream means does not depend on how it was cut, and no stream does harm.

use std::time::Duration;

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};
use tokio::{runtime::Builder, task::yield_now, time::timeout};
use tower_websocket::audit::Closed;

use super::{
    support::{TestServer, quiet},
    support_client::{BINARY, Frame, TEXT, close, frame, masked},
};

/// A message, a control frame, or something that only looks like one.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let payload = || {
        prop_oneof![
            8 => "[aé€😀]{0,12}".prop_map(String::into_bytes),
            2 => vec(any::<u8>(), 0..40),
            1 => (100..5_000_usize).prop_map(|size| vec![b'a'; size]),
        ]
    };
    let whole = (select(vec![0x81, 0x82]), any::<[u8; 4]>(), payload())
        .prop_map(|(first, key, payload)| masked(first, key, payload));
    let fragments = (select(vec![TEXT, BINARY]), payload(), any::<Index>()).prop_map(
        |(opcode, payload, at)| {
            let (first, rest) = payload.split_at(at.index(payload.len() + 1));
            [frame(opcode, first), frame(0x89, "between"), frame(0x80, rest)].concat()
        },
    );
    let control = (select(vec![0x89, 0x8a]), vec(any::<u8>(), 0..=125))
        .prop_map(|(first, payload)| frame(first, payload));
    let goodbye = (prop_oneof![Just(1000), any::<u16>()], vec(any::<u8>(), 0..10))
        .prop_map(|(code, reason)| close(code, &reason));
    prop_oneof![
        12 => whole,
        6 => fragments,
        4 => control,
        1 => goodbye,
        2 => vec(any::<u8>(), 1..30),
    ]
}

/// Below the time that a message may take, so that half a message is not refused meanwhile.
const QUIET: Duration = Duration::from_secs(1);

/// What came of a stream: how the connection ended, and the messages that were answered.
#[derive(Debug)]
struct Outcome {
    rule: &'static str,
    code: Option<u16>,
    messages: u64,
    answers: Vec<Frame>,
}

/// Sends `stream` in pieces of these `sizes`, over a line that holds `line` bytes each way.
fn outcome(stream: &[u8], sizes: &[usize], line: usize) -> Outcome {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let server = TestServer::echo(quiet()).await;
        let mut client = server.connect_narrow(line).await;
        let mut rest = stream;
        for size in sizes.iter().cycle() {
            let (piece, behind) = rest.split_at((*size).min(rest.len()));
            // The server may have hung up.
            if piece.is_empty() || client.flood(piece, 1).await == 0 {
                break;
            }
            rest = behind;
            yield_now().await;
        }
        let mut answers = Vec::new();
        // Until the server hangs up, or has no more to say.
        while let Ok(Some(frame)) = timeout(QUIET, client.next()).await {
            if [TEXT, BINARY].contains(&frame.opcode) {
                answers.push(frame);
            }
        }
        drop(client);
        let closed = server.closed(0).await;
        let Closed { rule, intended_code: code, .. } = closed;
        assert_eq!(server.probe.calls() as u64, closed.messages_in, "{closed:?}");
        Outcome { rule, code, messages: closed.messages_in, answers }
    })
}

proptest! {
    // covers: FR-32, P2-06
    #[test]
    fn a_stream_means_the_same_however_it_is_cut(
        pieces in vec(piece(), 1..12),
        sizes in vec(1..60_usize, 1..6),
        line in 64..4_096_usize,
    ) {
        let stream = pieces.concat();
        let whole = outcome(&stream, &[stream.len()], 1 << 20);
        prop_assert_ne!(whole.code, Some(1011));
        for (sizes, line) in [(&sizes[..], line), (&[1], 64)] {
            let cut = outcome(&stream, sizes, line);
            let same = |it: &Outcome| (it.rule, it.code, it.messages);
            prop_assert_eq!(same(&cut), same(&whole), "{:?}", sizes);
            // What had not gone out when the peer broke the rules never does.
            let (few, many) = if cut.answers.len() < whole.answers.len() {
                (&cut.answers, &whole.answers)
            } else {
                (&whole.answers, &cut.answers)
            };
            prop_assert!(many.starts_with(few));
        }
    }
}
