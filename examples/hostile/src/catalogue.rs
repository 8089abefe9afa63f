//! The rows of the catalogue of attacks: those that can be tried from outside, and the others.

use futures_util::future::LocalBoxFuture;

use crate::{
    attacks::{
        auth, auth_clock, close_frames, delivery, floods, frames, guessing, handshake, hygiene,
        json, limits, messages, origin, requests, rooms, shares, texts,
    },
    target::Target,
    verdict::{Severity, Verdict},
};

/// One row, and how it is tried.
#[derive(Debug)]
pub(crate) struct Attack {
    /// The id in the catalogue.
    pub(crate) row: &'static str,
    pub(crate) severity: Severity,
    /// What the attacker wants.
    pub(crate) name: &'static str,
    /// A test of this crate that shows the row: the one that a server without it is missing.
    pub(crate) test: &'static str,
    /// It uses up what other attacks need, and so has the target to itself.
    pub(crate) alone: bool,
    pub(crate) run: for<'a> fn(&'a Target) -> LocalBoxFuture<'a, Verdict>,
}

/// All that can be tried, in the order it is: those that run alone come last.
pub(crate) fn attacks() -> impl Iterator<Item = &'static Attack> {
    let groups = [
        // Those that wait for deadlines first, so that the others run meanwhile.
        delivery::ATTACKS,
        auth_clock::ATTACKS,
        shares::ATTACKS,
        limits::ATTACKS,
        handshake::ATTACKS,
        requests::ATTACKS,
        origin::ATTACKS,
        auth::ATTACKS,
        rooms::ATTACKS,
        frames::ATTACKS,
        close_frames::ATTACKS,
        messages::ATTACKS,
        texts::ATTACKS,
        json::ATTACKS,
        hygiene::ATTACKS,
        floods::ATTACKS,
        // After it the target lets this address in no more.
        guessing::ATTACKS,
    ];
    groups.into_iter().flatten()
}

/// Rows that a client cannot try, and why.
pub(crate) const NOT_FROM_OUTSIDE: &[(&str, &[&str])] = &[
    (
        "the memory, time or descriptors it takes are the server's own",
        &[
            "FR-04", "FR-20", "MS-04", "DL-03", "DL-05", "DL-10", "DL-12", "DL-18", "DL-23",
            "RM-17", "P2-18",
        ],
    ),
    (
        "the application would have to fail, stall or decide on demand",
        &[
            "AU-07", "AU-10", "AU-12", "RM-02", "RM-06", "RM-13", "RM-14", "DL-14", "DL-20",
            "DL-21", "DL-26",
        ],
    ),
    (
        "it is about logs and audit records",
        &["LG-01", "LG-02", "LG-10", "LG-11", "LG-12", "LG-13", "LG-14", "LG-15", "LG-16"],
    ),
    (
        "it is about the server's own code",
        &["AU-16", "FR-29", "HS-35", "XX-02", "XX-04", "P2-19", "P2-21", "P2-24"],
    ),
    ("it is about what an honest client may do", &["MS-25"]),
    ("the HTTP server around the endpoint decides it", &["XX-03"]),
    (
        "it takes more peers or addresses than one machine is good for",
        &["DL-22", "MS-21", "RM-12", "RM-16", "RM-18"],
    ),
    ("HS-21 shows it, as far as it can be seen", &["HS-22", "HS-32"]),
    ("what is drawn at random looks like what is not", &["DL-17"]),
    ("a peer that waits for a quota cannot tell it from a slow server", &["MS-24"]),
    ("a slow reader is no attack, and it takes a minute", &["DL-24", "DL-25"]),
    ("it needs HTTP/2", &["HS-24", "HS-25", "HS-27", "P2-13"]),
    ("it needs TLS or a proxy", &["HS-29"]),
    ("the server would have to be stopped", &["HS-28", "HS-36"]),
    ("it needs compression", &["P2-16"]),
    ("it is about who must not be refused, which depends on the application", &["P2-23"]),
    ("it needs several nodes", &["FL-01", "FL-02", "FL-03", "FL-04", "FL-05", "FL-06"]),
];
