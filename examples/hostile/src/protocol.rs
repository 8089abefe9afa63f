//! The target's messages, made from its templates.

use crate::options::Shape;

/// What the target's clients say.
#[derive(Debug)]
pub(crate) struct Protocol {
    shape: Shape,
}

impl Protocol {
    pub(crate) fn new(shape: Shape) -> Self {
        Self { shape }
    }

    pub(crate) fn token(&self, user: &str) -> String {
        self.shape.token.replace("{user}", user)
    }

    pub(crate) fn auth(&self, token: &str) -> String {
        self.shape.auth.replace("{token}", token)
    }

    pub(crate) fn welcome(&self) -> &str {
        &self.shape.welcome
    }

    /// A join of `room`, which stands in the JSON as it is given here: escapes stay escapes.
    pub(crate) fn join(&self, room: &str) -> String {
        self.shape.join.replace("{room}", room)
    }

    pub(crate) fn joined(&self) -> &str {
        &self.shape.joined
    }

    pub(crate) fn leave(&self, room: &str) -> String {
        self.shape.leave.replace("{room}", room)
    }

    pub(crate) fn chat(&self, room: &str, text: &str) -> String {
        self.shape.chat.replace("{room}", room).replace("{text}", text)
    }

    /// The key of the room in a chat message: `roomId`.
    pub(crate) fn room_key(&self) -> &str {
        key_before(&self.shape.chat, "\"{room}\"")
    }

    /// A bogus token: as long as one, and not one.
    pub(crate) fn wrong_token(&self) -> &'static str {
        "not-a-token-of-anybody"
    }
}

/// The key whose value is `value`.
fn key_before<'a>(template: &'a str, value: &str) -> &'a str {
    let before = template.split(value).next().unwrap_or_default();
    before.rsplit('"').nth(1).unwrap_or("room")
}

/// `message` with `value`, which is JSON, in place of what its first member says it is.
pub(crate) fn of_kind(message: &str, value: &str) -> String {
    let quotes: Vec<_> = message.match_indices('"').map(|(at, _)| at).collect();
    match *quotes {
        [_, _, start, end, ..] => {
            let (head, tail) = (message.get(..start), message.get(end + 1..));
            format!("{}{value}{}", head.unwrap_or_default(), tail.unwrap_or_default())
        }
        _ => value.to_owned(),
    }
}

/// What the first member of `message` says it is.
pub(crate) fn kind(message: &str) -> &str {
    message.split('"').nth(3).unwrap_or("join")
}

/// `message` with another member as its last: `with(m, r#""admin":true"#)`.
pub(crate) fn with(message: &str, member: &str) -> String {
    match message.rsplit_once('}') {
        Some((head, tail)) => format!("{head},{member}}}{tail}"),
        None => message.to_owned(),
    }
}

/// `message` with blanks behind it, as long as `size`: JSON of the same meaning.
pub(crate) fn padded(message: &str, size: usize) -> String {
    format!("{message:size$}")
}
