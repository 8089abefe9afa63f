//! Let in whoever knows the one token, or has a ticket.

use subtle::ConstantTimeEq;
use tower_websocket::{
    AuthFailure, Authenticate, Connection, Message, Session, Tickets,
    service::{ServerMessage, credentials},
    tickets::Ticket,
};

/// Somebody who was let in, by name.
pub(crate) type User = String;

/// Accepts one token, alone or followed by `:` and the name to go by.
pub(crate) struct DevTokens {
    token: String,
}

impl DevTokens {
    pub(crate) fn new(token: &str) -> Self {
        Self { token: token.to_owned() }
    }

    /// The name that goes with `offered`: `None` if it is not the token, or the name is not one.
    fn name(&self, offered: &str, connection: &Connection) -> Option<String> {
        let token = self.token.as_bytes();
        if same(offered.as_bytes(), token) {
            return Some(format!("user-{:.8}", connection.id().to_string()));
        }
        // A name has no colon, but the token may have one.
        let (prefix, name) = offered.rsplit_once(':')?;
        (same(prefix.as_bytes(), token) && is_name(name)).then(|| name.to_owned())
    }
}

/// Tickets, as they come in the first message.
pub(crate) fn tickets() -> Tickets<User> {
    Tickets::new()
        .read_by(|message| Some(credentials(message)?.as_str().to_owned()))
        .welcome(|name: &User, connection| Message::json(&ServerMessage::auth_ok(connection, name)))
}

/// Everybody who may come in: by the token, as plain clients do, or by a ticket, as the page does.
pub(crate) struct Door {
    pub(crate) tokens: DevTokens,
    pub(crate) tickets: Tickets<User>,
}

impl Authenticate for Door {
    type User = User;

    async fn authenticate(
        &self,
        message: &Message,
        connection: &Connection,
    ) -> Result<Session<User>, AuthFailure> {
        let offered = credentials(message).ok_or(AuthFailure::Required)?;
        let name = self.tokens.name(offered.as_str(), connection);
        if name.is_none() && Ticket::is_like(offered.as_str()) {
            return self.tickets.authenticate(message, connection).await;
        }
        let name = name.ok_or(AuthFailure::Rejected)?;
        let welcome = Message::json(&ServerMessage::auth_ok(connection, &name))?;
        Ok(Session::new(name).reply(welcome))
    }
}

/// Compares without an early exit, so that time does not tell how much of a guess was right. What is
/// compared has no `==`.
pub(crate) fn same<T: ConstantTimeEq>(a: &[T], b: &[T]) -> bool {
    a.ct_eq(b).into()
}

pub(crate) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=32).contains(&name.len()) && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use subtle::{Choice, ConstantTimeEq};

    use super::same;

    /// A byte that counts how often it is compared.
    struct Counted<'a>(u8, &'a Cell<usize>);

    impl ConstantTimeEq for Counted<'_> {
        fn ct_eq(&self, other: &Self) -> Choice {
            self.1.set(self.1.get() + 1);
            self.0.ct_eq(&other.0)
        }
    }

    // covers: AU-16
    #[test]
    fn a_guess_is_compared_to_its_end_however_little_of_it_is_right() {
        let token = b"correct horse battery staple";
        let looked_at = Cell::new(0);
        let counted = |bytes: &[u8]| -> Vec<_> {
            bytes.iter().map(|byte| Counted(*byte, &looked_at)).collect()
        };
        for right in 0..=token.len() {
            let mut guess = token.to_vec();
            guess[right..].fill(b'?');
            looked_at.set(0);
            assert_eq!(same(&counted(&guess), &counted(token)), right == token.len(), "{right}");
            assert_eq!(looked_at.get(), token.len(), "{right}");
        }
        for other in [&token[1..], &token[..27], b""] {
            assert!(!same(other, token));
        }
    }
}
