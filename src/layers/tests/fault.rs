//! What a refusal says: the fault and the field, in words that are not the peer's.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Deserializer, de};

use crate::{
    close::Close,
    layers::{
        Constraint, Decode, DecodeError, DecodeErrorKind,
        Fault::{
            self, DuplicateKey, InvalidValue, Missing, NotAnObject, Surrogate, Syntax, TooDeep,
            TooManyKeys, UnknownField, UnknownVariant, WrongType,
        },
        Json,
    },
    message::Message,
};

/// A whole number from 1 to 6.
#[derive(Debug)]
struct Pips;

impl<'de> Deserialize<'de> for Pips {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            1..=6 => Ok(Self),
            _ => Err(de::Error::custom(Constraint::new("not from 1 to 6"))),
        }
    }
}

/// Refuses everything, and quotes it.
#[derive(Debug)]
struct Indiscreet;

impl<'de> Deserialize<'de> for Indiscreet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Err(de::Error::custom(String::deserialize(deserializer)?))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only decoded")]
struct Order {
    user_name: String,
    #[serde(default)]
    items: Vec<Item>,
    #[serde(default)]
    seats: HashMap<String, Item>,
    #[serde(default)]
    pair: Option<(u8, bool)>,
    #[serde(default)]
    shape: Option<Shape>,
    #[serde(default)]
    dice: Vec<Pips>,
    #[serde(default)]
    by_id: BTreeMap<u32, u8>,
    #[serde(default)]
    indiscreet: Option<Indiscreet>,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only decoded")]
struct Item {
    count: u8,
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only decoded")]
enum Shape {
    Dot,
    Circle { radius: u32 },
    Line(u8, u8),
    Item(Item),
}

fn refuse<T: de::DeserializeOwned>(text: &str) -> DecodeError {
    let decoded: Result<T, _> = Json::default().decode(&Message::text(text));
    decoded.err().unwrap_or_else(|| panic!("{text} was read"))
}

// covers: LG-15
#[test]
fn a_refusal_names_the_field_and_what_is_wrong_with_it() {
    for (text, field, fault) in [
        ("{}", Some("userName"), Missing),
        (r#"{"userName":1}"#, Some("userName"), WrongType),
        (r#"{"userName":null}"#, Some("userName"), WrongType),
        (r#"{"userN\u0061me":[]}"#, Some("userName"), WrongType),
        (r#"{"userName":"a","admin":true}"#, None, UnknownField),
        (r#"{"items":{}}"#, Some("items"), WrongType),
        (r#"{"items":[1]}"#, Some("items[0]"), WrongType),
        (r#"{"items":[{"count":1},{"count":256}]}"#, Some("items[1].count"), InvalidValue),
        (r#"{"items":[{"count":1},{"count":-1}]}"#, Some("items[1].count"), InvalidValue),
        (r#"{"items":[{"count":1.5}]}"#, Some("items[0].count"), WrongType),
        (r#"{"items":[{"count":1},{}]}"#, Some("items[1].count"), Missing),
        (r#"{"items":[{"count":1,"name":2}]}"#, Some("items[0].name"), WrongType),
        (r#"{"seats":{"theirs":{"count":"1"}}}"#, Some("seats.*.count"), WrongType),
        (r#"{"seats":{"theirs":{}}}"#, Some("seats.*.count"), Missing),
        (r#"{"byId":{"theirs":1}}"#, Some("byId"), WrongType),
        (r#"{"byId":{"7":true}}"#, Some("byId.*"), WrongType),
        (r#"{"pair":[1]}"#, Some("pair"), InvalidValue),
        (r#"{"pair":[1,2]}"#, Some("pair[1]"), WrongType),
        (r#"{"shape":"square"}"#, Some("shape"), UnknownVariant),
        (r#"{"shape":{"circle":{"radius":"1"}}}"#, Some("shape.circle.radius"), WrongType),
        (r#"{"shape":{"circle":{}}}"#, Some("shape.circle.radius"), Missing),
        (r#"{"shape":{"line":[1,false]}}"#, Some("shape.line[1]"), WrongType),
        (r#"{"shape":{"item":{"count":true}}}"#, Some("shape.item.count"), WrongType),
        (r#"{"dice":[3,7]}"#, Some("dice[1]"), InvalidValue),
        (r#"{"indiscreet":"SECRET"}"#, Some("indiscreet"), InvalidValue),
    ] {
        let error = refuse::<Order>(text);
        assert_eq!((error.field(), error.fault()), (field, fault), "{text}");
        assert_eq!(error.rule(), "message.schema", "{text}");
        let constraint = text.contains("dice").then_some("not from 1 to 6");
        assert_eq!(error.constraint(), constraint, "{text}");
        for theirs in ["admin", "theirs", "square", "SECRET"] {
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains(theirs), "{shown}");
        }
    }
    assert_eq!(refuse::<Order>(r#"{"dice":[0]}"#).to_string(), "dice[0]: not from 1 to 6");
    assert_eq!(refuse::<Order>("{}").to_string(), "userName: missing");
    assert_eq!(refuse::<Order>(r#"{"x":1}"#).to_string(), "the message: an unknown field");
}

// covers: LG-15
#[test]
fn a_refusal_of_the_structure_names_what_is_wrong_with_it() {
    let keys: Vec<_> = (0..65).map(|n| format!(r#""{n}":0"#)).collect();
    for (text, fault) in [
        ("[]", NotAnObject),
        ("{", Syntax),
        (r#"{"a":"\ud83d\ude0"}"#, Syntax),
        (r#"{"a":1,"a":2}"#, DuplicateKey),
        (&format!("{{{}}}", keys.join(",")), TooManyKeys),
        (&format!(r#"{{"a":{}{}}}"#, "[".repeat(16), "]".repeat(16)), TooDeep),
    ] {
        let error = refuse::<Order>(text);
        assert_eq!((error.field(), error.fault()), (None, fault), "{text}");
    }
    let binary: Result<Order, _> = Json::default().decode(&Message::binary("{}"));
    assert_eq!(binary.unwrap_err().fault(), Fault::Binary);
}

#[test]
fn a_codec_says_which_of_text_and_binary_it_does_not_speak() {
    for (kind, fault, says) in [
        (DecodeErrorKind::Binary, Fault::Binary, "text only"),
        (DecodeErrorKind::Text, Fault::Text, "binary only"),
        (DecodeErrorKind::Invalid, Fault::Schema, "invalid message"),
    ] {
        let error = DecodeError::new(kind, "message.test");
        assert_eq!((error.kind(), error.fault()), (kind, fault));
        assert_eq!(Close::from(error).reason().text(), says);
    }
}

// covers: LG-15
#[test]
fn half_an_emoji_is_found_where_it_is() {
    for (text, field) in [
        (r#"{"userName":"\ud83d"}"#, Some("userName")),
        (r#"{"userName":"\ude00 x"}"#, Some("userName")),
        (r#"{"userName":"\ud83d\u0041"}"#, Some("userName")),
        (r#"{"userName":"\ud83dx"}"#, Some("userName")),
        (r#"{"userName":"a","items":[{"count":1,"name":"\ud83d"}]}"#, Some("items[0].name")),
        // In a key, which is no field; and behind something that is refused first.
        (r#"{"\ud83d":1}"#, None),
        (r#"{"userName":1,"items":[{"name":"\ud83d"}]}"#, None),
    ] {
        let error = refuse::<Order>(text);
        assert_eq!((error.field(), error.fault()), (field, Surrogate), "{text}");
        assert_eq!(error.rule(), "message.json");
    }
}

/// Serde reads these into a buffer of its own first: what is wrong is known, and where it is only if
/// serde says so.
#[test]
fn a_type_that_is_buffered_names_what_serde_names() {
    #[derive(Debug, Deserialize)]
    #[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
    #[expect(dead_code, reason = "only decoded")]
    enum Tagged {
        Say { text: String, dice: Option<Vec<Pips>> },
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only decoded")]
    struct Flat {
        #[serde(flatten)]
        item: Item,
    }

    for (text, field, fault) in [
        ("{}", Some("type"), Missing),
        (r#"{"type":"SECRET"}"#, None, UnknownVariant),
        (r#"{"type":"say"}"#, Some("text"), Missing),
        (r#"{"type":"say","text":1}"#, None, WrongType),
        (r#"{"type":"say","text":"x","SECRET":1}"#, None, UnknownField),
        (r#"{"type":"say","text":"x","dice":[9]}"#, None, InvalidValue),
    ] {
        let error = refuse::<Tagged>(text);
        assert_eq!((error.field(), error.fault()), (field, fault), "{text}");
    }
    let error = refuse::<Tagged>(r#"{"type":"say","text":"x","dice":[9]}"#);
    assert_eq!(error.constraint(), Some("not from 1 to 6"));
    let error = refuse::<Flat>(r#"{"name":"x"}"#);
    assert_eq!((error.field(), error.fault()), (Some("count"), Missing));
}

#[test]
fn a_path_is_short_however_deep_and_long_it_is() {
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only decoded")]
    struct Nest {
        a: Option<Box<Nest>>,
        list: Option<Vec<Nest>>,
        a_name_that_is_as_long_as_a_sentence_would_be_if_somebody_wrote_one: Option<Box<Nest>>,
        number: Option<u8>,
    }

    let inside = |levels: usize, key: &str| {
        format!(
            r#"{}{{"number":true}}{}"#,
            format!(r#"{{"{key}":"#).repeat(levels),
            "}".repeat(levels)
        )
    };
    let field = |text: &str| refuse::<Nest>(text).field().map(str::to_owned);
    assert_eq!(field(&inside(7, "a")).as_deref(), Some("a.a.a.a.a.a.a.number"));
    // The innermost steps are the ones that tell most.
    assert_eq!(field(&inside(8, "a")).as_deref(), Some("..a.a.a.a.a.a.a.number"));
    assert_eq!(field(&inside(14, "a")).as_deref(), Some("..a.a.a.a.a.a.a.number"));
    let long = "a_name_that_is_as_long_as_a_sentence_would_be_if_somebody_wrote_one";
    assert_eq!(field(&inside(2, long)), Some(format!("{long}..")));
    for levels in 0..14 {
        for key in ["a", long] {
            assert!(field(&inside(levels, key)).unwrap().len() <= 128);
        }
    }
    let item = format!(r#"{{"list":[{}{{"number":[]}}]}}"#, r#"{"a":null},"#.repeat(100));
    assert_eq!(field(&item).as_deref(), Some("list[100].number"));
}

#[test]
fn the_words_of_a_constraint_are_found_within_an_error_and_not_far_into_a_text() {
    #[derive(Debug)]
    struct Within<const BEFORE: usize>;

    impl<'de, const BEFORE: usize> Deserialize<'de> for Within<BEFORE> {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            let constraint = Constraint::new("too small");
            Err(de::Error::custom(format_args!("{:BEFORE$}{constraint}", "")))
        }
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only decoded")]
    struct Message<const BEFORE: usize> {
        it: Within<BEFORE>,
    }

    assert_eq!(refuse::<Message<256>>(r#"{"it":1}"#).constraint(), Some("too small"));
    let far = refuse::<Message<257>>(r#"{"it":1}"#);
    assert_eq!((far.constraint(), far.fault()), (None, InvalidValue));
    // What was said of one message is not said of the next.
    assert_eq!(refuse::<Order>(r#"{"indiscreet":"x"}"#).constraint(), None);
}
