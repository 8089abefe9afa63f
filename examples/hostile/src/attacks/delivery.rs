//! Peers that do not read, and peers that are not there.

use tokio::time::{Instant, sleep};

use crate::{
    catalogue::Attack,
    peer::{End, Peer},
    target::Target,
    verdict::{Severity::*, Trouble, Verdict, Weight, found, together},
    wire::{CLOSE, PING, PONG, TEXT, frame, text},
};

use super::each;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        row: "DL-15",
        severity: P1,
        name: "a peer that is not there any more",
        test: "a peer that does not answer is gone after ping and pong",
        alone: false,
        run: |target| Box::pin(half_open(target)),
    },
    Attack {
        row: "DL-16",
        severity: P1,
        name: "pongs that answer no ping",
        test: "only the pong to the last ping is a sign of life",
        alone: false,
        run: |target| Box::pin(lies(target)),
    },
    Attack {
        row: "DL-01",
        severity: P0,
        name: "a member that never reads",
        test: "a member that never reads is dropped and the others get everything",
        alone: true,
        run: |target| Box::pin(never_reads(target)),
    },
    Attack {
        row: "DL-02",
        severity: P0,
        name: "a close that is lost behind what was not read",
        test: "a 1013 waits behind what was written and nothing is left out before it",
        alone: true,
        run: |target| Box::pin(reads_again(target)),
    },
    Attack {
        row: "DL-13",
        severity: P1,
        name: "messages left out in silence",
        test: "a lagging peer sees a gap only as the end",
        alone: true,
        run: |target| Box::pin(gaps(target)),
    },
];

async fn half_open(target: &Target) -> Verdict {
    let mut peer = target.user(&target.name()).await?;
    peer.be_indecent();
    let limits = &target.limits;
    let limit = limits.ping_interval + limits.pong_timeout;
    let end = peer.end_within(limit + limits.close_timeout + target.patience()).await;
    if end.over && end.pings > 0 {
        return Ok(());
    }
    let weight = if end.over { Weight::WrongAnswer } else { Weight::Broken };
    let came = format!("{} pings, {}", end.pings, end.describe());
    let expected = format!("a ping, and the end after {} ms at most", limit.as_millis());
    found(weight, "no answer to a ping", came, expected)
}

async fn lies(target: &Target) -> Verdict {
    let limits = &target.limits;
    let limit = limits.ping_interval + limits.pong_timeout + limits.close_timeout;
    each([false, true], async |previous| {
        let mut peer = target.user(&target.name()).await?;
        peer.be_indecent();
        let deadline = Instant::now() + limit + target.patience();
        let mut answer = b"never asked".to_vec();
        while let Some(ping) = peer.next(deadline).await {
            if ping.first == PING {
                peer.send(&frame(PONG, &answer)).await;
                if previous {
                    answer = ping.payload;
                }
            }
            if ping.first == CLOSE {
                break;
            }
        }
        if Instant::now() < deadline {
            return Ok(());
        }
        let came = format!("still open after {} ms", limit.as_millis());
        found(Weight::Broken, "for each ping a pong that answers another", came, "the end")
    })
    .await
}

async fn never_reads(target: &Target) -> Verdict {
    let Flood { mut stalled, heard, count, .. } = flood(target).await?;
    // Long enough for a server that lets go of it.
    sleep(target.limits.close_timeout + target.patience()).await;
    let end = stalled.end().await;
    let got = marks(&end).len();
    let sent = format!("{count} messages to a room with a member that does not read");
    let held = if end.over && got < count {
        Ok(())
    } else {
        let came = format!("it could read {got} of them later, {}", ending(&end));
        found(Weight::Broken, sent.clone(), came, "close 1013, and the end")
    };
    let others = if heard == count {
        Ok(())
    } else {
        found(Weight::Broken, sent, format!("others got {heard}"), "others get every one")
    };
    together([held, others])
}

