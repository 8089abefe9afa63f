//! What is read, and what is refused for its text or by its type.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroUsize,
};

use serde::{Deserialize, de};
use serde_json::{Value, value::RawValue};

use crate::layers::json::{
    JsonError,
    JsonErrorKind::{self, NotAnObject, Schema, Syntax},
    JsonLimits, from_str,
};

/// What an application would write.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Request {
    Join { room: String },
    Move { seq: u64, x: f64 },
    Leave {},
    Mute(Mute),
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Mute {
    pub(super) minutes: u8,
}

/// A type that passes over what it does not know.
#[derive(Debug, Deserialize)]
pub(super) struct Lenient {
    #[serde(rename = "type")]
    _kind: String,
}

/// The two-step envelope of this crate's own wire types.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Envelope {
    #[serde(rename = "type")]
    _kind: String,
    data: Option<Box<RawValue>>,
}

pub(super) fn read(text: &str) -> Result<Request, JsonErrorKind> {
    kind(from_str(text, &JsonLimits::default()))
}

pub(super) fn read_value(text: &str) -> Result<Value, JsonErrorKind> {
    kind(from_str(text, &JsonLimits::default()))
}

/// What the structure alone is refused for, whatever the type.
pub(super) fn structure(text: &str) -> Option<JsonErrorKind> {
    read_value(text).err()
}

pub(super) fn kind<T>(result: Result<T, JsonError>) -> Result<T, JsonErrorKind> {
    result.map_err(|error| error.kind())
}

