//! Say what was compared when a handshake was refused for its host or its origin.
//!
//! "Not trusted" alone sends an operator to guess which of two spellings was wrong. The peer chose
//! both, so they are escaped, and cut.

use http::{HeaderName, Request, header};

use super::rejection::UpgradeRejectionKind;

/// The origin and the host that `kind` is about, for the record.
pub(super) fn compared<B>(
    request: &Request<B>,
    kind: UpgradeRejectionKind,
) -> (Option<Box<str>>, Option<Box<str>>) {
    use UpgradeRejectionKind as Kind;
    match kind {
        Kind::OriginMissing | Kind::OriginNotTrusted | Kind::OriginRepeated => {
            (escaped(request, &header::ORIGIN), escaped(request, &header::HOST))
        }
        Kind::Host | Kind::HostNotAllowed => (None, escaped(request, &header::HOST)),
        _ => (None, None),
    }
}

/// All lines of `name`, on one.
fn escaped<B>(request: &Request<B>, name: &HeaderName) -> Option<Box<str>> {
    let mut text = String::new();
    for (nth, line) in request.headers().get_all(name).iter().enumerate() {
        if nth > 0 {
            text.push_str(" | ");
        }
        // No more is looked at than can be kept: a line may have the length of a whole head.
        let line = line.as_bytes().iter().take(MAX_ESCAPED);
        text.extend(line.flat_map(|it| it.escape_ascii()).map(char::from));
        if text.len() > MAX_ESCAPED {
            // Escaped, it is ASCII.
            text.truncate(MAX_ESCAPED);
            break;
        }
    }
    request.headers().contains_key(name).then(|| text.into())
}

/// Bytes. Longer than what browsers send for any sensible host.
const MAX_ESCAPED: usize = 128;
