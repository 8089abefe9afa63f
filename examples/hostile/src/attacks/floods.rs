//! More than anybody has to say.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;

use crate::{
    catalogue::Attack,
    protocol::padded,
    target::Target,
    verdict::{Severity::*, Trouble, Verdict, Weight, found, together},
    wire::{PING, PONG, frame, hex, text},
};

use super::{By, each_ends};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        row: "FR-03",
        severity: P0,
        name: "a flood of pings from a peer that never reads",
        test: "a ping flood is over at the control budget",
        alone: false,
        run: |target| Box::pin(unread_pongs(target)),
    },
    Attack {
        row: "FR-21",
        severity: P1,
        name: "floods of control frames and empty messages",
        test: "a flood of small frames is one refusal",
        alone: false,
        run: |target| Box::pin(small_frames(target)),
    },
    Attack {
        row: "MS-19",
        severity: P1,
        name: "more messages than the rate and the burst",
        test: "one message more than the burst closes",
        alone: false,
        run: |target| Box::pin(burst(target)),
    },
    Attack {
        row: "MS-20",
        severity: P1,
        name: "malformed messages for free",
        test: "malformed messages are charged before anything reads them",
        alone: false,
        run: |target| Box::pin(malformed(target)),
    },
    Attack {
        row: "MS-23",
        severity: P1,
        name: "a budget multiplied by connections",
        test: "a user has one budget on fifty connections",
        alone: false,
        run: |target| Box::pin(many_connections(target)),
    },
    Attack {
        row: "DL-19",
        severity: P1,
        name: "messages at line rate from a peer that never reads",
        test: "a peer that sends and does not read is not read from",
        alone: false,
        run: |target| Box::pin(unread_replies(target)),
    },
];

async fn unread_pongs(target: &Target) -> Verdict {
    unread(target, &frame(PING, [0; 125])).await
}

async fn unread_replies(target: &Target) -> Verdict {
    // As long as an honest message, or it would be the parser that is measured.
    let join = target.protocol.join(&target.name());
    unread(target, &text(padded(&join, 500))).await
}

/// Somewhere the server stops taking `message` from a peer that reads nothing.
async fn unread(target: &Target, message: &[u8]) -> Verdict {
    const PIECE: usize = 32 * 1024;
    let mut peer = target.narrow_member(&target.name()).await?;
    let piece = message.repeat((PIECE / message.len()).max(1));
    let times = UNREAD / piece.len();
    let taken = peer.send_blindly(&piece, times).await;
    if taken < times * piece.len() {
        return Ok(());
    }
    let expected = "1008, or no more is read until the peer reads";
    found(Weight::Broken, peer.sent(), format!("all {taken} bytes were taken"), expected)
}

async fn small_frames(target: &Target) -> Verdict {
    let floods = [
        frame(PING, "").repeat(100_000),
        frame(PONG, [0x61; 125]).repeat(20_000),
        hex("81 80 K").repeat(100_000),
    ];
    each_ends(target, By::User, floods, &[1008]).await
}

async fn burst(target: &Target) -> Verdict {
    let protocol = &target.protocol;
    let (room, mark) = (target.name(), target.name());
    let mut peer = target.member(&room).await?;
    let count = 25 * target.limits.burst;
    peer.send(&text(protocol.chat(&room, &mark)).repeat(count)).await;
    let end = peer.end_when_quiet().await;
    let heard = end.messages.iter().filter(|it| it.contains(&mark)).count();
    let excess = match end.code() {
        Some(1008) => Ok(()),
        // Answered with errors instead, which is a choice.
        None if !end.over && heard < count => Ok(()),
        None if !end.over => found(Weight::Broken, peer.sent(), end.describe(), "a limit"),
        _ => peer.judge(&end, &[1008], &[]),
    };

    let mut peer = target.member(&room).await?;
    for _ in 0..3 * target.limits.rate.get() {
        sleep(Duration::from_secs(1) / target.limits.rate.get()).await;
        peer.say(&protocol.chat(&room, &mark)).await;
    }
    let last = target.name();
    peer.say(&protocol.chat(&room, &last)).await;
    let steady = match peer.hear(&last).await {
        Ok(_) => Ok(()),
        Err(error) => {
            let sent = format!("{} messages a second for 3 s", target.limits.rate);
            found(Weight::WrongAnswer, sent, error.to_string(), "no limit at the rate itself")
        }
    };
    together([excess, steady])
}

async fn malformed(target: &Target) -> Verdict {
    let filling = "x".repeat(target.limits.max_message.saturating_sub(20));
    let message = text(format!("{{\"hostile\":\"{filling}"));
    let count = (UNDRAINED / message.len()).clamp(1, 1000);
    each_ends(target, By::User, [message.repeat(count)], &[1008]).await
}

async fn many_connections(target: &Target) -> Verdict {
    const CONNECTIONS: usize = 12;
    let user = target.name();
    let protocol = &target.protocol;
    let mut peers = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut peer = target.user(&user).await?;
        let room = target.name();
        if peer.join(&room).await.is_err() {
            // Limited before it has said anything.
            return Ok(());
        }
        peers.push((peer, room));
    }
    // Less than a connection may send.
    let each = target.limits.burst.saturating_sub(8);
    let said = join_all(peers.iter_mut().map(async |(peer, room)| {
        let mark = target.name();
        peer.send(&text(protocol.chat(room, &mark)).repeat(each)).await;
        let end = peer.end_when_quiet().await;
        (end.messages.iter().filter(|it| it.contains(&mark)).count(), end.code())
    }))
    .await;
    let heard: usize = said.iter().map(|(heard, _)| heard).sum();
    let wrong = said.iter().filter_map(|(_, code)| *code).find(|code| *code != 1008);
    if heard < CONNECTIONS * each && wrong.is_none() {
        return Ok(());
    }
    if heard == 0 {
        return Err(Trouble::NotTried("no message was delivered".to_owned()));
    }
    let sent = format!("{each} messages on each of {CONNECTIONS} connections of one user");
    let came = format!("{heard} were delivered; a close with {wrong:?}");
    let weight = if wrong.is_some() { Weight::WrongAnswer } else { Weight::Broken };
    found(weight, sent, came, "1008 for the excess over what a user may send")
}

/// More than kernels hold between two sockets, and than servers read from whom they have closed.
const UNREAD: usize = 32 * 1024 * 1024;

/// Less than a server reads from whom it has closed, so that the close is not lost.
const UNDRAINED: usize = 12 * 1024 * 1024;
