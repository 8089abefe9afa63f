use crate::room::{RoomKey, RoomName};

use super::{key, room};

// covers: RM-04
#[test]
fn a_pattern_a_path_or_a_look_alike_is_not_a_room_name() {
    let long = "x".repeat(65);
    let refused = [
        ("empty", ""),
        ("glob", "*"),
        ("NATS tail", ">"),
        ("NATS token", "room.*"),
        ("dot", "a.b"),
        ("path", "../x"),
        ("Redis glob", "r?"),
        ("Redis class", "[a-z]"),
        ("template", "{x}"),
        ("protocol line", "room\r\nPUB x"),
        ("space", "a b"),
        ("end of line", "room\n"),
        ("NUL", "a\0b"),
        ("escape", "\u{1b}[31m"),
        ("too long", &long),
        ("composed", "caf\u{e9}"),
        ("decomposed", "cafe\u{301}"),
        ("zero-width joiner", "a\u{200d}b"),
        ("right-to-left override", "a\u{202e}b"),
        ("line separator", "a\u{2028}b"),
        ("Cyrillic a", "\u{430}"),
        ("full-width A", "\u{ff21}"),
        ("slash", "tenant/room"),
    ];
    for (what, name) in refused {
        let refused = name.parse::<RoomName>().unwrap_err();
        assert_eq!(RoomName::try_from(name.to_owned()), Err(refused), "{what}");
        let expected = match what {
            "empty" => "empty",
            "too long" => "longer than 64 characters",
            _ => "a character outside of A-Z a-z 0-9 : _ -",
        };
        assert_eq!(refused.constraint(), expected, "{what}");
        let json = serde_json::to_string(name).unwrap();
        let error = serde_json::from_str::<RoomName>(&json).unwrap_err().to_string();
        assert!(error.starts_with("not a room name"), "{what}: {error}");
    }
}

// covers: RM-04
#[test]
fn names_are_compared_byte_by_byte() {
    let long = "x".repeat(64);
    for name in ["a", "Z", "0", ":", "_", "-", "lobby:2_b-C", &long] {
        assert_eq!(room(name).as_str(), name);
        let json = serde_json::to_string(&room(name)).unwrap();
        assert_eq!(serde_json::from_str::<RoomName>(&json).unwrap(), room(name));
    }
    assert_ne!(room("Lobby"), room("lobby"));
}

#[test]
fn what_is_not_a_string_is_refused_in_constant_words() {
    for json in ["1", "null", "[\"SECRET\"]", "{\"SECRET\":1}", "true", "1e3"] {
        let error = serde_json::from_str::<RoomName>(json).unwrap_err().to_string();
        assert!(error.starts_with("not a room name"), "{error}");
    }
}

// covers: RM-06
#[test]
fn no_tenant_and_name_are_another_tenant_and_name() {
    assert_ne!(key("a", "b"), key("", "b"));
    // An empty tenant is one, and its room no other's.
    let empty = RoomKey::in_tenant("", room("b"));
    assert_ne!(empty, RoomKey::new(room("b")));
    assert_eq!((empty.tenant(), empty.to_string()), (Some(""), "/b".to_owned()));
    assert_ne!(key("a:b", "c"), key("a", "b:c"));
    assert_eq!(key("", "lobby").to_string(), "lobby");
    assert_eq!(key("acme", "lobby").to_string(), "acme/lobby");
    assert_eq!(key("a/b", "c").to_string().rsplit_once('/'), Some(("a/b", "c")));
    assert_eq!(RoomKey::in_tenant("a\nb", room("c")).to_string(), "a\\nb/c");
}
