//! Requests that are no handshake, and refusals that must be the end.

use crate::{
    catalogue::Attack,
    http::Request,
    target::Target,
    verdict::{Severity::*, Verdict, Weight, found},
    wire::{PING, PONG, frame, text},
};

use super::{each, each_answered};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        row: "HS-01",
        severity: P0,
        name: "a refused upgrade still yields a live WebSocket",
        test: "a refused upgrade yields no connection",
        alone: false,
        run: |target| Box::pin(refused_and_alive(target)),
    },
    Attack {
        row: "HS-02",
        severity: P0,
        name: "an upgrade without a WebSocket handshake",
        test: "an upgrade without a websocket handshake is refused",
        alone: false,
        run: |target| Box::pin(no_handshake(target)),
    },
    Attack {
        row: "HS-03",
        severity: P0,
        name: "an upgrade request that carries a body",
        test: "a body is neither read nor taken for frames",
        alone: false,
        run: |target| Box::pin(body(target)),
    },
    Attack {
        row: "HS-20",
        severity: P1,
        name: "frames sent before the 101",
        test: "a frame in the segment of the handshake is handled after a 101 only",
        alone: false,
        run: |target| Box::pin(early_frames(target)),
    },
];

async fn refused_and_alive(target: &Target) -> Verdict {
    let handshake = target.handshake().set("Connection", &["Upgrade, close"]);
    let cases = [
        ("another site's Origin", handshake.clone().set("Origin", &[EVIL])),
        ("no key", handshake.clone().set("Sec-WebSocket-Key", &[])),
        ("version 8", handshake.set("Sec-WebSocket-Version", &["8"])),
    ];
    each(cases, async |(name, request)| {
        let (head, mut peer) = target.ask(&request).await?;
        if head.status == 101 {
            // Not refused at all, which is another row.
            return Ok(());
        }
        peer.send(&alive()).await;
        let (rest, over) = peer.rest(target.patience()).await;
        let sent = format!("a handshake with {name} and Connection: Upgrade, close; then a ping");
        if is_alive(&rest) {
            return found(Weight::Broken, sent, format!("{head}, and a pong"), "the end");
        }
        if !over {
            return found(Weight::WrongAnswer, sent, format!("{head}, still open"), "the end");
        }
        Ok(())
    })
    .await
}

async fn no_handshake(target: &Target) -> Verdict {
    let Target { path, authority, .. } = target;
    let handshake = target.handshake();
    let post = Request::get(path).line(format!("POST {path} HTTP/1.1")).set("Host", &[authority]);
    let connect = Request::get(path).line("CONNECT x:443 HTTP/1.1").set("Host", &["x:443"]);
    let http_10 = handshake.clone().line(format!("GET {path} HTTP/1.0"));
    let cases = [
        ("POST and Upgrade only", post.set("Upgrade", &["websocket"]), 405),
        ("Upgrade: h2c", handshake.clone().set("Upgrade", &["h2c"]), 400),
        ("CONNECT", connect, 405),
        ("no Connection", handshake.clone().set("Connection", &[]), 400),
        ("no key", handshake.set("Sec-WebSocket-Key", &[]), 400),
        ("HTTP/1.0", http_10, 400),
    ];
    each_answered(target, cases).await
}

async fn body(target: &Target) -> Verdict {
    let cases = [
        ("Content-Length", "1000000"),
        ("Transfer-Encoding", "chunked"),
        ("Expect", "100-continue"),
    ];
    each(cases, async |(name, value)| {
        // A frame as the first part of the body, and one after it.
        let request = target.handshake().set(name, &[value]).then(&alive());
        let (head, mut peer) = target.ask(&request).await?;
        peer.send(&alive()).await;
        let (rest, over) = peer.rest(target.patience()).await;
        let sent = format!("a handshake with {name}: {value}, and frames as its body");
        let came = format!("{head}, {}", if over { "the end" } else { "still open" });
        if is_alive(&rest) || head.status == 101 {
            return found(Weight::Broken, sent, came, "400 and the end");
        }
        let closes = head.header("connection").is_some_and(|it| it.contains("close"));
        if head.status != 400 || !closes || !over {
            return found(Weight::WrongAnswer, sent, came, "400, Connection: close, and the end");
        }
        Ok(())
    })
    .await
}

async fn early_frames(target: &Target) -> Verdict {
    let refused = target.handshake().set("Origin", &[EVIL]).then(&alive());
    let (head, mut peer) = target.ask(&refused).await?;
    if head.status != 101 {
        let (rest, _) = peer.rest(target.patience()).await;
        if is_alive(&rest) {
            let sent = "a handshake from another site and a ping in one piece";
            return found(Weight::Broken, sent, format!("{head}, and a pong"), "no frame");
        }
    }
    let protocol = &target.protocol;
    let auth = protocol.auth(&protocol.token(&target.name()));
    let (_, mut peer) = target.ask(&target.handshake().then(&text(auth))).await?;
    if let Err(error) = peer.hear(protocol.welcome()).await {
        let sent = "a handshake and credentials in one piece";
        return found(Weight::Broken, sent, error.to_string(), protocol.welcome());
    }
    let join = text(protocol.join(&target.name()));
    let (_, mut peer) = target.ask(&target.handshake().then(&join)).await?;
    peer.must_close(&[4403], &[protocol.joined()]).await
}

/// What a live connection answers, and no other.
fn alive() -> Vec<u8> {
    frame(PING, MARK)
}

fn is_alive(answer: &[u8]) -> bool {
    let pong = [&[PONG, MARK.len() as u8], MARK].concat();
    answer.windows(pong.len()).any(|it| it == pong)
}

const MARK: &[u8] = b"alive?";

/// Of a page that no target trusts.
pub(crate) const EVIL: &str = "https://evil.example";
