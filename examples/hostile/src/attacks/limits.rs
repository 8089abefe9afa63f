//! Requests that never end, and connections that are too many.

use tokio::time::Instant;

use crate::{
    catalogue::Attack,
    http::{Head, Request},
    peer::Peer,
    target::Target,
    verdict::{Severity::*, Trouble, Verdict, Weight, found},
};

use super::each;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        row: "HS-10",
        severity: P1,
        name: "a client that never finishes its request",
        test: "a client that never finishes its request is hung up on",
        alone: false,
        run: |target| Box::pin(unfinished(target)),
    },
    Attack {
        row: "HS-17",
        severity: P1,
        name: "a flood of headers",
        test: "a flood of headers is refused before it is taken in",
        alone: false,
        run: |target| Box::pin(headers(target)),
    },
    Attack {
        row: "HS-21",
        severity: P1,
        name: "more connections than one address may have",
        test: "one address cannot take more than its share",
        alone: true,
        run: |target| Box::pin(too_many(target)),
    },
    Attack {
        row: "HS-23",
        severity: P1,
        name: "a forged client address",
        test: "an address that a peer only claims counts for nothing",
        alone: true,
        run: |target| Box::pin(forged_address(target)),
    },
];

async fn unfinished(target: &Target) -> Verdict {
    each(["", "PRI * HT", "GET / HT"], async |request| {
        let mut peer = target.socket().await?;
        peer.send(request.as_bytes()).await;
        let (answer, over) = peer.rest(target.limits.header_timeout + target.patience()).await;
        if over {
            return Ok(());
        }
        let came = format!("{} bytes, and still open", answer.len());
        let expected = format!("the end after {} ms", target.limits.header_timeout.as_millis());
        found(Weight::Broken, format!("{request:?} and nothing more"), came, expected)
    })
    .await
}

async fn headers(target: &Target) -> Verdict {
    let many = (0..101).fold(target.handshake(), |it, n| it.set(&format!("X-{n}"), &["a"]));
    let long = target.handshake().set("X", &[&"a".repeat(500_000)]);
    let dribble = target.handshake().set("X", &[&"a".repeat(64_000)]);
    let cases = [
        ("101 lines", many, usize::MAX),
        ("500 KB in one line", long, usize::MAX),
        ("64 KB, sixteen bytes at a time", dribble, 16),
    ];
    each(cases, async |(name, request, piece): (_, Request, _)| {
        let mut peer = target.socket().await?;
        for piece in request.bytes().chunks(piece) {
            if !peer.send(piece).await {
                break;
            }
        }
        let head = peer.head().await;
        let weight = match head.status {
            431 => return Ok(()),
            101 => Weight::Broken,
            _ => Weight::WrongAnswer,
        };
        found(weight, format!("a handshake with {name}"), head.to_string(), "431")
    })
    .await
}

async fn too_many(target: &Target) -> Verdict {
    let (held, refusal) = fill(target).await?;
    let sent = format!("{} handshakes from one address", held.len() + 1);
    let Some(head) = refusal else {
        return found(Weight::Broken, sent, "101 for each", "429 or 503 with Retry-After");
    };
    drop(held);
    if !matches!(head.status, 429 | 503) || head.header("retry-after").is_none() {
        let came = format!("{head}, Retry-After {:?}", head.header("retry-after"));
        return found(Weight::WrongAnswer, sent, came, "429 or 503 with Retry-After");
    }
    let deadline = Instant::now() + target.patience();
    while Instant::now() < deadline {
        let (head, _peer) = target.ask_whatever(&target.handshake()).await?;
        if head.status == 101 {
            return Ok(());
        }
    }
    found(Weight::Broken, "all of them gone, and one more handshake", "refused", "101")
}

async fn forged_address(target: &Target) -> Verdict {
    let (held, Some(_)) = fill(target).await? else {
        return Err(Trouble::NotTried("there is no cap for one address, see HS-21".to_owned()));
    };
    let forged: [(&str, &[&str]); 4] = [
        ("X-Forwarded-For", &["1.2.3.4"]),
        ("X-Forwarded-For", &["1.2.3.4", "5.6.7.8"]),
        ("Forwarded", &["for=1.2.3.4"]),
        ("X-Real-IP", &["::ffff:1.2.3.4"]),
    ];
    let verdict = each(forged, async |(name, values)| {
        let (head, _peer) = target.ask_whatever(&target.handshake().set(name, values)).await?;
        if head.status != 101 {
            return Ok(());
        }
        let sent = format!("{} connections, and one more with {name}: {values:?}", held.len());
        found(Weight::Broken, sent, head.to_string(), "the refusal that the others get")
    })
    .await;
    drop(held);
    verdict
}

/// Opens connections up to the cap and a few more. The open ones, and the first refusal.
async fn fill(target: &Target) -> Result<(Vec<Peer<'_>>, Option<Head>), Trouble> {
    let mut held = Vec::new();
    // Others of the same address may still be about to end.
    while held.len() <= target.limits.max_connections_per_peer {
        let (head, peer) = target.ask_whatever(&target.handshake()).await?;
        if head.status != 101 {
            return Ok((held, Some(head)));
        }
        held.push(peer);
    }
    Ok((held, None))
}
