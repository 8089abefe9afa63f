//! Getting in without credentials, or as another user.

use crate::{
    catalogue::Attack,
    protocol::{of_kind, padded},
    target::Target,
    verdict::{Severity::*, Verdict, Weight, found, together},
    wire::{BINARY, ENDS, GOES_ON, PING, TEXT_BEGINS, frame, text},
};

use super::{By, each_ends, silent};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        row: "AU-01",
        severity: P0,
        name: "act before authenticating",
        test: "a first message that is not credentials ends the connection",
        alone: false,
        run: |target| Box::pin(act_first(target)),
    },
    Attack {
        row: "AU-02",
        severity: P0,
        name: "pipelining behind credentials",
        test: "what is pipelined behind wrong credentials is never looked at",
        alone: false,
        run: |target| Box::pin(pipelining(target)),
    },
    Attack {
        row: "AU-05",
        severity: P0,
        name: "bad credentials, then good ones",
        test: "there is one attempt for each connection",
        alone: false,
        run: |target| Box::pin(second_attempt(target)),
    },
    Attack {
        row: "AU-06",
        severity: P0,
        name: "go on after the server has closed",
        test: "what is in flight when the server closes is not handled",
        alone: false,
        run: |target| Box::pin(after_close(target)),
    },
    Attack {
        row: "AU-09",
        severity: P0,
        name: "change identity and keep the rooms",
        test: "credentials after the first are an invalid message",
        alone: false,
        run: |target| Box::pin(another_identity(target)),
    },
    Attack {
        row: "AU-13",
        severity: P1,
        name: "oversized, binary or fragmented credentials",
        test: "credentials have limits of their own",
        alone: false,
        run: |target| Box::pin(odd_credentials(target)),
    },
    Attack {
        row: "AU-14",
        severity: P1,
        name: "the same credentials twice",
        test: "credentials after the first are an invalid message",
        alone: false,
        run: |target| Box::pin(twice(target)),
    },
    Attack {
        row: "AU-17",
        severity: P1,
        name: "learn from refusals which part was wrong",
        test: "a refusal does not tell why",
        alone: false,
        run: |target| Box::pin(refusals(target)),
    },
];

async fn act_first(target: &Target) -> Verdict {
    let protocol = &target.protocol;
    let auth = protocol.auth(&protocol.token(&target.name()));
    let (room, mark) = (target.name(), target.name());
    let mut witness = target.member(&room).await?;
    let acts = [
        text(protocol.join(&room)),
        // In case that it was let into the room by then.
        [text(protocol.join(&room)), text(protocol.chat(&room, &mark))].concat(),
        text(protocol.chat(&room, &mark)),
        text(protocol.leave(&room)),
        text(of_kind(&auth, "\"x\"")),
        text(of_kind(&auth, "{\"auth\":null}")),
        text(protocol.auth("{token}").replace("\"{token}\"", "1")),
        text(protocol.auth("{token}").replace("\"{token}\"", "null")),
        text(format!("[{auth}]")),
        frame(BINARY, &auth),
    ];
    let closes = each_ends(target, By::Stranger, acts, &[4403]).await;
    let sent = "join or chat as the first message";
    together([closes, silent(target, &mut witness, &room, &mark, sent).await])
}

async fn pipelining(target: &Target) -> Verdict {
    let protocol = &target.protocol;
    let (room, mark) = (target.name(), target.name());
    let mut witness = target.member(&room).await?;
    let rest = [text(protocol.join(&room)), text(protocol.chat(&room, &mark))].concat();

    let mut wrong = target.stranger().await?;
    wrong.send(&[text(protocol.auth(protocol.wrong_token())), rest.clone()].concat()).await;
    let refused = wrong.must_close(&[4403], &[protocol.joined(), &mark]).await;
    let unheard = silent(target, &mut witness, &room, &mark, &wrong.sent()).await;

    let mut right = target.stranger().await?;
    let auth = protocol.auth(&protocol.token(&target.name()));
    right.send(&[text(auth), rest].concat()).await;
    let mut order = Ok(());
    for part in [protocol.welcome(), protocol.joined(), &mark] {
        if let Err(error) = right.hear(part).await {
            order = found(Weight::WrongAnswer, right.sent(), error.to_string(), part);
            break;
        }
    }
    together([refused, unheard, order])
}

