//! Reaching rooms that one is not in, and rooms that are none.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    catalogue::Attack,
    protocol::{self, of_kind, with},
    target::Target,
    verdict::{Severity::*, Trouble, Verdict, Weight, found, together},
};

use super::{each, each_unheard, silent};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        row: "RM-01",
        severity: P0,
        name: "speak in a room without joining it",
        test: "a message to somebody elses room reaches nobody",
        alone: false,
        run: |target| Box::pin(not_joined(target)),
    },
    Attack {
        row: "RM-03",
        severity: P0,
        name: "speak as somebody else",
        test: "a message that can be read in two ways is not read at all",
        alone: false,
        run: |target| Box::pin(spoofed(target)),
    },
    Attack {
        row: "RM-04",
        severity: P0,
        name: "a room that is a pattern, a path or a look-alike",
        test: "a pattern a path or a look alike is not a room name",
        alone: false,
        run: |target| Box::pin(names(target)),
    },
    Attack {
        row: "RM-05",
        severity: P0,
        name: "a message that two parsers read differently",
        test: "a doubled key is refused in whatever spelling",
        alone: false,
        run: |target| Box::pin(two_readings(target)),
    },
    Attack {
        row: "RM-10",
        severity: P1,
        name: "more rooms than a connection may be in",
        test: "a connection is refused more rooms than it may be in",
        alone: false,
        run: |target| Box::pin(too_many(target)),
    },
    Attack {
        row: "RM-19",
        severity: P1,
        name: "lose a member of many rooms for good",
        test: "whoever was in rooms is in them again after a reconnect",
        alone: false,
        run: |target| Box::pin(back_again(target)),
    },
];

async fn not_joined(target: &Target) -> Verdict {
    let (room, mark) = (target.name(), target.name());
    let mut witness = target.member(&room).await?;
    let mut peer = target.member(&target.name()).await?;
    peer.say(&target.protocol.chat(&room, &mark)).await;
    let end = peer.end_within(target.patience() / 2).await;
    let heard = silent(target, &mut witness, &room, &mark, &peer.sent()).await;
    // A typed error will do as well.
    let told = !end.messages.is_empty() && end.code().is_none() && !end.over;
    together([heard, if told { Ok(()) } else { peer.judge(&end, &[1008], &[&mark]) }])
}

/// The sender is who logged in, and the room is the one it is sent to: whatever else it says.
async fn spoofed(target: &Target) -> Verdict {
    let fields =
        ["from", "user", "userId", "sender_id"].map(|key| format!("\"{key}\":\"{SPOOF}\""));
    let other = [r#""room":"{other}""#.to_owned(), r#""data":{"room":"{other}"}"#.to_owned()];
    each(fields.into_iter().chain(other), async |field| {
        let (room, elsewhere, mark) = (target.name(), target.name(), target.name());
        let mut inside = target.member(&room).await?;
        let mut outside = target.member(&elsewhere).await?;
        let mut peer = target.member(&room).await?;
        let field = field.replace("{other}", &elsewhere);
        peer.say(&with(&target.protocol.chat(&room, &mark), &field)).await;
        let end = peer.end_within(target.patience() / 2).await;
        let as_admin = silent(target, &mut inside, &room, SPOOF, &peer.sent()).await;
        let there = silent(target, &mut outside, &elsewhere, &mark, &peer.sent()).await;
        // Ignored and overwritten is as good as refused.
        let ignored = end.heard(&mark) && !end.heard(SPOOF);
        together([as_admin, there, if ignored { Ok(()) } else { peer.judge(&end, &[1008], &[]) }])
    })
    .await
}

async fn names(target: &Target) -> Verdict {
    let long = "a".repeat(65);
    let names = [
        "*",
        ">",
        "room.*",
        "a.b",
        "../x",
        "r?",
        "[a-z]",
        "{x}",
        "room\\r\\nPUB x",
        "a b",
        &long,
        "",
        // The same letter composed and not, and one with an invisible character.
        "caf\u{e9}",
        "cafe\u{301}",
        "ro\u{200d}om",
    ];
    let join = target.protocol.join("{name}");
    each_unheard(target, names.map(|name| join.replace("{name}", name))).await
}

async fn two_readings(target: &Target) -> Verdict {
    let chat = target.protocol.chat("{room}", "{text}");
    let key = target.protocol.room_key();
    let room = format!("\"{key}\":\"{{room}}\"");
    if !chat.contains(&room) {
        return Err(Trouble::NotTried(
            "the template of a chat has no \"key\":\"{room}\"".to_owned(),
        ));
    }
    // The key as it is, and with its first letter as an escape.
    let (first, rest) = key.split_at_checked(1).unwrap_or((key, ""));
    let escaped: String = first.chars().map(|it| format!("\\u{:04x}", u32::from(it))).collect();
    let rooms = [key.to_owned(), escaped + rest]
        .map(|again| chat.replace(&room, &format!("{room},\"{again}\":\"{{other}}\"")));
    // Two kinds, in both orders.
    let (kind, _) = chat.split_once(',').unwrap_or((&chat, ""));
    let join = of_kind(kind, &format!("\"{}\"", protocol::kind(&target.protocol.join(""))));
    let kinds = [(kind, &*join), (&join, kind)].map(|(first, second)| {
        let second = second.trim_start_matches('{');
        chat.replacen(kind, &format!("{first},{second}"), 1)
    });
    each_unheard(target, rooms.into_iter().chain(kinds)).await
}

async fn too_many(target: &Target) -> Verdict {
    let limits = &target.limits;
    let mut peer = target.user(&target.name()).await?;
    for nth in 0..limits.max_rooms {
        if nth + 10 > limits.burst {
            // As fast as it may; a little slower, as no clock is exact.
            sleep(Duration::from_secs(1).mul_f64(1.1) / limits.rate.get()).await;
        }
        peer.join(&target.name()).await?;
    }
    sleep(Duration::from_secs(1)).await;
    peer.say(&target.protocol.join(&target.name())).await;
    let end = peer.end_within(target.patience() / 2).await;
    if end.heard(target.protocol.joined()) {
        let sent = format!("{} joins of different rooms", limits.max_rooms + 1);
        return found(Weight::Broken, sent, end.describe(), "a refusal of the last");
    }
    // A reply that refuses, or the end.
    if end.messages.is_empty() { peer.judge(&end, &[1008], &[]) } else { Ok(()) }
}

/// A user who may be in so many rooms can be in them again at once, when a connection was lost.
async fn back_again(target: &Target) -> Verdict {
    let count = target.limits.max_rooms;
    let rooms: Vec<_> = (0..count).map(|_| target.name()).collect();
    let user = target.name();
    for attempt in ["once", "and again on another connection"] {
        let mut peer = target.user(&user).await?;
        for room in &rooms {
            peer.say(&target.protocol.join(room)).await;
        }
        let mut joined = 0;
        while joined < count && peer.hear(target.protocol.joined()).await.is_ok() {
            joined += 1;
        }
        if joined < count {
            let sent = format!("joins of {count} rooms at once, {attempt}");
            let end = peer.end_within(target.patience() / 4).await;
            let came = format!("{joined} of them, {}", end.describe());
            return found(Weight::Broken, sent, came, "all of them: so many are allowed");
        }
        // Its end is the connection's, not the user's.
        peer.finish().await;
    }
    Ok(())
}

const SPOOF: &str = "hostile-admin";
