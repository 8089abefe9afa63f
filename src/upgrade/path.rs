//! Read the path of an endpoint as an operator writes it.

use std::{error::Error, fmt};

/// A path that no request has.
///
/// Its text is a sentence for the operator, with the path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidPath(Box<str>);

impl fmt::Display for InvalidPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no path that a request has: it begins with a slash, has ", self.0)?;
        f.write_str("neither a query nor dot segments, and is no pattern")
    }
}

impl Error for InvalidPath {}

/// `path` as a browser asks for it, with what is not ASCII percent-encoded; an error if no request has it.
///
/// A browser resolves dot segments before it asks, and cuts off a query and a fragment. A path
/// with `*`, `{` or `}` is meant as a pattern, and paths are compared byte for byte.
pub(super) fn configured(path: &str) -> Result<Box<str>, InvalidPath> {
    percent_encoded(path).ok_or_else(|| InvalidPath(path.into()))
}

fn percent_encoded(path: &str) -> Option<Box<str>> {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'?' | b'#' | b'*' | b'{' | b'}' | b'\\' | b'\t' | b'\n' | b'\r' => return None,
            // The path percent-encode set of the URL standard.
            b' ' | b'"' | b'<' | b'>' | b'`' | 0x80.. => {
                encoded.push_str(&format!("%{byte:02X}"));
            }
            _ if byte.is_ascii_control() => return None,
            _ => encoded.push(char::from(byte)),
        }
    }
    let dots =
        |segment: &str| matches!(&*segment.to_ascii_lowercase().replace("%2e", "."), "." | "..");
    (encoded.starts_with('/') && !encoded.split('/').any(dots)).then(|| encoded.into())
}

#[cfg(test)]
mod tests {
    use super::configured;

    // covers: P2-24
    #[test]
    fn a_path_is_what_a_browser_asks_for_or_an_error() {
        for (path, asked) in [
            ("/", "/"),
            ("/ws", "/ws"),
            ("/ws/", "/ws/"),
            ("//ws", "//ws"),
            ("/%77s", "/%77s"),
            ("/a.b/..c", "/a.b/..c"),
            ("/b\u{fc}cher", "/b%C3%BCcher"),
            ("/a b", "/a%20b"),
            ("/ws;v=1:2@x", "/ws;v=1:2@x"),
        ] {
            assert_eq!(configured(path).as_deref(), Ok(asked), "{path}");
        }
        for path in [
            "",
            "ws",
            "*",
            "/*",
            "/ws/*rest",
            "/{room}",
            "/ws?",
            "/ws?room=1",
            "/ws#x",
            "/x/../ws",
            "/./ws",
            "/ws/..",
            "/x/%2e%2E/ws",
            "\\ws",
            "/ws\n",
            "/ws\0",
            " /ws",
            "ws://a.example/ws",
            "https://a.example/ws",
        ] {
            assert!(configured(path).is_err(), "{path}");
        }
    }
}
