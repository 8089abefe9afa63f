//! Messages that are too large, too slow, or not over when they should be.

use crate::{
    catalogue::Attack,
    protocol::padded,
    target::Target,
    verdict::{Severity::*, Verdict, Weight, found, together},
    wire::{BINARY, ENDS, GOES_ON, PING, PONG, TEXT, TEXT_BEGINS, frame, header, hex, text},
};

use super::{By, each, each_ends, nag, silent};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        row: "MS-01",
        severity: P0,
        name: "messages at the limit and above",
        test: "a message has a size",
        alone: false,
        run: |target| Box::pin(sizes(target)),
    },
    Attack {
        row: "MS-02",
        severity: P0,
        name: "messages that are read on after an error",
        test: "nothing is read on after an error",
        alone: false,
        run: |target| Box::pin(spliced(target)),
    },
    Attack {
        row: "MS-10",
        severity: P1,
        name: "binary messages where texts are spoken",
        test: "a binary message is not taken for text",
        alone: false,
        run: |target| Box::pin(binary(target)),
    },
    Attack {
        row: "FR-18",
        severity: P1,
        name: "a message that takes for ever",
        test: "a message has its time from the first byte to the last",
        alone: false,
        run: |target| Box::pin(slow(target)),
    },
    Attack {
        row: "FR-33",
        severity: P1,
        name: "a ping that never ends",
        test: "a control frame has its time as a message has",
        alone: false,
        run: |target| Box::pin(slow_control(target)),
    },
    Attack {
        row: "FR-30",
        severity: P1,
        name: "so much in flight that the close is lost",
        test: "a peer with much in flight reads why it was closed",
        alone: false,
        run: |target| Box::pin(in_flight(target)),
    },
    Attack {
        row: "P2-01",
        severity: P2,
        name: "a byte that is no UTF-8 early in a long text",
        test: "a byte that is no utf8 is noticed at the end of its frame",
        alone: false,
        run: |target| Box::pin(early_bad_byte(target)),
    },
];

async fn sizes(target: &Target) -> Verdict {
    let (limit, first) = (target.limits.max_message, target.limits.max_first_message);
    let protocol = &target.protocol;
    let half = vec![b' '; limit / 2];
    let too_large = [
        text(vec![b' '; limit + 1]),
        [frame(TEXT_BEGINS, &half), frame(ENDS, vec![b' '; limit + 1 - half.len()])].concat(),
        header(TEXT, limit as u64 + 1),
    ];
    let auth = protocol.auth(&protocol.token(&target.name()));
    let mut verdicts = vec![
        each_ends(target, By::User, too_large, &[1009]).await,
        each_ends(target, By::Stranger, [text(padded(&auth, first + 1))], &[1009]).await,
    ];
    for size in [limit - 1, limit] {
        let mut peer = target.user(&target.name()).await?;
        peer.say(&padded(&protocol.join(&target.name()), size)).await;
        if let Err(error) = peer.hear(protocol.joined()).await {
            let sent = format!("a join with blanks behind it, {size} bytes");
            verdicts.push(found(Weight::WrongAnswer, sent, error.to_string(), protocol.joined()));
        }
    }
    together(verdicts)
}

/// What comes after an error must not be taken for the end of what came before.
async fn spliced(target: &Target) -> Verdict {
    let large = frame(GOES_ON, vec![b'a'; target.limits.max_message]);
    // The error, whether it is in the middle of a message, and the code.
    let cases = [
        (large, true, 1009),
        (hex("00 83 K 58ff59"), true, 1007),
        (hex("81 83 K 58ff59"), false, 1007),
        (hex("83 80 K"), false, 1002),
    ];
    each(cases, async |(error, within, code)| {
        let (room, mark) = (target.name(), target.name());
        let mut witness = target.member(&room).await?;
        let mut peer = target.member(&room).await?;
        let chat = target.protocol.chat(&room, &mark);
        let (head, tail) = chat.split_at(chat.find(&mark).unwrap_or_default());
        let all = match within {
            true => [frame(TEXT_BEGINS, head), error, frame(ENDS, tail)],
            false => [Vec::new(), error, text(&chat)],
        };
        peer.send(&all.concat()).await;
        let closes = peer.must_close(&[code], &[&mark]).await;
        together([closes, silent(target, &mut witness, &room, &mark, &peer.sent()).await])
    })
    .await
}

async fn binary(target: &Target) -> Verdict {
    let stimuli = [hex("82 82 K 7b7d"), frame(BINARY, target.protocol.join(&target.name()))];
    each_ends(target, By::User, stimuli, &[1003, 1008]).await
}

async fn slow(target: &Target) -> Verdict {
    let limit = target.limits.message_timeout;
    let cases = [
        (hex("01 81 K 61"), hex("00 81 K 61")),
        (header(TEXT, target.limits.max_message as u64), b" ".to_vec()),
    ];
    each(cases, async |(first, piece)| {
        let mut peer = target.user(&target.name()).await?;
        peer.send(&first).await;
        nag(target, &mut peer, &piece, limit, limit / 10, 1008).await
    })
    .await
}

/// A byte now and then, of a frame that is done only long after its time.
async fn slow_control(target: &Target) -> Verdict {
    let limit = target.limits.message_timeout;
    each([PING, PONG], async |first| {
        let mut peer = target.user(&target.name()).await?;
        peer.send(&header(first, 125)).await;
        nag(target, &mut peer, b" ", limit, limit / 10, 1008).await
    })
    .await
}

async fn in_flight(target: &Target) -> Verdict {
    let size = (8 * 1024 * 1024).max(2 * target.limits.max_message);
    let mut peer = target.user(&target.name()).await?;
    // It reads only when it has said everything.
    let piece = vec![b' '; 64 * 1024];
    peer.send(&header(TEXT, size as u64)).await;
    peer.send_blindly(&piece, size / piece.len()).await;
    peer.must_close(&[1009], &[]).await
}

async fn early_bad_byte(target: &Target) -> Verdict {
    let mut message = vec![b'a'; target.limits.max_message.min(64 * 1024)];
    if let Some(first) = message.first_mut() {
        *first = 0xff;
    }
    each_ends(target, By::User, [text(message)], &[1007]).await
}
