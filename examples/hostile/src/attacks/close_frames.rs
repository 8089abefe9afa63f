//! Goodbyes that are not as they should be.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    catalogue::Attack,
    target::Target,
    verdict::{Severity::*, Verdict, Weight, found, together},
    wire::{close, hex, text},
};

use super::{each, silent};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        row: "DL-04",
        severity: P0,
        name: "never complete the close handshake",
        test: "a peer that does not answer a close is dropped in time",
        alone: false,
        run: |target| Box::pin(never_leave(target)),
    },
    Attack {
        row: "FR-25",
        severity: P1,
        name: "close codes and reasons that may not be on the wire",
        test: "a close frame is answered with its code if that is legal",
        alone: false,
        run: |target| Box::pin(codes(target)),
    },
    Attack {
        row: "FR-28",
        severity: P1,
        name: "messages behind the peer's close",
        test: "what stands behind the peers close is never handled",
        alone: false,
        run: |target| Box::pin(behind(target)),
    },
    Attack {
        row: "P2-07",
        severity: P2,
        name: "clean closes",
        test: "a clean close is answered once and the server hangs up",
        alone: false,
        run: |target| Box::pin(clean(target)),
    },
];

async fn never_leave(target: &Target) -> Verdict {
    let mut peer = target.stranger().await?;
    peer.be_indecent();
    peer.say(&target.protocol.auth(target.protocol.wrong_token())).await;
    let end = peer.end().await;
    if end.closes.is_empty() && !end.over {
        return peer.judge(&end, &[4403], &[]);
    }
    // Only a socket that is gone refuses bytes.
    let start = Instant::now();
    while start.elapsed() < target.limits.close_timeout + target.patience() {
        if !peer.send(b"\0").await {
            return Ok(());
        }
        sleep(Duration::from_millis(250)).await;
    }
    let came = format!(
        "{}; the socket takes bytes {} ms later",
        end.describe(),
        start.elapsed().as_millis()
    );
    let expected = format!("gone after {} ms", target.limits.close_timeout.as_millis());
    found(Weight::Broken, "wrong credentials, and no answer to the close", came, expected)
}

async fn codes(target: &Target) -> Verdict {
    let illegal = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535];
    let legal = (1000..=1003).chain(1007..=1013).chain([3000, 4999]);
    let mut cases: Vec<_> = illegal.map(|it| (close(it, ""), vec![1002])).into();
    cases.extend(legal.map(|it| (close(it, "because"), vec![it])));
    // Registered after RFC 6455; some take it for unknown.
    cases.push((close(1014, ""), vec![1014, 1002]));
    cases.push((hex("88 81 K 03"), vec![1002]));
    cases.push((hex("88 83 K 03e8 ff"), vec![1007]));
    each(cases, async |(stimulus, codes)| {
        let mut peer = target.user(&target.name()).await?;
        peer.be_indecent();
        peer.send(&stimulus).await;
        peer.must_close(&codes, &[]).await
    })
    .await
}

async fn behind(target: &Target) -> Verdict {
    let (room, mark) = (target.name(), target.name());
    let mut witness = target.member(&room).await?;
    let mut peer = target.member(&room).await?;
    peer.be_indecent();
    peer.send(&[close(1000, ""), text(target.protocol.chat(&room, &mark))].concat()).await;
    let end = peer.end().await;
    let answer = if end.closes.len() > 1 {
        found(Weight::WrongAnswer, peer.sent(), end.describe(), "close 1000, once")
    } else {
        peer.judge(&end, &[1000], &[&mark])
    };
    together([answer, silent(target, &mut witness, &room, &mark, &peer.sent()).await])
}

async fn clean(target: &Target) -> Verdict {
    each([0, 1, 123], async |size| {
        let mut peer = target.user(&target.name()).await?;
        peer.be_indecent();
        // Twice: the second is behind the end.
        peer.send(&close(1000, &"z".repeat(size)).repeat(2)).await;
        let end = peer.end().await;
        if end.closes.len() > 1 || !end.over {
            let expected = "close 1000, once, and the server hangs up first";
            return found(Weight::Broken, peer.sent(), end.describe(), expected);
        }
        peer.judge(&end, &[1000], &[])
    })
    .await
}
