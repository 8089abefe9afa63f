//! Guessing, again and again, over as many connections as it takes.

use crate::{
    catalogue::Attack,
    run::some_at_a_time,
    target::Target,
    verdict::{Severity::*, Verdict, Weight, found},
};

pub(crate) const ATTACKS: &[Attack] = &[Attack {
    row: "AU-11",
    severity: P1,
    name: "guess a secret over many connections",
    test: "an address whose logins fail too often gets no connection",
    // From here on the target lets this address in no more.
    alone: true,
    run: |target| Box::pin(guesses(target)),
}];

/// Each guess is another one, on a connection of its own.
async fn guesses(target: &Target) -> Verdict {
    let limit = target.limits.failed_logins;
    let tries = limit + limit / 10 + AT_ONCE;
    let guess = async |n: usize| {
        let protocol = &target.protocol;
        let (head, mut peer) = target.ask_whatever(&target.handshake()).await.ok()?;
        if head.status == 101 {
            peer.begin();
            let wrong = format!("{}-{n}", protocol.wrong_token());
            peer.say(&protocol.auth(&wrong)).await;
            peer.end().await;
        }
        Some(head.status)
    };
    let statuses = some_at_a_time(AT_ONCE, (0..tries).map(guess)).await;
    let refused = statuses.iter().filter(|it| **it == Some(429)).count();
    if refused == 0 {
        let sent = format!("{tries} wrong tokens, each on a connection of its own");
        let looked_at = statuses.iter().filter(|it| **it == Some(101)).count();
        let came = format!("{looked_at} connections");
        return found(Weight::Broken, sent, came, format!("429 after {limit} at most"));
    }
    let Some(other) = target.other_address else { return Ok(()) };
    let mut peer = target.socket_from(other).await?;
    peer.send(&target.handshake().bytes()).await;
    let head = peer.head().await;
    if head.status == 101 {
        return Ok(());
    }
    let sent = format!("a handshake from {other}, while {refused} of another address were refused");
    found(Weight::Broken, sent, head.to_string(), "101: it is another address")
}

/// Fewer than a server lets wait for their login from one address.
const AT_ONCE: usize = 16;
