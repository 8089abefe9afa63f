//! Say what was found, the worst first.

use std::{env, fmt::Write as _};

use crate::{
    catalogue::{Attack, NOT_FROM_OUTSIDE, attacks},
    target::Target,
    verdict::{Evidence, Severity, Trouble, Verdict},
};

/// Prints the rows, for each the test of this crate that shows it.
pub(crate) fn list() {
    for Attack { row, severity, name, test, .. } in attacks() {
        println!("{row} {severity} {name} ({test})");
    }
    for (why, rows) in NOT_FROM_OUTSIDE {
        println!("not tried from outside, {why}: {}", rows.join(" "));
    }
}

/// Prints everything. The exit code.
pub(crate) fn print(target: &Target, results: &[(&Attack, Verdict)], everything: bool) -> u8 {
    let too_many = target.refused_as_too_many();
    if too_many > 0 {
        println!("{too_many} handshakes got HTTP 429. {TOO_MANY}");
    }
    let mut findings = Vec::new();
    let mut not_tried = Vec::new();
    for (attack, verdict) in results {
        match verdict {
            Ok(()) => {}
            Err(Trouble::Found(evidence)) => {
                let worst = evidence.iter().map(|it| it.severity(attack.severity)).min();
                findings.push((worst.unwrap_or(attack.severity), *attack, evidence));
            }
            Err(Trouble::NotTried(why)) => not_tried.push((attack.row, why)),
        }
    }
    findings.sort_by_key(|(severity, attack, _)| (*severity, attack.row));
    for (severity, attack, evidence) in &findings {
        println!("{}", finding(*severity, attack, evidence));
    }
    for (row, why) in &not_tried {
        println!("could not try {row}: {why}");
    }
    if everything {
        for (why, rows) in NOT_FROM_OUTSIDE {
            println!("not tried from outside, {why}: {}", rows.join(" "));
        }
    }
    let tried = results.len() - not_tried.len();
    let count = |wanted| findings.iter().filter(|(severity, ..)| *severity == wanted).count();
    let outside: usize = NOT_FROM_OUTSIDE.iter().map(|(_, rows)| rows.len()).sum();
    let (sent, received) = target.traffic.mebibytes();
    println!("sent {sent} MiB, received {received} MiB");
    println!(
        "rows: {tried} tried, {} passed, {} findings ({} P0, {} P1, {} P2), {} could not be tried, \
         {} not tried from outside",
        tried - findings.len(),
        findings.len(),
        count(Severity::P0),
        count(Severity::P1),
        count(Severity::P2),
        not_tried.len(),
        if everything { outside } else { 0 },
    );
    match (findings.is_empty(), not_tried.is_empty()) {
        (true, true) => CLEAN,
        (false, _) => FINDINGS,
        // Nothing is known about these rows, which is not the same as clean.
        (true, false) => MISUSE,
    }
}

/// What to do about it.
pub(crate) const TOO_MANY: &str = "All rows come from this one address, and the target lets one address make fewer handshakes than \
     that takes: start it with a higher limit for a moment, the reference server with \
     --handshake-rate-per-peer 500 --failed-login-burst 200, or try a few rows at a time with --only.";

fn finding(severity: Severity, attack: &Attack, evidence: &[Evidence]) -> String {
    let Attack { row, name, test, .. } = attack;
    let mut text = format!("{severity} {row} {name}\n");
    for Evidence { sent, came, expected, .. } in evidence.iter().take(SHOWN) {
        let _ = writeln!(text, "  sent      {sent}");
        let _ = writeln!(text, "  came      {came}");
        let _ = writeln!(text, "  expected  {expected}");
    }
    if let Some(more @ 1..) = evidence.len().checked_sub(SHOWN) {
        let _ = writeln!(text, "  and {more} more like these");
    }
    let _ = writeln!(text, "  again     {} --only {row}", command());
    let _ = writeln!(text, "  missing   a test that says: {test}");
    text
}

/// How this program was called, for a shell, up to the rows to try.
fn command() -> String {
    let mut command = "hostile".to_owned();
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--only" {
            args.next();
        } else if !arg.starts_with("--only=") {
            let plain = |it: char| it.is_ascii_alphanumeric() || "-_./:=,".contains(it);
            match arg.chars().all(plain) {
                true => command = command + " " + &arg,
                false => command = command + " '" + &arg.replace('\'', r"'\''") + "'",
            }
        }
    }
    command
}

/// Exit codes.
const CLEAN: u8 = 0;
const FINDINGS: u8 = 1;
pub(crate) const MISUSE: u8 = 2;

/// Pieces of evidence for one finding.
const SHOWN: usize = 3;
