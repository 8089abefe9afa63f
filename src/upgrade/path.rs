//! Read the path of an endpoint as an operator writes it.

/// `path` as a browser asks for it, with what is not ASCII percent-encoded; `None` if no request has it.
///
/// A browser resolves dot segments before it asks, and cuts off a query and a fragment. Whoever writes
/// `*`, `{` or `}` means a pattern, and paths are compared byte for byte.
pub(super) fn configured(path: &str) -> Option<Box<str>> {
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
            assert_eq!(configured(path).as_deref(), Some(asked), "{path}");
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
            assert_eq!(configured(path), None, "{path}");
        }
    }
}
