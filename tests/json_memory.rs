//! What decoding a hostile message may cost in memory.
//!
//! The allocator counts a vector that moves twice, as the old and the new one exist at once.
#![cfg(test)]

use peak_alloc::PeakAlloc;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use test_support::turns::turn;
use tower_websocket::{
    internal::from_str,
    layers::{
        JsonErrorKind::{self, *},
        JsonLimits,
    },
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const KIB: usize = 1024;

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "only decoded")]
enum Strict {
    Join { room: String },
    Move { seq: u64 },
    Leave {},
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(dead_code, reason = "only decoded")]
enum Lenient {
    Join { room: String },
    Leave,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "only decoded")]
enum Untagged {
    Join { room: String },
    Move { seq: u64 },
}

fn peak<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = work();
    (ALLOCATOR.peak_usage().saturating_sub(before), result)
}

/// The smaller of two runs: the test harness allocates now and then as well.
fn decode<T: DeserializeOwned>(text: &str) -> (usize, Option<JsonErrorKind>) {
    let limits = JsonLimits::default();
    let run = || peak(|| from_str::<T>(text, &limits).err().map(|error| error.kind()));
    let (first, kind) = run();
    (first.min(run().0), kind)
}

fn list(item: &str, count: usize) -> String {
    format!("[{}]", vec![item; count].join(","))
}

