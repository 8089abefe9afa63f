//! Refusals, paths, and whether the server is still there after all of this.

use tokio::time::{Instant, sleep};

use crate::{
    catalogue::Attack,
    http::Request,
    run,
    target::Target,
    verdict::{Severity::*, Verdict, Weight, found, together},
};

use super::{each, each_answered, handshake::EVIL};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        row: "P2-10",
        severity: P2,
        name: "the shape of refusals",
        test: "every refusal has the same shape",
        alone: false,
        run: |target| Box::pin(refusals(target)),
    },
    Attack {
        row: "P2-12",
        severity: P2,
        name: "paths that look like the endpoint's",
        test: "only the exact path is the endpoints",
        alone: false,
        run: |target| Box::pin(paths(target)),
    },
    Attack {
        row: "P2-22",
        severity: P2,
        name: "shut out who offers another protocol",
        test: "an offer of another protocol is an ordinary request",
        alone: false,
        run: |target| Box::pin(other_offers(target)),
    },
    Attack {
        row: "XX-01",
        severity: P0,
        name: "one peer takes the server down",
        test: "a panic costs one connection",
        alone: true,
        run: |target| Box::pin(still_there(target)),
    },
];

async fn refusals(target: &Target) -> Verdict {
    let handshake = target.handshake();
    let cases = [
        ("no Connection", handshake.clone().set("Connection", &[])),
        ("another site's Origin", handshake.clone().set("Origin", &[EVIL])),
        ("PUT", handshake.clone().line(format!("PUT {} HTTP/1.1", target.path))),
        ("version 8", handshake.set("Sec-WebSocket-Version", &["8"])),
    ];
    each(cases, async |(name, request)| {
        let (head, _peer) = target.ask(&request).await?;
        if matches!(head.status, 0 | 101) {
            // Not refused, or not over HTTP: other rows.
            return Ok(());
        }
        let is = |name: &str, value: &str| {
            head.header(name).is_some_and(|it| it.to_ascii_lowercase().contains(value))
        };
        let upgrade = (head.status == 426).then_some("websocket".to_owned());
        let shape = [
            ("no Sec-WebSocket-Accept", head.header("sec-websocket-accept").is_none()),
            ("Upgrade with 426 only", head.header("upgrade") == upgrade),
            ("Connection: close", is("connection", "close")),
            ("Cache-Control: no-store", is("cache-control", "no-store")),
            (
                "Content-Type: text/plain; charset=utf-8",
                is("content-type", "text/plain; charset=utf-8"),
            ),
        ];
        let missing: Vec<_> = shape.iter().filter(|(_, right)| !right).map(|it| it.0).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let came = format!("{head} that is not as expected");
        found(Weight::Broken, format!("a handshake with {name}"), came, missing.join(", "))
    })
    .await
}

async fn paths(target: &Target) -> Verdict {
    let Target { path, authority, .. } = target;
    let others = [format!("{path}/"), format!("{path}%2f"), format!("/{path}")];
    let others = others.map(|other| {
        let request = target.handshake().line(format!("GET {other} HTTP/1.1"));
        (format!("the path {other}"), request, 404)
    });
    let absolute = target.handshake().line(format!("GET http://{authority}{path} HTTP/1.1"));
    together([
        each_answered(target, others).await,
        each_answered(target, [("its URL as the path", absolute, 101)]).await,
    ])
}

/// An upgrade that nobody wants is left, and the request answered (RFC 9110 §7.8): `curl --http2` and
/// Java's client offer one with every page they ask for.
async fn other_offers(target: &Target) -> Verdict {
    let Target { page, authority, .. } = target;
    let plain = Request::get(page).set("Host", &[authority]);
    let (expected, _) = target.ask(&plain).await?;
    let h2c = plain
        .clone()
        .set("Connection", &["Upgrade, HTTP2-Settings"])
        .set("Upgrade", &["h2c"])
        .set("HTTP2-Settings", &["AAMAAABkAAQCAAAAAAIAAAAA"]);
    let tls = plain.set("Connection", &["upgrade"]).set("Upgrade", &["TLS/1.2"]);
    each([("h2c", h2c), ("TLS", tls)], async |(name, request)| {
        let (head, _peer) = target.ask(&request).await?;
        if head.status == expected.status && head.status != 101 {
            return Ok(());
        }
        let sent = format!("a request for {page} that offers {name}");
        found(Weight::Broken, sent, head.to_string(), format!("{expected}, as without it"))
    })
    .await
}

async fn still_there(target: &Target) -> Verdict {
    let deadline = Instant::now() + target.patience();
    loop {
        let before = target.refused_as_too_many();
        match run::probe(target).await {
            Ok(()) => return Ok(()),
            // It is there, and after a moment takes handshakes again.
            Err(_) if target.refused_as_too_many() > before && Instant::now() < deadline => {
                sleep(target.patience() / 10).await;
            }
            Err(why) => {
                return found(Weight::Broken, "all of the above", why, "a chat among friends");
            }
        }
    }
}
