//! What is chosen, and what is no list.

use proptest::prelude::*;

use super::*;
use UpgradeRejectionKind::{Subprotocol, SubprotocolMissing};

fn ours() -> Subprotocols {
    Subprotocols::new(["chat.v2", "chat.v1"]).unwrap()
}

fn headers(lines: &[&str]) -> HeaderMap {
    let lines = lines.iter().map(|it| (header::SEC_WEBSOCKET_PROTOCOL, it.parse().unwrap()));
    lines.collect()
}

/// The one that is chosen, and the token.
fn choose(
    ours: &Subprotocols,
    lines: &[&str],
) -> Result<(Option<String>, Option<String>), UpgradeRejectionKind> {
    let chosen = ours.choose(&headers(lines), 100)?;
    let token = chosen.token.map(|it| it.as_text().unwrap().to_owned());
    Ok((chosen.protocol.map(|(name, _)| name.to_string()), token))
}

// covers: HS-18
#[test]
fn the_first_that_the_server_prefers_is_chosen_among_what_is_offered() {
    let many = (0..16).map(|it| it.to_string()).collect::<Vec<_>>().join(",");
    let long = "x".repeat(1023);
    for (lines, chosen) in [
        (&["chat.v1, chat.v2"][..], Some("chat.v2")),
        (&["other", "chat.v1"], Some("chat.v1")),
        (&[" ,\tchat.v1 ,,"], Some("chat.v1")),
        (&["Chat.v1"], None),
        (&["chat.v11"], None),
        (&[&many], None),
        (&[&long], None),
        (&[], None),
        (&[""], None),
    ] {
        assert_eq!(choose(&ours(), lines), Ok((chosen.map(str::to_owned), None)), "{lines:?}");
        let required = choose(&ours().require(), lines);
        assert_eq!(required.is_ok(), chosen.is_some(), "{lines:?}");
        assert!(chosen.is_some() || required == Err(SubprotocolMissing));
    }
}

// covers: HS-18
#[test]
fn what_is_no_list_of_a_few_tokens_is_refused() {
    let many = (0..17).map(|it| it.to_string()).collect::<Vec<_>>().join(",");
    let long = "x".repeat(1024);
    let commas = ",".repeat(8192);
    let spaces = format!("a{}b", " ".repeat(8192));
    for lines in [
        &["chat.v1, chat.v1"][..],
        &["chat.v1", "chat.v1"],
        &["chat v1"],
        &["chat/1"],
        &["chat.v1; q=1"],
        &["\"chat.v1\""],
        &[&many],
        &[&long],
        &[&commas],
        &[&spaces],
    ] {
        assert_eq!(choose(&ours(), lines), Err(Subprotocol), "{lines:?}");
    }
    let utf8 = HeaderValue::from_bytes("ünïcode".as_bytes()).unwrap();
    let headers = HeaderMap::from_iter([(header::SEC_WEBSOCKET_PROTOCOL, utf8)]);
    assert_eq!(ours().choose(&headers, 1).map(|_| ()), Err(Subprotocol));
}

// covers: HS-18
#[test]
fn a_token_is_taken_out_and_needs_a_subprotocol_beside_it() {
    let ours = ours().token_prefix("bearer.").unwrap();
    let token = "T".repeat(100);
    let carried = format!("bearer.{token}");
    assert_eq!(
        choose(&ours, &["chat.v1", &carried]),
        Ok((Some("chat.v1".into()), Some(token.clone())))
    );
    for lines in [
        &[&*carried][..],
        &["chat.v1, bearer."],
        &["chat.v1, bearer.a, bearer.b"],
        &["chat.v1", &format!("{carried}T")],
    ] {
        assert_eq!(choose(&ours, lines), Err(Subprotocol), "{lines:?}");
    }
    let mut headers = headers(&[&carried, "other,, chat.v1"]);
    ours.take_token(&mut headers);
    assert_eq!(headers[header::SEC_WEBSOCKET_PROTOCOL], "other, chat.v1");
    let chosen = ours.choose(&self::headers(&["chat.v1", &carried]), 100).unwrap();
    assert!(!format!("{chosen:?}").contains(&token));
    // Where nobody asked for it, it is an offer like any other.
    assert_eq!(choose(&super::tests::ours(), &["chat.v1", "bearer.x"]).unwrap().1, None);
}

#[test]
fn what_no_client_could_offer_is_an_error_at_start() {
    for name in ["", "chat v2", "chat,v2", "grüße", "a/b"] {
        assert_eq!(
            Subprotocols::new([name]).unwrap_err(),
            InvalidSubprotocol::Name(name.to_owned())
        );
    }
    let twice = Subprotocols::new(["a", "b", "a"]).unwrap_err();
    assert_eq!(twice, InvalidSubprotocol::Twice("a".into()));
    let prefix = ours().token_prefix("chat").unwrap_err();
    assert_eq!(prefix, InvalidSubprotocol::TokenPrefix("chat".into()));
    assert!(ours().token_prefix("b ").is_err());
}

proptest! {
    /// Whatever comes, what is chosen was offered, and is one of ours.
    #[test]
    fn nothing_is_chosen_that_was_not_offered(lines in prop::collection::vec("[a-c.12v, \t]{0,20}|chat\\.v[12]", 0..4)) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        if let Ok((Some(chosen), _)) = choose(&ours(), &lines) {
            prop_assert!(["chat.v1", "chat.v2"].contains(&&*chosen));
            let mut offers = lines.iter().flat_map(|it| it.split(',')).map(str::trim);
            prop_assert!(offers.any(|it| it == chosen));
        }
    }
}