async fn reads_again(target: &Target) -> Verdict {
    let Flood { mut stalled, count, .. } = flood(target).await?;
    let end = stalled.end().await;
    if end.code() == Some(1013) {
        return Ok(());
    }
    let weight = if end.over { Weight::WrongAnswer } else { Weight::Broken };
    let sent = format!("{count} messages to a room with a member that reads only afterwards");
    let came = format!("{} of them, {}", marks(&end).len(), ending(&end));
    found(weight, sent, came, "as many as were written, then close 1013")
}

async fn gaps(target: &Target) -> Verdict {
    let Flood { mut stalled, room, count, .. } = flood(target).await?;
    let end = stalled.end().await;
    let mut got = marks(&end);
    if !end.over && end.closes.is_empty() {
        // What comes next shows whether it has missed anything.
        let mut sender = target.member(&room).await?;
        sender.send(&numbered(target, &room, count)).await;
        got.extend(marks(&stalled.end().await));
    }
    let gap = got.iter().enumerate().find(|(nth, mark)| nth != *mark);
    let Some((nth, mark)) = gap else { return Ok(()) };
    let sent = format!("{count} messages to a room with a member that reads only afterwards");
    found(Weight::Broken, sent, format!("number {mark} in place of {nth}"), "no gap before the end")
}

/// A member that has not read for longer than the server can hold things for it.
struct Flood<'a> {
    stalled: Peer<'a>,
    room: String,
    /// Messages that a member got that did read.
    heard: usize,
    count: usize,
}

/// Fills a room with numbered messages. Each sender stays within what it may send, and all of them log
/// in before the first speaks, so that the server's patience does not run out meanwhile.
async fn flood(target: &Target) -> Result<Flood<'_>, Trouble> {
    let room = target.name();
    let volume = target.limits.max_outbound + KERNEL;
    let each = target.limits.burst.saturating_sub(8).max(1);
    let mut senders = Vec::new();
    for _ in 0..volume.div_ceil(each * FILLING.len() * REPEATED) {
        senders.push(target.user(&target.name()).await?);
    }
    let mut stalled = target.narrow_member(&room).await?;
    stalled.be_indecent();
    let mut reader = target.member(&room).await?;
    let count = senders.len() * each;
    let read = async {
        let mut heard = 0;
        while heard < count
            && let Some(frame) = reader.next(Instant::now() + 2 * target.patience()).await
        {
            let is_one =
                frame.first == TEXT && mark(&String::from_utf8_lossy(&frame.payload)).is_some();
            heard += usize::from(is_one);
        }
        heard
    };
    let write = async {
        for (nth, mut sender) in senders.into_iter().enumerate() {
            sender.join(&room).await?;
            let chats = (nth * each..(nth + 1) * each).map(|it| numbered(target, &room, it));
            sender.send(&chats.collect::<Vec<_>>().concat()).await;
            sender.hear(&format!("{MARK}{}.", (nth + 1) * each - 1)).await?;
        }
        Ok::<_, Trouble>(())
    };
    let (heard, written) = tokio::join!(read, write);
    written?;
    Ok(Flood { stalled, room, heard, count })
}

fn numbered(target: &Target, room: &str, number: usize) -> Vec<u8> {
    let said = format!("{MARK}{number}.{}", FILLING.repeat(REPEATED));
    text(target.protocol.chat(room, &said))
}

fn marks(end: &End) -> Vec<usize> {
    end.messages.iter().filter_map(|it| mark(it)).collect()
}

fn mark(message: &str) -> Option<usize> {
    let (number, _) = message.split_once(MARK)?.1.split_once('.')?;
    number.parse().ok()
}

fn ending(end: &End) -> String {
    End { closes: end.closes.clone(), over: end.over, took: end.took, ..End::default() }.describe()
}

const MARK: &str = "hostile-number-";

/// A message of some KiB in few characters, of which a server may allow so many.
const FILLING: &str = "€";
const REPEATED: usize = 900;

/// More than kernels hold for a socket that is not read.
const KERNEL: usize = 6 * 1024 * 1024;
