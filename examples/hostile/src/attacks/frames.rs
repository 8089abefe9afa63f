//! Frames that RFC 6455 does not allow, and some that it does not forbid.

use crate::{
    catalogue::Attack,
    target::Target,
    verdict::{Severity::*, Verdict, Weight, found, together},
    wire::{ENDS, GOES_ON, TEXT_BEGINS, frame, hex},
};

use super::{By, each, each_ends, silent};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        row: "FR-01",
        severity: P0,
        name: "a flood of empty fragments",
        test: "a flood of fragments is one refusal",
        alone: false,
        run: |target| Box::pin(fragments(target)),
    },
    Attack {
        row: "FR-02",
        severity: P0,
        name: "a declared length that is believed",
        test: "a declared length is refused before it is believed",
        alone: false,
        run: |target| Box::pin(lengths(target)),
    },
    Attack {
        row: "FR-05",
        severity: P0,
        name: "frames without a mask",
        test: "a frame without a mask is refused",
        alone: false,
        run: |target| Box::pin(protocol_errors(target, &["81 02 7b7d", "89 00", "88 00"])),
    },
    Attack {
        row: "FR-10",
        severity: P1,
        name: "reserved bits and opcodes",
        test: "reserved bits and opcodes are refused",
        alone: false,
        run: |target| Box::pin(reserved(target)),
    },
    Attack {
        row: "FR-12",
        severity: P1,
        name: "control frames that are long or in pieces",
        test: "a control frame is short and whole",
        alone: false,
        run: |target| {
            let stimuli =
                &["89 fe 007e K", "89 ff 0000000000100000 K", "09 80 K 80 80 K", "88 fe 007e K"];
            Box::pin(protocol_errors(target, stimuli))
        },
    },
    Attack {
        row: "FR-14",
        severity: P1,
        name: "fragments out of order",
        test: "fragments come in order",
        alone: false,
        run: |target| {
            let stimuli =
                &["80 81 K 61", "00 81 K 61", "01 81 K 61 81 81 K 62", "01 81 K 61 02 81 K 62"];
            Box::pin(protocol_errors(target, stimuli))
        },
    },
    Attack {
        row: "FR-16",
        severity: P1,
        name: "lengths in a longer form than they need",
        test: "a length has its shortest form",
        alone: false,
        run: |target| {
            let stimuli = &[
                "82 fe 0005 K 6161616161",
                "82 ff 0000000000000005 K 6161616161",
                "89 fe 0005 K 6161616161",
                "82 ff 8000000000000005 K",
            ];
            Box::pin(protocol_errors(target, stimuli))
        },
    },
    Attack {
        row: "FR-31",
        severity: P1,
        name: "the end in the middle of a frame or message",
        test: "half a message is no message",
        alone: false,
        run: |target| Box::pin(half_closed(target)),
    },
    Attack {
        row: "FR-32",
        severity: P1,
        name: "random bytes",
        test: "random frames hold no more than the limits say",
        alone: false,
        run: |target| Box::pin(random(target)),
    },
];

async fn protocol_errors(target: &Target, stimuli: &[&str]) -> Verdict {
    each_ends(target, By::User, stimuli.iter().map(|it| hex(it)), &[1002]).await
}

async fn fragments(target: &Target) -> Verdict {
    // More than any implementation allows that counts them at all.
    let flood = [hex("01 80 K"), hex("00 80 K").repeat(200_000)].concat();
    each_ends(target, By::User, [flood], &[1008]).await
}

async fn lengths(target: &Target) -> Verdict {
    let large = ["82 ff 0000200000000000 K", "82 ff 0000000001000000 K"];
    together([
        each_ends(target, By::User, large.map(hex), &[1009]).await,
        protocol_errors(target, &["82 ff ffffffffffffffff K"]).await,
    ])
}

async fn reserved(target: &Target) -> Verdict {
    let bits = [0xc1, 0xa1, 0x91];
    let opcodes = (0x83..=0x87).chain(0x8b..=0x8f);
    let mut stimuli = Vec::new();
    for first in bits.into_iter().chain(opcodes) {
        stimuli.push(format!("{first:02x} 80 K"));
        stimuli.push(format!("01 81 K 61 {first:02x} 80 K"));
    }
    // Nothing of these comes but the header.
    for first in [0xc1, 0xa1, 0x91, 0x83, 0x8b] {
        stimuli.push(format!("{first:02x} ff 0000000000100000 K"));
    }
    let stimuli: Vec<_> = stimuli.iter().map(String::as_str).collect();
    protocol_errors(target, &stimuli).await
}

async fn half_closed(target: &Target) -> Verdict {
    let chat = target.protocol.chat("{room}", "{text}");
    each((0..100).step_by(4), async |percent| {
        let (room, mark) = (target.name(), target.name());
        let mut witness = target.member(&room).await?;
        let mut peer = target.member(&room).await?;
        let chat = chat.replace("{room}", &room).replace("{text}", &mark);
        let (first, rest) = chat.split_at(chat.len() / 3);
        let (second, third) = rest.split_at(rest.len() / 2);
        let message =
            [frame(TEXT_BEGINS, first), frame(GOES_ON, second), frame(ENDS, third)].concat();
        peer.send(message.get(..message.len() * percent / 100).unwrap_or_default()).await;
        peer.finish().await;
        let end = peer.end().await;
        let unsayable = matches!(end.code(), Some(1006));
        let ended = if end.over && !unsayable {
            Ok(())
        } else {
            found(
                Weight::Broken,
                peer.sent() + ", then EOF",
                end.describe(),
                "the end, no code 1006",
            )
        };
        together([ended, silent(target, &mut witness, &room, &mark, &peer.sent()).await])
    })
    .await
}

async fn random(target: &Target) -> Verdict {
    each(0..32, async |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes: Vec<u8> = (0..random.usize(2..600)).map(|_| random.u8(..)).collect();
        // Half of them begin like a frame.
        if let (true, [first, second, ..]) = (seed % 2 == 0, &mut *bytes) {
            *first &= 0x8f;
            *second |= 0x80;
        }
        let mut peer = target.user(&target.name()).await?;
        peer.send(&bytes).await;
        peer.finish().await;
        let end = peer.end().await;
        let odd = end.heard("a frame that begins with") || end.after_close > 0;
        if end.over && !odd {
            return Ok(());
        }
        found(
            Weight::Broken,
            peer.sent() + ", then EOF",
            end.describe(),
            "at most a close, and the end",
        )
    })
    .await
}
