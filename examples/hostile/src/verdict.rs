//! What came of an attack.

use std::{fmt, io};

/// How bad it is if an attack succeeds; the words of the catalogue.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Severity {
    /// Breaks authentication, isolation or secrecy, or lets one peer stop or exhaust the server.
    P0,
    /// Bounded abuse, a wrong status or close code, a deviation that others rely on.
    P1,
    /// Hygiene.
    P2,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The target withstood the attack, or not, or it could not be tried.
pub(crate) type Verdict = Result<(), Trouble>;

#[derive(Debug)]
pub(crate) enum Trouble {
    /// At least one piece of evidence.
    Found(Vec<Evidence>),
    /// Why not.
    NotTried(String),
}

/// One thing that went wrong.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) weight: Weight,
    pub(crate) sent: String,
    pub(crate) came: String,
    pub(crate) expected: String,
}

/// Whether the attack succeeded, or was only answered with something else than expected.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Weight {
    /// As severe as the row.
    Broken,
    /// Refused, but others cannot tell why: never worse than P1.
    WrongAnswer,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::NotTried(error.to_string())
    }
}

impl Evidence {
    pub(crate) fn severity(&self, row: Severity) -> Severity {
        match self.weight {
            Weight::Broken => row,
            Weight::WrongAnswer => row.max(Severity::P1),
        }
    }
}

/// A verdict on its own.
pub(crate) fn found(
    weight: Weight,
    sent: impl Into<String>,
    came: impl Into<String>,
    expected: impl Into<String>,
) -> Verdict {
    let (sent, came, expected) = (sent.into(), came.into(), expected.into());
    Err(Trouble::Found(vec![Evidence { weight, sent, came, expected }]))
}

/// All evidence of several verdicts. What was found counts more than what could not be tried.
pub(crate) fn together(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    let mut evidence = Vec::new();
    let mut not_tried = None;
    for verdict in verdicts {
        match verdict {
            Ok(()) => {}
            Err(Trouble::Found(more)) => evidence.extend(more),
            Err(Trouble::NotTried(why)) => not_tried = not_tried.or(Some(why)),
        }
    }
    evidence.sort_by_key(|it: &Evidence| it.weight);
    match not_tried {
        _ if !evidence.is_empty() => Err(Trouble::Found(evidence)),
        Some(why) => Err(Trouble::NotTried(why)),
        None => Ok(()),
    }
}
