//! The last value of a key replaces those before it that still wait.

use crate::{
    message::Message,
    outbound::{ENTRY_OVERHEAD, OutboundLimits, Outlet, SendError, drained::drain},
};

use super::KEYS;

fn outlet(bytes: usize, messages: usize) -> Outlet {
    Outlet::new(OutboundLimits { message_size: 100, ..OutboundLimits::of(bytes, messages) }, None)
}

fn put(outlet: &Outlet, key: &str, value: &str) -> Result<(), SendError> {
    outlet.push_latest(key, Message::text(value))
}

fn taken(outlet: &Outlet) -> Vec<String> {
    let messages = drain(outlet, usize::MAX).messages;
    messages.iter().map(|it| it.as_text().unwrap().to_owned()).collect()
}

// covers: DL-01
#[test]
fn of_a_key_the_last_value_goes_out_in_the_place_of_the_first_and_costs_no_more() {
    let outlet = outlet(1_000, 4);
    outlet.push(Message::text("before")).unwrap();
    for n in 0..1_000 {
        put(&outlet, "a", &format!("a{n}")).unwrap();
        put(&outlet, "b", &format!("b{n}")).unwrap();
    }
    outlet.push(Message::text("pushed")).unwrap();
    let sizes = "before".len() + "a999".len() + "b999".len() + "pushed".len();
    assert_eq!(outlet.counted(), (sizes + 4 * ENTRY_OVERHEAD, 0, 4));
    assert_eq!(taken(&outlet), ["before", "pushed", "a999", "b999"]);
    assert_eq!(outlet.counted(), (0, 0, 0));
    put(&outlet, "a", "again").unwrap();
    assert_eq!(taken(&outlet), ["again"]);
}

#[test]
fn what_is_too_large_replaces_nothing() {
    let outlet = outlet(1_000, 4);
    put(&outlet, "a", "small").unwrap();
    assert!(matches!(put(&outlet, "a", &"x".repeat(101)), Err(SendError::TooLarge(_))));
    assert_eq!(taken(&outlet), ["small"]);
}

// covers: DL-01
#[test]
fn values_are_within_the_bound_as_anything_else() {
    let outlet = outlet(3 * (ENTRY_OVERHEAD + 10), 100);
    for key in ["a", "b", "c"] {
        put(&outlet, key, "0123456789").unwrap();
        put(&outlet, key, "9876543210").unwrap();
    }
    assert!(matches!(put(&outlet, "d", "0123456789"), Err(SendError::Full(_))));
    assert_eq!(outlet.counted(), (0, 0, 0), "it is given up");
    assert!(matches!(put(&outlet, "a", "late"), Err(SendError::Closed(_))));
    assert!(drain(&outlet, usize::MAX).overflowed);
}

#[test]
fn of_more_keys_than_are_kept_every_value_goes_out() {
    let outlet = outlet(1 << 20, 1_000);
    for n in 0..=KEYS {
        put(&outlet, &n.to_string(), "first").unwrap();
        put(&outlet, &n.to_string(), "second").unwrap();
    }
    let taken = taken(&outlet);
    assert_eq!(taken[..2], ["first", "second"], "of the last key");
    assert_eq!(taken[2..], vec!["second"; KEYS]);
}

#[test]
fn what_waits_when_it_ends_is_given_up_or_goes_out() {
    let ending = outlet(1_000, 10);
    put(&ending, "a", "last words").unwrap();
    ending.seal();
    assert!(matches!(put(&ending, "a", "too late"), Err(SendError::Closed(_))));
    assert_eq!(taken(&ending), ["last words"]);
    let closed = outlet(1_000, 10);
    put(&closed, "a", "lost").unwrap();
    closed.close();
    assert_eq!((taken(&closed), closed.counted()), (vec![], (0, 0, 0)));
}
