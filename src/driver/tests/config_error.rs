//! Which bounds can work together.

use std::num::NonZeroUsize;

use super::{super::config::ENVELOPE, *};
use crate::layers::Decode as _;

type Change = fn(ConnectionConfig) -> ConnectionConfig;

const fn bytes(bytes: usize) -> NonZeroUsize {
    NonZeroUsize::new(bytes).unwrap()
}

#[test]
fn what_cannot_work_is_refused_with_the_settings_name_and_what_would() {
    let half_a_milli = Duration::from_micros(500);
    let table: [(&str, Change, Option<&str>); 17] = [
        ("the defaults", |it| it, None),
        ("no time to log in", |it| it.auth_timeout(Duration::ZERO), Some("auth_timeout is 0ns")),
        ("no time to pong", |it| it.pong_timeout(Duration::ZERO), Some("pong_timeout is 0ns")),
        ("no time to idle", |it| it.idle_timeout(Duration::ZERO), Some("idle_timeout is 0ns")),
        ("never idle", |it| it.idle_timeout(Duration::MAX), None),
        ("less than a timer tells", |it| it.close_timeout(Duration::from_micros(500)), {
            assert_eq!(format!("{half_a_milli:?}"), "500µs");
            Some("close_timeout is 500µs")
        }),
        (
            "more pongs than a peer may send",
            |it| it.ping_interval(Duration::from_millis(19)),
            Some("ping_interval is 19ms, and a peer may send 50"),
        ),
        ("as many", |it| it.ping_interval(Duration::from_millis(20)), None),
        (
            "more, and it may send more",
            |it| {
                let frames = Quota::per_second(1000);
                it.ping_interval(Duration::from_millis(1)).control_frames(frames)
            },
            None,
        ),
        (
            "no pong at all",
            |it| it.control_frames(Quota::per_second(50).burst(0)),
            Some("ping_interval is 30s, and a peer may send 50 each second, 0 at once"),
        ),
        ("a pong a minute", |it| it.control_frames(Quota::per_minute(1)), {
            Some("ping_interval is 30s, and a peer may send 1 each minute")
        }),
        ("a larger message, and nothing else", |it| it.max_message_size(bytes(16 << 20)), None),
        ("messages as large as they come", |it| it.max_message_size(NonZeroUsize::MAX), None),
        (
            "an answer smaller than a question",
            |it| it.max_outbound_message_size(bytes(65_535)),
            Some("max_outbound_message_size is 65535, and a peer may send messages of 65536"),
        ),
        (
            "less than two messages",
            |it| it.max_outbound_bytes(bytes(2 * (80 * 1024 + 64) - 1)),
            Some("max_outbound_bytes is 163967: it must be 163968"),
        ),
        ("two messages", |it| it.max_outbound_bytes(bytes(2 * (80 * 1024 + 64))), None),
        (
            "one message",
            |it| it.max_outbound_messages(bytes(1)),
            Some("max_outbound_messages is 1: it must be 2"),
        ),
    ];
    for (name, change, refused) in table {
        let checked = change(ConnectionConfig::new()).checked();
        match (checked, refused) {
            (Ok(_), None) => {}
            (Err(error), Some(text)) => {
                let said = error.to_string();
                assert!(said.starts_with(text), "{name}: {said}");
                assert!(said.starts_with(error.setting()), "{name}: {said}");
            }
            (checked, _) => panic!("{name}: {checked:?}"),
        }
    }
}

#[test]
fn what_is_not_set_follows_from_the_largest_message() {
    let config = ConnectionConfig::new();
    assert_eq!((config.outbound_message_size(), config.outbound_bytes()), (80 << 10, 1 << 20));
    let config = config.max_message_size(bytes(16 << 20));
    let largest = (16 << 20) + (16 << 10);
    assert_eq!(
        (config.outbound_message_size(), config.outbound_bytes()),
        (largest, 4 * (largest + 64))
    );
}

#[test]
fn what_json_makes_longer_when_it_is_written_again_fits_the_envelope() {
    for number in ["1e15", "1e-5", "0.1", "1e300", "-1e15"] {
        let list = format!("[{}]", vec![number; 1022].join(","));
        let value: Vec<f64> = crate::layers::Json::default()
            .decode(&crate::Message::text(&*format!(r#"{{"a":{list}}}"#)))
            .map(|it: std::collections::BTreeMap<String, Vec<f64>>| it["a"].clone())
            .expect("as many values as are let through");
        let again = serde_json::to_string(&value).unwrap();
        assert!(
            again.len() <= list.len() + ENVELOPE,
            "{number}: {} of {}",
            again.len(),
            list.len()
        );
    }
}
