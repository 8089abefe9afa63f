//! Staying without credentials.

use crate::{
    catalogue::Attack,
    target::Target,
    verdict::{Severity::*, Verdict},
    wire::{PING, PONG, TEXT, frame, header, hex},
};

use super::{each, in_time, nag};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        row: "AU-03",
        severity: P0,
        name: "silence after the upgrade",
        test: "a silent peer is closed at the deadline",
        alone: false,
        run: |target| Box::pin(silence(target)),
    },
    Attack {
        row: "AU-04",
        severity: P0,
        name: "keeping the clock of the login from running out",
        test: "nothing but success moves the deadline",
        alone: false,
        run: |target| Box::pin(nagging(target)),
    },
];

async fn silence(target: &Target) -> Verdict {
    let limit = target.limits.auth_timeout;
    let mut peer = target.stranger().await?;
    let end = peer.end_within(limit + target.patience()).await;
    peer.judge(&end, &[4401], &[])?;
    in_time(&peer, &end, limit)
}

async fn nagging(target: &Target) -> Verdict {
    let limit = target.limits.auth_timeout;
    let cases = [
        (Vec::new(), frame(PING, "")),
        (Vec::new(), frame(PONG, "")),
        // A text in fragments of a byte, and one whose bytes dribble in.
        (hex("01 81 K 7b"), hex("00 81 K 20")),
        (header(TEXT, 1000), b" ".to_vec()),
    ];
    each(cases, async |(first, piece)| {
        let mut peer = target.stranger().await?;
        peer.send(&first).await;
        // Fewer pieces than a message may have fragments.
        nag(target, &mut peer, &piece, limit, limit / 40, 4401).await
    })
    .await
}
