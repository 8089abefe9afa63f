//! Find names of credentials in a query.
//!
//! URLs are logged by every proxy on the way. Names are compared as people vary them: in any case, with
//! `-`, `_`, `.` or spaces between the words or without, as an element of a list or a map (`token[]`,
//! `user[token]`), and by how they end, because that is where the noun is: `X-Auth-Token`, `id_token`.

/// Whether `query` names a credential.
pub(super) fn is_named_in(query: &str) -> bool {
    // `;` separates pairs for some parsers.
    query.split(['&', ';']).any(|pair| {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        is_name_of_credential(&percent_decode(name.as_bytes()))
    })
}

fn is_name_of_credential(name: &[u8]) -> bool {
    let words = |part: &[u8]| -> Vec<u8> {
        part.iter().filter(|it| it.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect()
    };
    let names = |word: Vec<u8>| {
        WHOLE.iter().any(|it| word == it.as_bytes())
            || ENDINGS.iter().any(|it| word.ends_with(it.as_bytes()))
    };
    names(words(name)) || name.split(|it| matches!(it, b'[' | b']')).any(|it| names(words(it)))
}

/// Decodes once, as a server would; what is not an escape stays as it is. `+` is a space, which counts
/// for nothing in a name.
fn percent_decode(mut text: &[u8]) -> Vec<u8> {
    let hex = |it: u8| char::from(it).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let mut decoded = Vec::with_capacity(text.len());
    while let Some((&byte, rest)) = text.split_first() {
        text = rest;
        let escaped = match rest {
            [high, low, rest @ ..] if byte == b'%' => {
                hex(*high).zip(hex(*low)).map(|(high, low)| (high << 4 | low, rest))
            }
            _ => None,
        };
        match escaped {
            Some((byte, rest)) => {
                decoded.push(byte);
                text = rest;
            }
            None => decoded.push(byte),
        }
    }
    decoded
}

/// How names end under which applications put credentials into a URL. Not `key` or `session`, which
/// are as often the name of a room or a game.
const ENDINGS: [&str; 22] = [
    "accesskey",
    "apikey",
    "auth",
    "authcode",
    "authorization",
    "bearer",
    "credential",
    "credentials",
    "jwt",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "secretkey",
    "sessid",
    "sessionid",
    "sessionkey",
    "signature",
    "ticket",
    "token",
];

/// Names that are too short to be an ending: `compass`, `msig`, `cwd`.
const WHOLE: [&str; 4] = ["otp", "pass", "pwd", "sig"];
