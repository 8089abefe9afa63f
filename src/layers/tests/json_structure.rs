//! What is refused whatever the type: structure, bad strings, huge numbers.

use std::num::NonZeroUsize;

use serde::de::IgnoredAny;
use serde_json::Value;

use super::json::{Envelope, Lenient, Request, kind, limit, read, structure};
use crate::layers::json::{
    JsonErrorKind::{
        DuplicateKey, NotAnObject, Schema, Syntax, TooDeep, TooManyKeys, TooManyValues,
    },
    JsonLimits, from_str,
};

// covers: MS-03
#[test]
fn a_nesting_bomb_is_refused_wherever_it_is_put() {
    let arrays = nested("[", "", "]", 32_000);
    let objects = nested(r#"{"":"#, "0", "}", 10_000);
    let open = "[".repeat(32_000);
    for bomb in [&arrays, &objects, &open] {
        let whole = if bomb.starts_with('[') { NotAnObject } else { TooDeep };
        for (name, text, expected) in [
            ("the message", bomb.clone(), whole),
            ("first", format!(r#"{{"x":{bomb},"type":"leave"}}"#), TooDeep),
            ("an unknown field", format!(r#"{{"type":"leave","x":{bomb}}}"#), TooDeep),
            ("data", format!(r#"{{"type":"join","data":{bomb}}}"#), TooDeep),
            ("room", format!(r#"{{"type":"join","room":{bomb}}}"#), TooDeep),
        ] {
            let limits = JsonLimits::default();
            assert_eq!(read(&text), Err(expected), "{name}");
            assert_eq!(kind(from_str::<Lenient>(&text, &limits)).err(), Some(expected), "{name}");
            assert_eq!(kind(from_str::<Envelope>(&text, &limits)).err(), Some(expected), "{name}");
            assert_eq!(
                kind(from_str::<IgnoredAny>(&text, &limits)).err(),
                Some(expected),
                "{name}"
            );
        }
    }
}

#[test]
fn sixteen_levels_pass_and_seventeen_do_not() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let text = |levels: usize| format!(r#"{{"a":{}}}"#, nested(open, "0", close, levels - 1));
        assert_eq!(structure(&text(16)), None, "{open}");
        assert_eq!(structure(&text(17)), Some(TooDeep), "{open}");
    }
}

#[test]
fn siblings_are_not_depth() {
    let level = nested("[", "0", "]", 14);
    let text = format!(r#"{{"a":[{}]}}"#, vec![level.as_str(); 20].join(","));
    assert_eq!(structure(&text), None);
}

#[test]
fn no_depth_limit_reaches_the_stack_or_the_parsers_own_limit() {
    let limits = JsonLimits::default().max_depth(NonZeroUsize::MAX);
    for (levels, expected) in [(126, None), (127, Some(TooDeep)), (128, Some(TooDeep))] {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let text = format!(r#"{{"a":{}}}"#, nested(open, "0", close, levels - 1));
            assert_eq!(kind(from_str::<Value>(&text, &limits)).err(), expected, "{levels} {open}");
        }
    }
}

#[test]
fn a_smaller_depth_is_kept() {
    let limits = JsonLimits::default().max_depth(limit(1));
    assert_eq!(kind(from_str::<Value>(r#"{"a":0}"#, &limits)).err(), None);
    assert_eq!(kind(from_str::<Value>(r#"{"a":[]}"#, &limits)).err(), Some(TooDeep));
}

#[test]
fn values_are_counted_in_all_and_keys_are_not() {
    let limits = JsonLimits::default().max_values(limit(6));
    for (text, expected) in [
        (r#"{"a":[0,0,0,0]}"#, None),
        (r#"{"a":[0,0,0,0,0]}"#, Some(TooManyValues)),
        (r#"{"a":0,"b":"","c":null,"d":true,"e":1.5}"#, None),
        (r#"{"a":0,"b":"","c":null,"d":true,"e":1.5,"f":-1}"#, Some(TooManyValues)),
        (r#"{"a":[[],[],[],[]]}"#, None),
        (r#"{"a":[[],[],[],[],{}]}"#, Some(TooManyValues)),
    ] {
        assert_eq!(kind(from_str::<Value>(text, &limits)).err(), expected, "{text}");
    }
}

#[test]
fn by_default_1024_values_pass_and_one_more_does_not() {
    let text = |zeros| format!(r#"{{"a":[{}]}}"#, vec!["0"; zeros].join(","));
    assert_eq!(structure(&text(1_022)), None);
    assert_eq!(structure(&text(1_023)), Some(TooManyValues));
}

#[test]
fn small_containers_are_refused_before_their_number_is_reached() {
    for (name, item, passes) in [
        ("empty arrays", "[]", 1_000),
        ("pairs", r#"{"x":1,"y":2}"#, 220),
        ("objects of one key", r#"{"":0}"#, 220),
        ("arrays of one number", "[0]", 380),
    ] {
        let text = |items| format!(r#"{{"a":[{}]}}"#, vec![item; items].join(","));
        assert_eq!(structure(&text(passes)), None, "{name}");
        assert_eq!(structure(&text(1_023)), Some(TooManyValues), "{name}");
    }
    let deep = nested(r#"{"a":"#, "0", "}", 14);
    let deep = format!(r#"{{"a":[{}]}}"#, vec![deep.as_str(); 16].join(","));
    assert_eq!(structure(&deep), None, "256 values or fewer");
    let pairs = format!(r#"{{"a":[{}]}}"#, vec![r#"{"x":1,"y":2}"#; 240].join(","));
    assert_eq!(structure(&pairs), Some(TooManyValues));
    let raised = JsonLimits::default().max_values(limit(2_048));
    assert_eq!(kind(from_str::<Value>(&pairs, &raised)).err(), None);
}

// covers: MS-13
#[test]
fn keys_are_counted_for_each_object() {
    let limits = JsonLimits::default();
    for (name, text, expected) in [
        ("64", format!("{{{}}}", keys(64)), None),
        ("65", format!("{{{}}}", keys(65)), Some(TooManyKeys)),
        ("64 twice", format!(r#"{{"a":{{{0}}},"b":{{{0}}}}}"#, keys(64)), None),
        ("65 inside", format!(r#"{{"a":[{{{}}}]}}"#, keys(65)), Some(TooManyKeys)),
        ("very many", format!("{{{}}}", keys(7_763)), Some(TooManyKeys)),
    ] {
        assert_eq!(kind(from_str::<Value>(&text, &limits)).err(), expected, "{name}");
        assert_eq!(kind(from_str::<IgnoredAny>(&text, &limits)).err(), expected, "{name}");
    }
    let one = limits.max_keys(limit(1));
    assert_eq!(kind(from_str::<Value>(r#"{"a":{"a":0}}"#, &one)).err(), None);
    assert_eq!(kind(from_str::<Value>(r#"{"a":0,"b":0}"#, &one)).err(), Some(TooManyKeys));
}

// covers: RM-05
#[test]
fn a_key_that_occurs_twice_is_refused_at_every_level_and_in_every_spelling() {
    let ninth = |twin: &str| format!("{{{},{twin}:0}}", keys(12));
    for text in [
        r#"{"type":"chat","type":"join"}"#,
        r#"{"type":"chat","data":{"room":"r1","room":"r2","text":"x"}}"#,
        r#"{"room":"a","ro\u006fm":"b"}"#,
        r#"{"ro\u006fm":"a","room":"b"}"#,
        r#"{"ro\u006fm":"a","ro\u006Fm":"b"}"#,
        r#"{"\u0072oom":"a","roo\u006d":"b"}"#,
        r#"{"a/b":0,"a\/b":0}"#,
        r#"{"😀":0,"\ud83d\ude00":0}"#,
        r#"{"":0,"":0}"#,
        r#"{"a":0,"b":0,"a":0}"#,
        r#"{"x":[[{"a":{"b":0,"c":[],"b":1}}]]}"#,
        r#"{"a":{"b":0},"a":{"c":0}}"#,
        // Beyond the keys that are kept inline, and across that border.
        &ninth(r#""0""#),
        &ninth(r#""7""#),
        &ninth(r#""8""#),
        &ninth(r#""11""#),
        &ninth(r#""\u0031""#),
        &ninth(r#""1\u0031""#),
        &format!(r#"{{"\u0031":0,{}}}"#, keys(12)),
        &format!(r#"{{"1\u0031":0,{}}}"#, keys(12)),
    ] {
        assert_eq!(structure(text), Some(DuplicateKey), "{text}");
        let limits = JsonLimits::default();
        assert_eq!(kind(from_str::<IgnoredAny>(text, &limits)).err(), Some(DuplicateKey), "{text}");
        assert_eq!(read(text), Err(DuplicateKey), "{text}");
    }
}

#[test]
fn keys_that_only_look_alike_are_not_twice() {
    for text in [
        r#"{"room":0,"Room":0,"room ":0,"r\u043eom":0}"#,
        r#"{"a":{"a":{"a":0}}}"#,
        r#"{"a":[{"b":0},{"b":0}]}"#,
        // Composed and decomposed: two keys for JSON, and for every map.
        r#"{"é":0,"e\u0301":0}"#,
    ] {
        assert_eq!(structure(text), None, "{text}");
    }
}

// covers: MS-16
#[test]
fn half_a_surrogate_pair_is_refused_wherever_it_is_put() {
    let limits = JsonLimits::default();
    for half in [r"\ud800", r"\udc00", r"\ud800x", r"\ud800\n", r"\ud800\ud800", r"\udc00\ud800"] {
        for (name, text) in [
            ("a field", format!(r#"{{"type":"{half}"}}"#)),
            ("an ignored field", format!(r#"{{"type":"x","y":"{half}"}}"#)),
            ("deep in an ignored field", format!(r#"{{"type":"x","y":[{{"z":"{half}"}}]}}"#)),
            ("an ignored key", format!(r#"{{"type":"x","{half}":0}}"#)),
            ("raw data", format!(r#"{{"type":"x","data":{{"room":"{half}"}}}}"#)),
        ] {
            assert_eq!(read(&text), Err(Syntax), "{name}: {half}");
            let lenient = kind(from_str::<Lenient>(&text, &limits));
            assert_eq!(lenient.err(), Some(Syntax), "{name}: {half}");
            let envelope = kind(from_str::<Envelope>(&text, &limits));
            assert_eq!(envelope.err(), Some(Syntax), "{name}: {half}");
        }
    }
}

#[test]
fn numbers_that_overflow_are_refused_in_fields_nobody_reads() {
    let limits = JsonLimits::default();
    for number in ["1e400", "-1e400", "1e999999999999", &"9".repeat(400)] {
        let text = format!(r#"{{"type":"x","y":[{number}]}}"#);
        assert_eq!(kind(from_str::<Lenient>(&text, &limits)).err(), Some(Syntax), "{number}");
    }
}

#[test]
fn the_column_is_counted_over_line_breaks() {
    for (text, kind, column) in [
        ("x", NotAnObject, 1),
        (" \n x", NotAnObject, 4),
        (r#"{"a":x}"#, Syntax, 6),
        ("{\n\n\"a\":x}", Syntax, 8),
        ("{\"a\":0,\n\"a\":0}", DuplicateKey, 11),
        ("{\n\"type\":1}", Schema, 0),
    ] {
        let error = from_str::<Request>(text, &JsonLimits::default()).unwrap_err();
        assert_eq!((error.kind(), error.column()), (kind, column), "{text:?}");
    }
}

fn nested(open: &str, inner: &str, close: &str, levels: usize) -> String {
    format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
}

fn keys(count: usize) -> String {
    let keys: Vec<_> = (0..count).map(|n| format!(r#""{n}":0"#)).collect();
    keys.join(",")
}