pub(super) fn limit(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

#[test]
fn plain_messages_are_read() {
    let joined = Request::Join { room: "a".to_owned() };
    for (name, text, expected) in [
        ("tag first", r#"{"type":"join","room":"a"}"#, joined),
        ("tag last", r#"{"seq":1,"x":2,"type":"move"}"#, Request::Move { seq: 1, x: 2.0 }),
        ("escapes", r#"{"t\u0079pe":"leav\u0065"}"#, Request::Leave {}),
        ("a surrogate pair", r#"{"type":"join","room":"\ud83d\ude00"}"#, {
            Request::Join { room: "😀".to_owned() }
        }),
        ("a newtype variant", r#"{"type":"mute","minutes":5}"#, Request::Mute(Mute { minutes: 5 })),
        ("what Go's encoder ends with", "{\"type\":\"leave\"}\n", Request::Leave {}),
        ("white space", " \r\n\t{ \"type\" : \"leave\" } \t\r\n", Request::Leave {}),
    ] {
        assert_eq!(read(text), Ok(expected), "{name}");
    }
}

// covers: MS-12
#[test]
fn text_that_is_not_exactly_one_object_is_refused() {
    for (text, expected) in [
        ("", NotAnObject),
        ("   ", NotAnObject),
        ("nul", NotAnObject),
        ("null", NotAnObject),
        ("1", NotAnObject),
        (r#""{}""#, NotAnObject),
        ("/**/{}", NotAnObject),
        ("NaN", NotAnObject),
        ("\u{feff}{}", NotAnObject),
        ("\u{a0}{}", NotAnObject),
        ("\u{b}{}", NotAnObject),
        ("\0{}", NotAnObject),
        ("{", Syntax),
        ("{'a':1}", Syntax),
        ("{a:1}", Syntax),
        (r#"{"a":1,}"#, Syntax),
        (r#"{"a":1 "b":2}"#, Syntax),
        (r#"{"a"}"#, Syntax),
        (r#"{"a":[1,]}"#, Syntax),
        (r#"{"a":NaN}"#, Syntax),
        (r#"{"a":-Infinity}"#, Syntax),
        (r#"{"a":+1}"#, Syntax),
        (r#"{"a":01}"#, Syntax),
        (r#"{"a":1.}"#, Syntax),
        (r#"{"a":0x10}"#, Syntax),
        (r#"{"a":tru}"#, Syntax),
        (r#"{"a":/**/1}"#, Syntax),
        ("{\"a\":\"\n\"}", Syntax),
        (r#"{"a":"\x"}"#, Syntax),
        ("{}\0", Syntax),
        ("{}{}", Syntax),
        ("{}\n{}", Syntax),
        ("{}x", Syntax),
        ("{}}", Syntax),
        ("{},", Syntax),
        ("{}\u{a0}", Syntax),
        ("{}\u{feff}", Syntax),
    ] {
        assert_eq!(structure(text), Some(expected), "{text:?}");
        assert_eq!(read(text), Err(expected), "{text:?}");
    }
}

// covers: MS-05
#[test]
fn arrays_are_no_messages() {
    for (text, expected) in [
        (r#"["join","a"]"#, NotAnObject),
        (r#"["auth","t"]"#, NotAnObject),
        (r#"[{"type":"leave"}]"#, NotAnObject),
        (r#"{"type":"mute","0":["5"]}"#, Schema),
        (r#"{"type":"join","data":["a"]}"#, Schema),
        (r#"{"type":{"join":null},"room":"a"}"#, Schema),
        (r#"{"type":["join"],"room":"a"}"#, Schema),
        (r#"{"type":0,"room":"a"}"#, Schema),
        (r#"{"join":{"room":"a"}}"#, Schema),
    ] {
        assert_eq!(read(text), Err(expected), "{text}");
    }
}

/// Not wanted, but the derive's business; here so that the module's documentation stays true.
#[test]
fn arrays_and_maps_in_derived_fields_are_left_to_the_type() {
    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Color {
        Red,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
    enum Nested {
        Mute { data: Mute },
        Paint { color: Color },
        Leave,
    }

    let limits = JsonLimits::default();
    for (text, expected) in [
        (r#"{"type":"mute","data":[5]}"#, Nested::Mute { data: Mute { minutes: 5 } }),
        (r#"{"type":"paint","color":{"red":null}}"#, Nested::Paint { color: Color::Red }),
        (r#"{"type":"leave","admin":true}"#, Nested::Leave),
    ] {
        assert_eq!(kind(from_str(text, &limits)), Ok(expected), "{text}");
    }
}

// covers: MS-13
#[test]
fn what_the_schema_does_not_say_is_refused() {
    let long = "x".repeat(5_000);
    for (text, expected) in [
        ("{}", Schema),
        (r#"{"type":"x"}"#, Schema),
        (r#"{"type":null}"#, Schema),
        (r#"{"type":1}"#, Schema),
        (r#"{"type":"LEAVE"}"#, Schema),
        (r#"{"type":"leave "}"#, Schema),
        (&format!(r#"{{"type":"{long}"}}"#), Schema),
        (r#"{"type":"join"}"#, Schema),
        (r#"{"type":"join","room":1}"#, Schema),
        (r#"{"type":"join","room":null}"#, Schema),
        (r#"{"type":"move","seq":"1","x":0}"#, Schema),
        (r#"{"type":"move","seq":-1,"x":0}"#, Schema),
        (r#"{"type":"move","seq":1.0,"x":0}"#, Schema),
        (r#"{"type":"move","seq":1e3,"x":0}"#, Schema),
        (r#"{"type":"move","seq":1e-400,"x":0}"#, Schema),
        (r#"{"type":"move","seq":18446744073709551616,"x":0}"#, Schema),
        (r#"{"type":"move","seq":1,"x":1e400}"#, Syntax),
        (r#"{"type":"move","seq":1,"x":-1e400}"#, Syntax),
        (r#"{"type":"leave","ignored":1e400}"#, Syntax),
        (r#"{"type":"mute","minutes":256}"#, Schema),
    ] {
        assert_eq!(read(text), Err(expected), "{text}");
    }
    let digits = format!(r#"{{"type":"move","seq":{},"x":0}}"#, "1".repeat(1_000_000));
    assert_eq!(read(&digits), Err(Syntax));
    let ids = r#"{"type":"move","seq":9007199254740993,"x":0}"#;
    assert_eq!(read(ids), Ok(Request::Move { seq: 9_007_199_254_740_993, x: 0.0 }));
}

// covers: MS-14
#[test]
fn fields_the_schema_does_not_have_are_refused() {
    for text in [
        r#"{"type":"join","room":"a","admin":true}"#,
        r#"{"type":"leave","admin":true}"#,
        r#"{"type":"mute","minutes":5,"admin":true}"#,
        r#"{"type":"join","data":{"room":"a","admin":true}}"#,
        r#"{"admin":true,"type":"leave"}"#,
    ] {
        assert_eq!(read(text), Err(Schema), "{text}");
    }
}

#[test]
fn control_characters_are_text_once_they_are_escaped() {
    for (escaped, text) in [
        (r"a\u0000b", "a\0b"),
        (r"\u001b[31m", "\u{1b}[31m"),
        (r"\u202e", "\u{202e}"),
        (r"\u2028", "\u{2028}"),
    ] {
        let room = text.to_owned();
        let message = format!(r#"{{"type":"join","room":"{escaped}"}}"#);
        assert_eq!(read(&message), Ok(Request::Join { room }), "{escaped}");
    }
    assert_eq!(read("{\"type\":\"join\",\"room\":\"\u{1b}\"}"), Err(Syntax));
}

#[test]
fn raw_values_and_integer_keys_are_read_as_by_serde_json() {
    #[derive(Debug, Deserialize, Eq, Hash, PartialEq)]
    struct Id(u32);

    #[derive(Debug, Deserialize)]
    struct Mixed {
        raw: Box<RawValue>,
        by_id: HashMap<u32, Option<i128>>,
        by_newtype: HashMap<Option<Id>, Id>,
        unit: (),
        pair: (char, bool),
    }

    let text = r#"{"raw":{"a": [1]},"by_id":{"7":-1,"8":null},"by_newtype":{"9":10},"unit":null,"pair":["x",true]}"#;
    let read: Mixed = from_str(text, &JsonLimits::default()).unwrap();
    assert_eq!(read.raw.get(), r#"{"a": [1]}"#);
    assert_eq!((read.by_id[&7], read.by_id[&8]), (Some(-1), None));
    assert_eq!(read.by_newtype[&Some(Id(9))], Id(10));
    assert_eq!((read.unit, read.pair), ((), ('x', true)));
    let data = r#"{"type":"x","data":{"a": 1}}"#;
    let envelope: Envelope = from_str(data, &JsonLimits::default()).unwrap();
    assert_eq!(envelope.data.unwrap().get(), r#"{"a": 1}"#);
}

#[test]
fn every_shape_of_enum_is_read_as_by_serde_json() {
    #[derive(Debug, Deserialize, PartialEq)]
    enum Shape {
        Unit,
        New(u8),
        Tuple(u8, u8),
        Struct { a: u8 },
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(untagged)]
    enum Either {
        Number { n: f32 },
        Text { n: String },
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct All {
        shapes: Vec<Shape>,
        either: Vec<Either>,
        #[serde(flatten)]
        rest: BTreeMap<String, u8>,
    }

    for text in [
        r#"{"shapes":["Unit",{"New":1},{"Tuple":[1,2]},{"Struct":{"a":1}}],"either":[],"z":1}"#,
        r#"{"shapes":[],"either":[{"n":0.1},{"n":"x"}]}"#,
    ] {
        let read: All = from_str(text, &JsonLimits::default()).unwrap();
        assert_eq!(read, serde_json::from_str(text).unwrap(), "{text}");
    }
    let wrong = r#"{"shapes":[{"Unit":1}],"either":[]}"#;
    assert_eq!(kind(from_str::<All>(wrong, &JsonLimits::default())), Err(Schema));
}

// covers: MS-18
// holds: I6
#[test]
fn an_error_repeats_nothing_that_was_sent() {
    #[derive(Debug)]
    struct Indiscreet;

    impl<'de> Deserialize<'de> for Indiscreet {
        fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let value = Value::deserialize(deserializer)?;
            Err(de::Error::custom(format!("{value} at line 7 column 7")))
        }
    }

    let secret = "SECRET\u{1b}[31m\u{202e}";
    let long = "SECRET".repeat(1_000);
    let texts = [
        format!(r#"{{"type":"{secret}"}}"#).replace('\u{1b}', "\\u001b"),
        format!(r#"{{"{secret}":1}}"#).replace('\u{1b}', "\\u001b"),
        format!(r#"{{"type":"join","{long}":1}}"#),
        format!(r#"{{"type":"{long}"}}"#),
        format!(r#"{{"type":"move","seq":"{long}","x":0}}"#),
        format!(r#"{{"type":"move","seq":1,"x":"{secret}"}}"#),
        format!(r#"{{"{long}":1,"{long}":1}}"#),
        r#"{"type":SECRET}"#.to_owned(),
        long.clone(),
    ];
    for text in &texts {
        for error in [
            from_str::<Request>(text, &JsonLimits::default()).unwrap_err(),
            from_str::<Indiscreet>(text, &JsonLimits::default()).unwrap_err(),
        ] {
            for shown in [error.to_string(), format!("{error:?}"), format!("{error:#?}")] {
                assert!(!shown.contains("SECRET"), "{shown}");
                assert!(shown.is_ascii() && shown.len() < 120, "{shown}");
            }
            assert!(std::error::Error::source(&error).is_none());
            if error.kind() == Schema {
                assert_eq!(error.column(), 0);
            }
        }
    }
}
