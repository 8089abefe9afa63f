//! The browser client's retry tables say what `CloseReason` says.
#![cfg(test)]

use std::{collections::BTreeMap, fs, path::Path};

use tower_websocket::{CloseReason, Retry};

/// The lines of the table `name` in the client: key and action.
fn table(name: &str) -> BTreeMap<String, String> {
    let source = read("clients/js/client.mjs");
    let (_, rest) = source.split_once(&format!("export const {name} = {{\n")).unwrap();
    let (lines, _) = rest.split_once("\n};").unwrap();
    let entry = |line: &str| {
        let (key, rest) = line.trim().split_once(": { action: \"").unwrap();
        let (action, _) = rest.split_once('"').unwrap();
        (key.trim_matches('"').to_owned(), action.to_owned())
    };
    lines.lines().map(entry).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// What a client should do, in the client's words.
fn action(retry: Retry) -> &'static str {
    match retry {
        Retry::Backoff => "backoff",
        Retry::FreshTicket => "fresh-ticket",
        Retry::Stop => "stop",
        other => panic!("{other:?} has no word in the client"),
    }
}

#[test]
fn the_page_does_for_each_close_what_the_server_means() {
    let (codes, reasons) = (table("CLOSE_CODES"), table("CLOSE_REASONS"));
    for reason in CloseReason::ALL {
        // Without a close frame, a browser reports 1006.
        let code = reason.code().map_or(1006, u16::from).to_string();
        let known = codes.get(&code).unwrap_or_else(|| panic!("{code} is not in CLOSE_CODES"));
        let special = reasons.get(&format!("{code} {}", reason.text()));
        let does = special.unwrap_or(known);
        assert_eq!(does, action(reason.retry()), "{reason:?}");
    }
}

#[test]
fn each_special_reason_of_the_page_is_one_the_server_sends() {
    let sent =
        |it: &CloseReason| it.code().map(|code| format!("{} {}", u16::from(code), it.text()));
    let sent: Vec<_> = CloseReason::ALL.iter().filter_map(sent).collect();
    for key in table("CLOSE_REASONS").keys() {
        assert!(sent.contains(key), "{key:?} is never sent");
    }
}
