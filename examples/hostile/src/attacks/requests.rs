//! Handshakes that are wrong in one header.

use crate::{
    catalogue::Attack,
    target::Target,
    verdict::{Severity::*, Verdict, Weight, found, together},
};

use super::{each, each_answered};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        row: "HS-12",
        severity: P1,
        name: "another version of the protocol",
        test: "another version is answered with the supported one",
        alone: false,
        run: |target| Box::pin(version(target)),
    },
    Attack {
        row: "HS-13",
        severity: P1,
        name: "a bad key",
        test: "a bad key is refused",
        alone: false,
        run: |target| Box::pin(key(target)),
    },
    Attack {
        row: "HS-14",
        severity: P1,
        name: "Connection and Upgrade that only look right",
        test: "connection and upgrade are read by token",
        alone: false,
        run: |target| Box::pin(tokens(target)),
    },
    Attack {
        row: "HS-16",
        severity: P1,
        name: "no Host, or two",
        test: "there is exactly one host",
        alone: false,
        run: |target| Box::pin(host(target)),
    },
    Attack {
        row: "HS-18",
        severity: P1,
        name: "subprotocols that nobody speaks",
        test: "no subprotocol is ever chosen",
        alone: false,
        run: |target| Box::pin(subprotocol(target)),
    },
    Attack {
        row: "HS-19",
        severity: P1,
        name: "offers of extensions",
        test: "no extension is ever negotiated",
        alone: false,
        run: |target| Box::pin(extension(target)),
    },
];

async fn version(target: &Target) -> Verdict {
    let cases: [(&[&str], u16); 5] =
        [(&["8"], 426), (&["0"], 426), (&["13, 8"], 426), (&[], 400), (&["13", "13"], 400)];
    let statuses = each_with(target, "Sec-WebSocket-Version", &cases).await;
    let (head, _) = target.ask(&target.handshake().set("Sec-WebSocket-Version", &["8"])).await?;
    let told = head.header("sec-websocket-version");
    let hint = if head.status == 426 && told.as_deref() != Some("13") {
        let came = format!("{head} without Sec-WebSocket-Version: 13");
        found(Weight::WrongAnswer, "a handshake of version 8", came, "the version to use")
    } else {
        Ok(())
    };
    together([statuses, hint])
}

async fn key(target: &Target) -> Verdict {
    const GOOD: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    let bad: [&[&str]; 8] = [
        &[],
        &[""],
        &["AAAAAAAAAAAAAAAAAAAA"],
        &["AAAAAAAAAAAAAAAAAAAAAAA="],
        &["!!!!!!!!!!!!!!!!!!!!!!=="],
        &["dGhlIHNhbXBsZSBub25jZR=="],
        &["-_hlIHNhbXBsZSBub25jZQ=="],
        &[GOOD, GOOD],
    ];
    each_with(target, "Sec-WebSocket-Key", &bad.map(|values| (values, 400))).await
}

async fn tokens(target: &Target) -> Verdict {
    let connection: [(&[&str], u16); 5] = [
        (&["keep-alive, Upgrade"], 101),
        (&["upgrade"], 101),
        (&["keep-alive", "Upgrade"], 101),
        (&["not-upgrade"], 400),
        (&["\"upgrade\""], 400),
    ];
    // What else is offered beside a WebSocket may be left (RFC 9110 §7.8).
    let upgrade: [(&[&str], u16); 1] = [(&["websocketx"], 400)];
    together([
        each_with(target, "Connection", &connection).await,
        each_with(target, "Upgrade", &upgrade).await,
    ])
}

async fn host(target: &Target) -> Verdict {
    let host = &*target.authority;
    let cases: [(&[&str], u16); 3] =
        [(&[], 400), (&[host, host], 400), (&[host, "evil.example"], 400)];
    each_with(target, "Host", &cases).await
}

async fn subprotocol(target: &Target) -> Verdict {
    let spaces = format!("hostile{}, hostile", " ,".repeat(4_000));
    let offers: [&[&str]; 5] = [
        &["hostile"],
        &["bearer.SECRET"],
        &["hostile", "hostile", "hostile"],
        &["a \"b\",,;"],
        &[&spaces],
    ];
    // To refuse them is as good as to choose none.
    each(offers, async |values| {
        let request = target.handshake().set("Sec-WebSocket-Protocol", values);
        let (head, _peer) = target.ask(&request).await?;
        if let Some(chosen) = head.header("sec-websocket-protocol") {
            let sent = format!("a handshake that offers {:.80}", values.join(", "));
            let came = format!("{head}, Sec-WebSocket-Protocol: {chosen:.80}");
            return found(Weight::Broken, sent, came, "none of them, and no echo of a token");
        }
        Ok(())
    })
    .await
}

async fn extension(target: &Target) -> Verdict {
    let thousand = vec!["permessage-deflate"; 500].join(", ");
    let offers = ["permessage-deflate; server_max_window_bits=99", &thousand, "a;=\"", ";,;"];
    each(offers, async |offer| {
        let request = target.handshake().set("Sec-WebSocket-Extensions", &[offer]);
        let (head, _peer) = target.ask(&request).await?;
        let chosen = head.header("sec-websocket-extensions");
        if head.status != 101 || chosen.is_some() {
            let came = format!("{head}, extensions {chosen:?}");
            return found(
                Weight::Broken,
                format!("an offer of {offer:.80}"),
                came,
                "101 without any",
            );
        }
        Ok(())
    })
    .await
}

/// Each list of lines of the header `name`, and the status that a handshake with it must get.
async fn each_with(target: &Target, name: &str, cases: &[(&[&str], u16)]) -> Verdict {
    let cases = cases.iter().map(|(values, status)| {
        let request = target.handshake().set(name, values);
        (format!("{name}: {values:?}"), request, *status)
    });
    each_answered(target, cases).await
}
