//! Texts that are no UTF-8 or no JSON, and legal ones in odd pieces.

use crate::{
    catalogue::Attack,
    target::Target,
    verdict::{Severity::*, Verdict, Weight, found, together},
    wire::{ENDS, GOES_ON, PING, TEXT_BEGINS, close, frame, hex, text},
};

use super::{By, each, each_ends};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        row: "MS-11",
        severity: P1,
        name: "texts that are no UTF-8",
        test: "a text is utf8",
        alone: false,
        run: |target| Box::pin(utf8(target)),
    },
    Attack {
        row: "MS-12",
        severity: P1,
        name: "texts that are not exactly one JSON object",
        test: "text that is not exactly one object is refused",
        alone: false,
        run: |target| Box::pin(not_json(target)),
    },
    Attack {
        row: "P2-02",
        severity: P2,
        name: "legal but unusual frames",
        test: "control frames may stand between fragments",
        alone: false,
        run: |target| Box::pin(unusual(target)),
    },
    Attack {
        row: "P2-06",
        severity: P2,
        name: "the same bytes in other pieces",
        test: "a stream means the same however it is cut",
        alone: false,
        run: |target| Box::pin(chopped(target)),
    },
];

async fn utf8(target: &Target) -> Verdict {
    let bad = [
        "81 82 K c080",
        "81 83 K eda080",
        "81 84 K f4908080",
        "81 82 K e282",
        "01 82 K e282 80 81 K 61",
    ];
    // A character that two fragments share is whole.
    let (room, mark) = (target.name(), format!("€{}", target.name()));
    let chat = target.protocol.chat(&room, &mark).into_bytes();
    let within = chat.iter().position(|it| *it == 0xe2).map_or(0, |at| at + 1);
    let (head, tail) = chat.split_at(within);
    let shared = [frame(TEXT_BEGINS, head), frame(ENDS, tail)].concat();
    together([
        each_ends(target, By::User, bad.map(hex), &[1007]).await,
        delivered(target, &room, &mark, &[&shared]).await,
    ])
}

async fn not_json(target: &Target) -> Verdict {
    let texts = [
        "",
        "   ",
        "nul",
        "{'a':1}",
        "{\"a\":1,}",
        "/**/{}",
        "NaN",
        "\u{feff}{}",
        "{}\0",
        "{}{}",
        "{}x",
        "[]",
        "\"x\"",
    ];
    each_ends(target, By::User, texts.map(text), &[1008]).await
}

async fn unusual(target: &Target) -> Verdict {
    let (room, mark) = (target.name(), target.name());
    let chat = target.protocol.chat(&room, &mark);
    let (head, tail) = chat.split_at(chat.len() / 2);
    let pieces = [
        frame(TEXT_BEGINS, ""),
        frame(GOES_ON, head),
        frame(PING, "now"),
        frame(GOES_ON, ""),
        frame(ENDS, tail),
    ];
    let mut masked = text(&chat);
    // The other mask that looks like none.
    let start = masked.len() - chat.len();
    for (at, byte) in masked.iter_mut().enumerate() {
        *byte ^= if at >= start - 4 { 0xff } else { 0 };
    }
    let mut verdicts = vec![
        delivered(target, &room, &mark, &[&pieces.concat()]).await,
        delivered(target, &room, &mark, &[&masked]).await,
        pings(target).await,
    ];
    let mut peer = target.user(&target.name()).await?;
    peer.be_indecent();
    peer.send(&[frame(TEXT_BEGINS, head), close(1000, "")].concat()).await;
    verdicts.push(peer.must_close(&[1000], &[]).await);
    together(verdicts)
}

async fn pings(target: &Target) -> Verdict {
    let mut peer = target.user(&target.name()).await?;
    let payloads = [0u8, 1, 124, 125].map(|size| (0..size).map(|it| 0xff - it).collect::<Vec<_>>());
    for payload in &payloads {
        peer.send(&frame(PING, payload)).await;
        let end = peer.end_within(target.patience() / 4).await;
        if !end.pongs.contains(payload) {
            return found(
                Weight::Broken,
                peer.sent(),
                end.describe(),
                "a pong with the same bytes",
            );
        }
    }
    Ok(())
}

async fn chopped(target: &Target) -> Verdict {
    each([1, 2, 3, 7, 64], async |size| {
        let (room, mark) = (target.name(), target.name());
        let chat = text(target.protocol.chat(&room, &mark));
        let pieces: Vec<_> = chat.chunks(size).collect();
        let legal = delivered(target, &room, &mark, &pieces).await;
        let mut peer = target.user(&target.name()).await?;
        for piece in hex("01 81 K 61 83 80 K").chunks(size) {
            peer.send(piece).await;
        }
        together([legal, peer.must_close(&[1002], &[]).await])
    })
    .await
}

/// A member of `room` that sends `pieces` hears `mark`.
async fn delivered(target: &Target, room: &str, mark: &str, pieces: &[&[u8]]) -> Verdict {
    let mut peer = target.member(room).await?;
    for piece in pieces {
        peer.send(piece).await;
    }
    match peer.hear(mark).await {
        Ok(_) => Ok(()),
        Err(error) => {
            found(Weight::Broken, peer.sent(), error.to_string(), "the message, delivered")
        }
    }
}
