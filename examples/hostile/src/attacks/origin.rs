//! Pages of other sites.

use crate::{
    catalogue::Attack,
    target::Target,
    verdict::{Severity::*, Verdict, Weight, found, together},
};

use super::{each_answered, handshake::EVIL};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        row: "HS-04",
        severity: P0,
        name: "a page of another site opens a connection with the user's cookies",
        test: "another sites page cannot use the cookies it comes with",
        alone: false,
        run: |target| Box::pin(hijack(target)),
    },
    Attack {
        row: "HS-05",
        severity: P0,
        name: "an origin that looks like a trusted one",
        test: "an origin like a trusted one is not trusted",
        alone: false,
        run: |target| Box::pin(look_alikes(target)),
    },
    Attack {
        row: "HS-06",
        severity: P0,
        name: "cookies and no origin",
        test: "without an origin there must be no cookie",
        alone: false,
        run: |target| Box::pin(none(target)),
    },
];

async fn hijack(target: &Target) -> Verdict {
    let request = target.handshake().set("Origin", &[EVIL]).or("Cookie", "session=1");
    each_answered(target, [("Origin: https://evil.example and a cookie", request, 403)]).await
}

async fn look_alikes(target: &Target) -> Verdict {
    let good = &*target.origin;
    let (scheme, rest) = good.split_once("://").unwrap_or(("http", good));
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, format!(":{port}")),
        _ => (rest, String::new()),
    };
    let mut one_line = vec![
        format!("{scheme}://{host}.evil.com{port}"),
        format!("{scheme}://evil-{host}{port}"),
        format!("{scheme}://{host}:444"),
        format!("{scheme}://{host}.{port}"),
        format!("{good}@evil.com"),
        format!("{good}/"),
        "null".to_owned(),
        String::new(),
    ];
    // The scheme counts if it was given.
    if target.origin_is_given {
        let other = if scheme == "https" { "http" } else { "https" };
        one_line.push(format!("{other}://{rest}"));
    }
    let mut refused: Vec<Vec<&str>> = one_line.iter().map(|it| vec![&**it]).collect();
    refused.extend([vec![good, EVIL], vec![EVIL, good], vec![good, good]]);
    let mut cases: Vec<_> = refused.into_iter().map(|values| (values, 403)).collect();
    let upper = good.to_ascii_uppercase();
    cases.push((vec![&upper], 101));
    let cases = cases.into_iter().map(|(values, status)| {
        (format!("Origin: {values:?}"), target.handshake().set("Origin", &values), status)
    });
    each_answered(target, cases).await
}

async fn none(target: &Target) -> Verdict {
    let cookie = target.handshake().set("Origin", &[]).or("Cookie", "session=1");
    let bare = cookie.clone().set("Cookie", &[]);
    let with_cookie = each_answered(target, [("a cookie and no Origin", cookie, 403)]).await;
    // Programs that are no browsers may come in, or not.
    let (head, _peer) = target.ask(&bare).await?;
    let without = match head.status {
        101 | 403 => Ok(()),
        _ => {
            found(Weight::WrongAnswer, "neither cookie nor Origin", head.to_string(), "101 or 403")
        }
    };
    together([with_cookie, without])
}