async fn second_attempt(target: &Target) -> Verdict {
    let protocol = &target.protocol;
    let attempts = [
        protocol.auth(protocol.wrong_token()),
        protocol.auth(&protocol.token(&target.name())),
        protocol.join(&target.name()),
    ];
    each_ends(target, By::Stranger, [attempts.map(text).concat()], &[4403]).await
}

async fn after_close(target: &Target) -> Verdict {
    let protocol = &target.protocol;
    let (room, mark) = (target.name(), target.name());
    let mut witness = target.member(&room).await?;
    let rest = [
        text(protocol.auth(&protocol.token(&target.name()))),
        text(protocol.join(&room)),
        frame(PING, "after"),
        text(protocol.chat(&room, &mark)),
    ]
    .concat();
    let mut peer = target.stranger().await?;
    peer.be_indecent();
    // Most of it is under way when the server closes; the rest comes when it has.
    peer.send(&[text(protocol.auth(protocol.wrong_token())), rest.clone()].concat()).await;
    let mut end = peer.end().await;
    peer.send(&rest).await;
    let late = peer.end_within(target.patience() / 4).await;
    end.after_close += late.messages.len() + late.pongs.len();
    let handled = end.heard(protocol.joined()) || end.heard(protocol.welcome());
    let verdict = if handled || end.after_close > 0 || !end.pongs.is_empty() {
        found(Weight::Broken, peer.sent(), end.describe(), "nothing behind close 4403")
    } else {
        peer.judge(&end, &[4403], &[])
    };
    together([verdict, silent(target, &mut witness, &room, &mark, &peer.sent()).await])
}

async fn another_identity(target: &Target) -> Verdict {
    let protocol = &target.protocol;
    let (room, mark) = (target.name(), target.name());
    let mut witness = target.member(&room).await?;
    let mut peer = target.member(&room).await?;
    let auth = protocol.auth(&protocol.token(&target.name()));
    peer.send(&[text(auth), text(protocol.chat(&room, &mark))].concat()).await;
    let end = peer.end_within(target.patience() / 2).await;
    let heard = silent(target, &mut witness, &room, &mark, &peer.sent()).await;
    // A server may take other credentials, if it forgets every room.
    let closes = if end.heard(protocol.welcome()) && !end.heard(&mark) {
        Ok(())
    } else {
        peer.judge(&end, &[1008], &[&mark])
    };
    together([heard, closes])
}

async fn odd_credentials(target: &Target) -> Verdict {
    let protocol = &target.protocol;
    let auth = protocol.auth(&protocol.token(&target.name()));
    let long = padded(&auth, target.limits.max_first_message + 1);
    let mut fragments = frame(TEXT_BEGINS, "");
    fragments.extend(frame(GOES_ON, " ").repeat(998));
    fragments.extend(frame(ENDS, &auth));
    together([
        each_ends(target, By::Stranger, [text(long)], &[1009]).await,
        each_ends(target, By::Stranger, [frame(BINARY, &auth)], &[4403, 1003]).await,
        each_ends(target, By::Stranger, [fragments], &[1008]).await,
    ])
}

async fn twice(target: &Target) -> Verdict {
    let protocol = &target.protocol;
    let user = target.name();
    let mut peer = target.user(&user).await?;
    peer.say(&protocol.auth(&protocol.token(&user))).await;
    let end = peer.end_within(target.patience() / 2).await;
    if end.heard(protocol.welcome()) { Ok(()) } else { peer.judge(&end, &[1008], &[]) }
}

async fn refusals(target: &Target) -> Verdict {
    let protocol = &target.protocol;
    let good = protocol.token(&target.name());
    let almost: String = good.chars().skip(1).collect();
    let wrong = [protocol.wrong_token().to_owned(), almost, format!("x{good}"), String::new()];
    let mut expected = None;
    let mut verdicts = Vec::new();
    for token in wrong {
        let mut peer = target.stranger().await?;
        peer.say(&protocol.auth(&token)).await;
        let end = peer.end().await;
        verdicts.push(peer.judge(&end, &[4403], &[protocol.welcome()]));
        let expected = expected.get_or_insert_with(|| end.closes.clone());
        if *expected != end.closes {
            let expected = format!("as another wrong token: {expected:?}");
            verdicts.push(found(Weight::Broken, peer.sent(), end.describe(), expected));
        }
    }
    together(verdicts)
}
