//! JSON that is not the message it claims to be.

use crate::{
    catalogue::Attack,
    protocol::{kind, of_kind, with},
    target::Target,
    verdict::{Severity::*, Verdict, Weight, found, together},
};

use super::{each, each_unheard};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        row: "MS-03",
        severity: P0,
        name: "a nesting bomb",
        test: "a nesting bomb is refused wherever it is put",
        alone: false,
        run: |target| Box::pin(nesting(target)),
    },
    Attack {
        row: "MS-05",
        severity: P0,
        name: "arrays where objects are required",
        test: "arrays are no messages",
        alone: false,
        run: |target| Box::pin(arrays(target)),
    },
    Attack {
        row: "MS-13",
        severity: P1,
        name: "types, wrong types and ranges",
        test: "what the schema does not say is refused",
        alone: false,
        run: |target| Box::pin(schema(target)),
    },
    Attack {
        row: "MS-14",
        severity: P1,
        name: "fields that a message does not have",
        test: "fields the schema does not have are refused",
        alone: false,
        run: |target| Box::pin(fields(target)),
    },
    Attack {
        row: "MS-16",
        severity: P1,
        name: "lone surrogates and control characters",
        test: "lone surrogates and odd identifiers are refused",
        alone: false,
        run: |target| Box::pin(characters(target)),
    },
    Attack {
        row: "MS-18",
        severity: P1,
        name: "errors that repeat what was sent",
        test: "nothing of a refused message is in the error",
        alone: false,
        run: |target| Box::pin(reflected(target)),
    },
];

async fn nesting(target: &Target) -> Verdict {
    // As deep as a message can be, with room for what is around it.
    let depth = (target.limits.max_message / 2).saturating_sub(200).min(32_000);
    let bomb = ["[".repeat(depth), "]".repeat(depth)].concat();
    let chat = target.protocol.chat("{room}", "{text}");
    let texts = [
        bomb.clone(),
        with(&chat, &format!("\"hostile\":{bomb}")),
        chat.replace("\"{text}\"", &bomb),
    ];
    each_unheard(target, texts).await
}

async fn arrays(target: &Target) -> Verdict {
    let protocol = &target.protocol;
    let join = protocol.join("{other}");
    let texts = [
        format!("[\"{}\",\"{{other}}\"]", kind(&join)),
        format!("[\"{}\",\"t\"]", kind(&protocol.auth(""))),
        format!("[{join}]"),
        of_kind(&join, &format!("{{\"{}\":null}}", kind(&join))),
        of_kind(&join, &format!("[\"{}\"]", kind(&join))),
        join.replace("\"{other}\"", "[\"{other}\"]"),
    ];
    each_unheard(target, texts).await
}

async fn schema(target: &Target) -> Verdict {
    let protocol = &target.protocol;
    let (join, chat) = (protocol.join("{other}"), protocol.chat("{room}", "{text}"));
    let most = target.limits.max_message.saturating_sub(200);
    let keys: Vec<_> = (0..most / 10).map(|n| format!("\"{n:x}\":0")).collect();
    let mut texts = vec!["{}".to_owned(), format!("{{{}}}", keys.join(","))];
    let long = format!("\"{}\"", "x".repeat(most.min(5000)));
    let upper = format!("\"{}\"", kind(&join).to_uppercase());
    texts.extend(["\"x\"", "null", "1", &long, &upper].map(|kind| of_kind(&join, kind)));
    let numbers = ["1e400", "1e-400", "18446744073709551616", "9007199254740993", "-1", "1.0"];
    for value in numbers.into_iter().chain(["null", "true", "{}"]) {
        texts.push(join.replace("\"{other}\"", value));
        texts.push(chat.replace("\"{text}\"", value));
    }
    texts.push(join.replace("{other}", &"x".repeat(most)));
    texts.push(join.replace("\"{other}\"", &"9".repeat(most)));
    each_unheard(target, texts).await
}

async fn fields(target: &Target) -> Verdict {
    let protocol = &target.protocol;
    let messages =
        [protocol.join("{other}"), protocol.leave("{room}"), protocol.chat("{room}", "{text}")];
    each_unheard(target, messages.map(|it| with(&it, r#""admin":true"#))).await
}

async fn characters(target: &Target) -> Verdict {
    let join = target.protocol.join("{other}");
    let rooms = ["\\ud800", "a\\u0000b", "\\u001b[31m", "\\u202e", "\\u2028"];
    let mut texts: Vec<_> = rooms.iter().map(|it| join.replace("{other}", it)).collect();
    texts.push(target.protocol.chat("{room}", "{text}\\ud800"));
    texts.push(with(&join, r#""hostile":"\ud800""#));
    each_unheard(target, texts).await
}

async fn reflected(target: &Target) -> Verdict {
    let join = target.protocol.join("x");
    let texts = [
        of_kind(&join, &format!("\"{SECRET}\"")),
        format!("{{\"{SECRET}\":1}}"),
        with(&join, &format!("\"\\u001b{SECRET}\":1")),
        of_kind(&join, &format!("\"{}\"", SECRET.repeat(200))),
    ];
    each(texts, async |text| {
        let mut peer = target.user(&target.name()).await?;
        peer.say(&text).await;
        let end = peer.end().await;
        let closed = peer.judge(&end, &[1008], &[SECRET]);
        if end.closes.iter().any(|(_, reason)| reason.contains(SECRET)) {
            let reflected =
                found(Weight::Broken, peer.sent(), end.describe(), "a reason that repeats nothing");
            return together([closed, reflected]);
        }
        closed
    })
    .await
}

const SECRET: &str = "SECRET";
