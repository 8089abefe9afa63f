//! What holds for any text.

use std::collections::HashSet;

use proptest::{collection::vec, prelude::*};
use serde_json::Value;

use super::json::{limit, read, read_value};
use crate::layers::json::{
    JsonErrorKind::{DuplicateKey, TooDeep, TooManyKeys},
    JsonLimits, from_str,
};

/// An object as a text has it: keys in order, also twice.
#[derive(Clone, Debug)]
enum Node {
    Scalar(&'static str),
    Array(Vec<Node>),
    Object(Vec<(String, bool, Node)>),
}

impl Node {
    fn write(&self, text: &mut String) {
        match self {
            Self::Scalar(scalar) => text.push_str(scalar),
            Self::Array(items) => {
                text.push('[');
                for (n, item) in items.iter().enumerate() {
                    text.push_str(if n == 0 { "" } else { ", " });
                    item.write(text);
                }
                text.push(']');
            }
            Self::Object(entries) => {
                text.push('{');
                for (n, (key, escaped, value)) in entries.iter().enumerate() {
                    text.push_str(if n == 0 { "\"" } else { ",\n\"" });
                    for c in key.chars() {
                        match escaped {
                            true => text.push_str(&format!("\\u{:04x}", u32::from(c))),
                            false => text.push(c),
                        }
                    }
                    text.push_str("\":");
                    value.write(text);
                }
                text.push('}');
            }
        }
    }

    /// Levels, most keys of one object, and whether a key occurs twice in one.
    fn measure(&self) -> (usize, usize, bool) {
        let (children, keys): (Vec<&Node>, Vec<&String>) = match self {
            Self::Scalar(_) => return (0, 0, false),
            Self::Array(items) => (items.iter().collect(), Vec::new()),
            Self::Object(entries) => entries.iter().map(|(key, _, node)| (node, key)).unzip(),
        };
        let twice = keys.iter().collect::<HashSet<_>>().len() < keys.len();
        children.into_iter().map(Self::measure).fold((1, keys.len(), twice), |sum, child| {
            (sum.0.max(child.0 + 1), sum.1.max(child.1), sum.2 | child.2)
        })
    }
}

fn objects() -> impl Strategy<Value = Node> {
    let scalar = prop::sample::select(vec![
        "0",
        "-1",
        "1.5e3",
        "18446744073709551615",
        "true",
        "null",
        r#""""#,
        r#""a\nb""#,
        r#""😀""#,
    ]);
    let key = || prop_oneof![3 => "[a-d]{0,2}", 1 => "[a-zé]{1,12}"];
    let node = scalar.prop_map(Node::Scalar).prop_recursive(5, 60, 14, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Node::Array),
            vec((key(), any::<bool>(), inner), 0..14).prop_map(Node::Object),
        ]
    });
    vec((key(), any::<bool>(), node), 0..14).prop_map(Node::Object)
}

proptest! {
    #[test]
    fn an_object_passes_exactly_if_it_is_within_limits(object in objects()) {
        let mut text = String::new();
        object.write(&mut text);
        let (depth, most_keys, twice) = object.measure();
        let limits = JsonLimits::default()
            .max_depth(limit(4)).max_keys(limit(10)).max_values(limit(10_000));
        match from_str::<Value>(&text, &limits) {
            Ok(value) => {
                prop_assert!(depth <= 4 && most_keys <= 10 && !twice, "{}", text);
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            }
            Err(error) => {
                let deserved = match error.kind() {
                    TooDeep => depth > 4,
                    TooManyKeys => most_keys > 10,
                    DuplicateKey => twice,
                    _ => false,
                };
                prop_assert!(deserved, "{:?}: {}", error, text);
            }
        }
    }

    #[test]
    fn whatever_is_accepted_is_what_serde_json_reads(
        text in r#"\{[ \n\[\]{}",:\\u0-9a-fA-F.eE+tnrls-]{0,60}\}"#,
    ) {
        if let Ok(value) = read_value(&text) {
            prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
        }
    }

    #[test]
    fn a_damaged_object_is_read_as_by_serde_json_or_refused(
        object in objects(),
        at in any::<prop::sample::Index>(),
        with in prop::sample::select(vec![
            "", "\"", "\\", "{", "}", "[", "]", ",", ":", "e9", "\\ud800", " ", "\u{0}",
        ]),
    ) {
        let mut text = String::new();
        object.write(&mut text);
        let at = text.char_indices().map(|(at, _)| at).nth(at.index(text.chars().count())).unwrap();
        let end = at + text[at..].chars().next().unwrap().len_utf8();
        text.replace_range(at..end, with);
        if let Ok(value) = read_value(&text) {
            prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), braced in any::<bool>()) {
        let text = if braced { format!("{{{text}}}") } else { text };
        let _ = read_value(&text);
        let _ = read(&text);
    }
}