fn object(keys: usize) -> String {
    let letters = (b'a'..=b'z').chain(b'A'..=b'Z').chain(b'0'..=b'9').chain(*b"+-").map(char::from);
    let keys: Vec<_> = letters.take(keys).map(|key| format!(r#""{key}":0"#)).collect();
    format!("{{{}}}", keys.join(","))
}

// covers: MS-04
// As unknown field before and after the tag; without limits more than a megabyte each.
#[test]
fn buffering_bombs_are_refused_before_anything_is_buffered() {
    let _turn = turn();
    for (name, item) in
        [("zeros", "0"), ("empty arrays", "[]"), ("arrays", "[[]]"), ("objects", r#"{"":0}"#)]
    {
        let bomb = list(item, 65_400 / (item.len() + 1));
        for text in [
            format!(r#"{{"type":"leave","x":{bomb}}}"#),
            format!(r#"{{"x":{bomb},"type":"leave"}}"#),
        ] {
            let (unlimited, _) = peak(|| serde_json::from_str::<Strict>(&text).is_ok());
            assert!(unlimited > 16 * text.len(), "{name}: no bomb any more, {unlimited}");
            for (bytes, kind) in [
                decode::<Strict>(&text),
                decode::<Lenient>(&text),
                decode::<Untagged>(&text),
                decode::<serde_json::Value>(&text),
            ] {
                assert_eq!(kind, Some(TooManyValues), "{name}");
                assert!(bytes < KIB, "{name}: {bytes}");
            }
        }
    }
}

// covers: MS-03, MS-04
// None with an escape at the end: that costs a doubled vector.
#[test]
fn other_hostile_messages_stay_below_twice_their_size() {
    let _turn = turn();
    let long = |c: &str| c.repeat(65_000 / c.len());
    let keys: Vec<_> = (0..7_763).map(|n| format!(r#""{n}":0"#)).collect();
    for (name, text) in [
        ("nested arrays", format!(r#"{{"x":{}{}}}"#, "[".repeat(32_000), "]".repeat(32_000))),
        ("nested objects", format!(r#"{{"x":{}0{}}}"#, long(r#"{"":"#), "}".repeat(13_000))),
        ("7,763 keys", format!("{{{}}}", keys.join(","))),
        ("a long string", format!(r#"{{"type":"join","room":"{}"}}"#, long("a"))),
        ("nothing but escapes", format!(r#"{{"type":"join","room":"{}"}}"#, long(r"\n"))),
        ("a long variant", format!(r#"{{"type":"{}"}}"#, long("a"))),
        ("a long key", format!(r#"{{"type":"leave","{}":0}}"#, long("a"))),
        ("a number of digits", format!(r#"{{"type":"move","seq":{}}}"#, long("1"))),
        ("a long fraction", format!(r#"{{"type":"move","seq":0.{}}}"#, long("1"))),
        // Six times the text at least, were serde to quote it in an error.
        ("DEL for a number", format!(r#"{{"type":"move","seq":"{}"}}"#, long("\u{7f}"))),
        ("quotes for a number", format!(r#"{{"type":"move","seq":"{}"}}"#, long(r#"\""#))),
    ] {
        for (of, (bytes, _)) in [
            ("strict", decode::<Strict>(&text)),
            ("lenient", decode::<Lenient>(&text)),
            ("untagged", decode::<Untagged>(&text)),
        ] {
            assert!(bytes < 2 * text.len(), "{name}, {of}: {bytes} for {}", text.len());
        }
    }
}

/// Few bytes of text, and as much structure as the limits allow.
// holds: I3
#[test]
fn structure_costs_at_most_96_kib() {
    let _turn = turn();
    let mut most = 0;
    let mut items = vec!["0".to_owned(), "[0]".to_owned(), "[[0]]".to_owned()];
    items.extend([1, 2, 4, 5, 8, 9, 16, 17, 32, 33, 63, 64].map(object));
    items.push(format!("{}0{}", r#"{"":"#.repeat(13), "}".repeat(13)));
    items.push(format!("{}0{}", "[".repeat(13), "]".repeat(13)));
    let mut texts: Vec<_> = items
        .iter()
        .flat_map(|item| {
            (1..1_024)
                .step_by(16)
                .map(move |count| format!(r#"{{"type":"leave","x":{}}}"#, list(item, count)))
        })
        .collect();
    // A list that doubles when the rest of the allowance is in use.
    texts.extend((1..224).step_by(16).map(|objects| {
        let objects = list(&object(1), objects);
        format!(r#"{{"type":"leave","x":{objects},"y":{}}}"#, list("0", 513))
    }));
    // Every key of sixteen objects at once.
    texts.push((0..15).fold("0".to_owned(), |inner, _| {
        let open = object(62);
        format!(r#"{},"":{inner}}}"#, &open[..open.len() - 1])
    }));
    for text in texts {
        let [strict, lenient, untagged, ignored] = [
            decode::<Strict>(&text),
            decode::<Lenient>(&text),
            decode::<Untagged>(&text),
            decode::<IgnoredAny>(&text),
        ];
        for (bytes, _) in [strict, lenient, untagged, ignored] {
            assert!(bytes <= 96 * KIB, "{bytes} for {text}");
            most = most.max(bytes);
        }
    }
    assert!(most > 64 * KIB, "the limits leave room to spare, or nothing was measured: {most}");
    println!("structure: {most}");
}

/// serde_json unescapes into a vector, which doubles for the last byte.
#[test]
fn late_escapes_cost_three_times_the_text() {
    let _turn = turn();
    let late = format!(r"\n{}\n", "a".repeat(63_000));
    let structure = list(&object(1), 220);
    for (name, text) in [
        ("field", format!(r#"{{"type":"join","room":"{late}"}}"#)),
        ("variant", format!(r#"{{"type":"{late}"}}"#)),
        ("key", format!(r#"{{"type":"join","{late}":0}}"#)),
        ("wrong type", format!(r#"{{"type":"move","seq":"{late}"}}"#)),
        ("structure, field", format!(r#"{{"type":"join","x":{structure},"room":"{late}"}}"#)),
        ("structure, key", format!(r#"{{"type":"join","x":{structure},"{late}":0}}"#)),
    ] {
        for (bytes, kind) in [decode::<Strict>(&text), decode::<Lenient>(&text)] {
            assert!(bytes <= 3 * text.len() + 96 * KIB, "{name}: {bytes}");
            println!("{name}: {} bytes, peak {bytes}, {kind:?}", text.len());
        }
    }
}

#[test]
fn the_walk_over_a_flat_message_allocates_nothing() {
    let _turn = turn();
    let text = r#"{"type":"chat","room":"general","text":"Hello, Wörld","seq":184467,"ack":true}"#;
    let (bytes, kind) = decode::<IgnoredAny>(text);
    assert_eq!((bytes, kind), (0, None));
}

// covers: MS-04
/// The parser describes a string where a number belongs, for an error that is thrown away.
#[test]
fn a_string_where_something_else_belongs_is_not_described() {
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only decoded")]
    struct Plain {
        seq: Option<u64>,
        list: Option<Vec<u8>>,
        flag: Option<bool>,
    }

    let _turn = turn();
    for field in ["seq", "list", "flag"] {
        let text = format!(r#"{{"{field}":"{}"}}"#, "\u{7f}".repeat(65_000));
        let (bytes, kind) = decode::<Plain>(&text);
        assert_eq!(kind, Some(Schema));
        assert!(bytes < 2 * text.len(), "{field}: {bytes} for {}", text.len());
    }
}
