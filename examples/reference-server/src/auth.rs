//! Let in all who know the one token. A real server verifies tickets here.

use subtle::ConstantTimeEq;
use tower_websocket::{
    AuthFailure, Authenticate, Connection, Message, Session,
    service::{ServerMessage, credentials},
};

/// A user who knew the token, by name.
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

impl Authenticate for DevTokens {
    type User = User;

    async fn authenticate(
        &self,
        message: &Message,
        connection: &Connection,
    ) -> Result<Session<User>, AuthFailure> {
        let offered = credentials(message).ok_or(AuthFailure::Required)?;
        let name = self.name(offered.as_str(), connection).ok_or(AuthFailure::Rejected)?;
        let welcome = Message::json(&ServerMessage::auth_ok(connection, &name))?;
        Ok(Session::new(name).reply(welcome))
    }
}

/// Compares without an early exit, so that time does not tell how much of a guess was right. What is
/// compared has no `==`.
fn same<T: ConstantTimeEq>(a: &[T], b: &[T]) -> bool {
    a.ct_eq(b).into()
}

fn is_name(name: &str) -> bool {
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
