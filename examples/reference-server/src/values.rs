//! Read values as people, shells and compose files write them, and say in words what is wrong.

use std::{
    num::{IntErrorKind, NonZeroU32, ParseIntError},
    str::FromStr,
    time::Duration,
};

/// A number of a type that has no zero.
///
/// # Errors
///
/// What is wrong with `text`. Zero is refused, because some servers mean "none" by it and others "no
/// limit"; here it would be an endpoint that lets no peer in, or one that nothing bounds.
pub(crate) fn number<T: FromStr<Err = ParseIntError>>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|error: ParseIntError| {
        let words = match error.kind() {
            IntErrorKind::Zero => "must be at least 1: 0 does not switch it off",
            IntErrorKind::PosOverflow => "is too large",
            _ => "is not a whole number",
        };
        words.to_owned()
    })
}

/// A time in milliseconds. Not above 49 days, which are as good as for ever, and which can be added to
/// any instant.
pub(crate) fn millis(text: &str) -> Result<Duration, String> {
    number::<NonZeroU32>(text).map(|it| Duration::from_millis(it.get().into()))
}

/// What stands in a list that may have been written with spaces, and with a comma too many.
pub(crate) fn entries(list: &[String]) -> impl Iterator<Item = &str> {
    list.iter().map(|it| it.trim()).filter(|it| !it.is_empty())
}

/// A secret that an operator could have meant. It is in none of the errors.
///
/// # Errors
///
/// Why it cannot be meant: a compose file makes an empty one of a variable that was not set, and a file
/// with Windows line ends one with a carriage return, which no form and no client can send.
pub(crate) fn secret(text: &str) -> Result<&str, &'static str> {
    if text.is_empty() {
        Err("is empty, so that everybody would know it")
    } else if text.trim() != text {
        Err("begins or ends with white space, which nobody would type")
    } else if text.chars().any(char::is_control) {
        Err("has a control character in it, which nobody could type")
    } else if text.len() > MAX_SECRET {
        Err("is longer than 1024 bytes, which is more than a first message has room for")
    } else {
        Ok(text)
    }
}

/// With a name and all of it escaped still within the 4 KiB of a first message.
const MAX_SECRET: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_with_spaces_around_it_and_never_is_zero() {
        let read = number::<NonZeroU32>;
        assert_eq!(read(" 7\r").map(NonZeroU32::get), Ok(7));
        for (text, words) in [
            ("0", "must be at least 1: 0 does not switch it off"),
            ("", "is not a whole number"),
            ("-1", "is not a whole number"),
            ("1_000", "is not a whole number"),
            ("1e3", "is not a whole number"),
            ("4294967296", "is too large"),
        ] {
            assert_eq!(read(text), Err(words.to_owned()), "{text:?}");
        }
        assert_eq!(millis("1500"), Ok(Duration::from_millis(1500)));
        assert!(millis("0").is_err());
    }

    // covers: P2-24
    #[test]
    fn a_list_is_read_however_it_is_padded() {
        let list = |text: &str| -> Vec<String> { text.split(',').map(str::to_owned).collect() };
        for text in ["a,b", "a, b", " a ,b,", ",a,,b"] {
            assert_eq!(entries(&list(text)).collect::<Vec<_>>(), ["a", "b"], "{text:?}");
        }
        for text in ["", " ", ",", " , ,"] {
            assert_eq!(entries(&list(text)).count(), 0, "{text:?}");
        }
    }

    // covers: P2-24
    #[test]
    fn a_secret_that_nobody_can_have_meant_is_none() {
        for text in ["a", "alpha:beta", "two words", "grüße", &"x".repeat(MAX_SECRET)] {
            assert_eq!(secret(text), Ok(text));
        }
        let long = "x".repeat(MAX_SECRET + 1);
        for text in ["", " ", "\t", " a", "a\r", "a\n", "a\0b", "\u{a0}", &long] {
            assert!(secret(text).is_err(), "{text:?}");
        }
    }
}
